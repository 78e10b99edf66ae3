//! The operations that `mantlet-probe op NAME` performs: attacks that no shell tool makes.

mod bombs;
mod files;
mod ipc;
mod kernel;
mod net;
mod proc;

use std::error::Error;
use std::io::Write as _;
use std::process::ExitCode;

/// What an operation says: `Ok` when it was done.
pub(crate) type Done = Result<(), Box<dyn Error>>;

/// The arguments of an operation.
pub(crate) struct Words<'a> {
    /// The mark of this world.
    pub mark: &'a str,
    words: &'a [String],
}

impl Words<'_> {
    /// Returns the argument at this place.
    fn get(&self, i: usize) -> Result<&str, Box<dyn Error>> {
        self.words.get(i).map(String::as_str).ok_or_else(|| format!("argument {} is missing", i + 1).into())
    }

    /// Returns the number at this place; `0o` and `0x` are understood.
    fn number(&self, i: usize) -> Result<i64, Box<dyn Error>> {
        let word = self.get(i)?;
        let parsed = match (word.strip_prefix("0o"), word.strip_prefix("0x")) {
            (Some(o), _) => i64::from_str_radix(o, 8),
            (_, Some(x)) => i64::from_str_radix(x, 16),
            _ => word.parse(),
        };
        parsed.map_err(|e| format!("`{word}`: {e}").into())
    }

    /// Returns the number at this place as a process number or flag word.
    fn int(&self, i: usize) -> Result<i32, Box<dyn Error>> {
        Ok(i32::try_from(self.number(i)?)?)
    }

    /// Returns the number at this place as a mode.
    fn mode(&self, i: usize) -> Result<u32, Box<dyn Error>> {
        Ok(u32::try_from(self.number(i)?)?)
    }
}

/// An operation.
pub(crate) type Op = fn(&Words<'_>) -> Done;

/// Finds an operation by name.
pub(crate) fn find(name: &str) -> Option<Op> {
    let tables = [bombs::OPS, files::OPS, ipc::OPS, kernel::OPS, net::OPS, proc::OPS];
    tables.into_iter().flatten().find(|(n, _)| *n == name).map(|(_, op)| *op)
}

/// Runs one operation and says in a word no echo contains whether it worked.
pub(crate) fn run(mark: &str, words: &[String]) -> ExitCode {
    let Some((name, rest)) = words.split_first() else {
        return crate::fail("op: which one?");
    };
    let Some(op) = find(name) else {
        return crate::fail(&format!("no operation `{name}`"));
    };
    match op(&Words { mark, words: rest }) {
        Ok(()) => crate::say(&format!("{}\n", crate::judge::word_of_success(mark))),
        Err(e) => {
            // A closed standard error loses the reason, not the exit code.
            drop(writeln!(std::io::stderr(), "{name}: {e}"));
            ExitCode::FAILURE
        }
    }
}

/// Is done when the call worked, whatever it gave.
fn done<T, E: Into<Box<dyn Error>>>(result: Result<T, E>) -> Done {
    result.map(drop).map_err(Into::into)
}

/// Prints what an attack got hold of.
fn print(bytes: &[u8]) -> Done {
    let mut out = std::io::stdout();
    out.write_all(bytes)?;
    out.write_all(b"\n")?;
    Ok(())
}

/// Whether 32-bit system calls work here; asked in a process of its own, because it may die of the question.
pub(crate) fn has_i386() -> bool {
    std::process::Command::new(crate::world::PROBE)
        .args(["op", "i386"])
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .status()
        .is_ok_and(|s| s.success())
}

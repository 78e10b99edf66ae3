//! Runs cases: one fresh world per case and arm, several at a time, and judges what came of them.

use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::args::{Arms, Run};
use crate::corpus::{self, Case, CorpusError};
use crate::inside::Outcome;
use crate::report::{self, Row};
use crate::world::{Arm, BIN, PROBE, Spec};

/// What stops a run before any case is judged.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunError {
    /// The corpus is broken.
    #[error("{0}")]
    Corpus(#[from] CorpusError),
    /// A case or class that was asked for does not exist.
    #[error("no case matches what was asked for\nhint: mantlet-probe list")]
    NothingToRun,
    /// There is no jail to attack.
    #[error(
        "{path} cannot be run: {source}\nhint: name the jail's program with --jail, or another jail with --jail-argv"
    )]
    NoJail {
        /// Where it was looked for.
        path: String,
        /// Why not.
        source: io::Error,
    },
    /// `--as-uid` without being root.
    #[error("--as-uid is for root: start it as that user instead")]
    NotRoot,
    /// The template has an open quote or no command in it.
    #[error("--jail-argv: {0}")]
    Template(&'static str),
    /// The operating system refused something.
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// The jail that is attacked.
#[derive(Debug, Clone)]
struct Target {
    bin_dir: Option<PathBuf>,
    argv: Vec<String>,
}

/// Runs what was asked for, prints the report, and returns whether every case holds.
///
/// # Errors
/// When nothing could be judged.
pub(crate) fn run(asked: &Run) -> Result<bool, RunError> {
    if asked.as_uid.is_some() && !rustix::process::geteuid().is_root() {
        return Err(RunError::NotRoot);
    }
    let cases: Vec<Case> = corpus::load()?.into_iter().filter(|c| is_wanted(c, asked)).collect();
    if cases.is_empty() {
        return Err(RunError::NothingToRun);
    }
    let arms: &[Arm] = match &asked.arms {
        Arms::All => &[Arm::Control, Arm::Jail, Arm::Twin],
        Arms::One(arm) => std::slice::from_ref(arm),
    };
    let target = if arms == [Arm::Control] { Target { bin_dir: None, argv: Vec::new() } } else { target(asked)? };
    let rows = run_all(&cases, arms, &target, asked);
    let text = if asked.json { report::json(&rows) } else { report::table(&rows) };
    io::stdout().write_all(text.as_bytes())?;
    Ok(rows.iter().all(Row::holds))
}

fn is_wanted(case: &Case, asked: &Run) -> bool {
    let named = asked.cases.is_empty() || asked.cases.contains(&case.id);
    let classed = asked.classes.is_empty() || asked.classes.contains(&case.class);
    named && classed && (!asked.demo || case.demo)
}

fn target(asked: &Run) -> Result<Target, RunError> {
    if let Some(template) = &asked.jail_argv {
        let argv = split(template)?;
        if !argv.iter().any(|w| w == "{cmd}") {
            return Err(RunError::Template("it has no {cmd}, so no attack would run"));
        }
        return Ok(Target { bin_dir: None, argv });
    }
    let path = match &asked.jail {
        Some(p) => p.clone(),
        None => std::env::current_exe()?.with_file_name("mantlet-run"),
    };
    let no_jail = |source| RunError::NoJail { path: path.display().to_string(), source };
    let path = path.canonicalize().map_err(no_jail)?;
    rustix::fs::access(&path, rustix::fs::Access::EXEC_OK).map_err(|e| no_jail(e.into()))?;
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let program = format!("{BIN}/{name}");
    let words =
        [program.as_str(), "exec", "{policy}", "--workspace", "{ws}", "--cwd", "{ws}", "--with", PROBE, "-c", "{cmd}"];
    Ok(Target { bin_dir: path.parent().map(Path::to_path_buf), argv: words.map(str::to_owned).to_vec() })
}

/// Splits a template into words; single and double quotes keep a word together.
fn split(template: &str) -> Result<Vec<String>, RunError> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for c in template.chars() {
        match (quote, c) {
            (Some(q), c) if c == q => quote = None,
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    if quote.is_some() {
        return Err(RunError::Template("a quote is not closed"));
    }
    words.extend(word);
    Ok(words)
}

fn run_all(cases: &[Case], arms: &[Arm], target: &Target, asked: &Run) -> Vec<Row> {
    let jobs: Vec<(usize, Arm)> = (0..cases.len()).flat_map(|i| arms.iter().map(move |a| (i, *a))).collect();
    let next = AtomicUsize::new(0);
    let rows: Mutex<Vec<Row>> = Mutex::new(cases.iter().map(Row::new).collect());
    let done = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..asked.jobs.min(jobs.len()) {
            scope.spawn(|| {
                while let Some((i, arm)) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let outcome = run_one(&cases[*i], *arm, target, asked.as_uid)
                        .unwrap_or_else(|e| Outcome::Error { reason: e.to_string() });
                    if let Ok(mut rows) = rows.lock() {
                        rows[*i].set(*arm, outcome);
                    }
                    let n = done.fetch_add(1, Ordering::Relaxed) + 1;
                    if asked.progress {
                        report::progress(n, jobs.len(), &cases[*i].title);
                    }
                }
            });
        }
    });
    rows.into_inner().unwrap_or_default()
}

fn run_one(case: &Case, arm: Arm, target: &Target, as_uid: Option<u32>) -> io::Result<Outcome> {
    let spec = Spec {
        case: case.id.clone(),
        arm,
        as_uid,
        bin_dir: target.bin_dir.clone(),
        jail_argv: target.argv.clone(),
        policy_argv: ["--policy", "{home}/.config/mantlet/mantlet.toml", "--agent", "probe"]
            .map(str::to_owned)
            .to_vec(),
        canary: format!("canary-{}", random_word()?),
        mark: random_word()?,
        patience: case.within + 20,
    };
    let mut world = Command::new("/proc/self/exe")
        .arg("world")
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    if let Some(mut stdin) = world.stdin.take() {
        stdin.write_all(serde_json::to_string(&spec).map_err(io::Error::other)?.as_bytes())?;
    }
    let out = world.wait_with_output()?;
    if let Some(outcome) = out.stdout.split(|b| *b == b'\n').find_map(|l| serde_json::from_slice(l).ok()) {
        return Ok(outcome);
    }
    let said = String::from_utf8_lossy(&out.stderr);
    Ok(Outcome::Error { reason: said.trim().trim_start_matches("mantlet-probe: ").escape_debug().to_string() })
}

/// Sixteen hex digits that nobody could have guessed.
fn random_word() -> io::Result<String> {
    let mut bytes = [0u8; 8];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(format!("{:016x}", u64::from_ne_bytes(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_keeps_quoted_words_together() {
        assert_eq!(split("bwrap --setenv A 'b c' -- sh -c {cmd}").unwrap()[3], "b c");
    }

    #[test]
    fn an_open_quote_is_an_error() {
        assert!(split("sh -c 'x").is_err());
    }
}

//! What a caller asks for: the arguments of `exec`, parsed without the large command line.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

use crate::whole::Whole;

/// The command to run.
#[derive(Debug, Clone)]
pub enum Command {
    /// A program and its arguments.
    Argv(Vec<OsString>),
    /// A line for the shell, of any length.
    Shell(OsString),
    /// No command: file operations on standard input, and words that say in the ledger what they are for.
    Files(Access, Vec<OsString>),
}

impl Command {
    /// What file operations may do that take the place of a command.
    pub(crate) fn files(&self) -> Option<Access> {
        if let Command::Files(access, _) = self { Some(*access) } else { None }
    }
}

/// What file operations may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Nothing in the jail can be changed.
    Read,
    /// The workspace as a command could change it.
    Write,
}

impl Default for Command {
    fn default() -> Command {
        Command::Argv(Vec::new())
    }
}

/// What kind of call it is: it decides which limits hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Runs and ends: bounded in time, CPU time and output.
    #[default]
    Command,
    /// Runs until somebody ends it, such as an MCP server or a whole agent: bounded in what it holds at one time.
    Service,
}

/// The size of a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TerminalSize {
    /// Lines.
    pub rows: u16,
    /// Columns.
    pub columns: u16,
}

impl TerminalSize {
    /// As it is sent.
    pub(crate) fn to_payload(self) -> [u8; 4] {
        let ([a, b], [c, d]) = (self.rows.to_le_bytes(), self.columns.to_le_bytes());
        [a, b, c, d]
    }

    /// As it was sent.
    pub(crate) fn of_payload(payload: &[u8]) -> Option<TerminalSize> {
        let [a, b, c, d] = <[u8; 4]>::try_from(payload).ok()?;
        Some(TerminalSize { rows: u16::from_le_bytes([a, b]), columns: u16::from_le_bytes([c, d]) })
    }
}

/// One call of `exec`.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// What kind of call it is.
    pub kind: Kind,

    /// `--agent`.
    pub agent: Option<String>,
    /// `--client`.
    pub client: Option<String>,
    /// `--policy`.
    pub policy: Option<PathBuf>,
    /// `--workspace`.
    pub workspace: Option<PathBuf>,
    /// `--cwd`.
    pub cwd: Option<PathBuf>,
    /// `--env NAME=VALUE` and `--env NAME`, in order; a name alone that the caller does not have is left out.
    pub env: Vec<(OsString, OsString)>,
    /// `--timeout`, which can only shorten the policy's.
    pub timeout: Option<Duration>,
    /// `--report`.
    pub report: Option<PathBuf>,
    /// `--session`: what the client calls the conversation, for the ledger only.
    pub session: Option<OsString>,
    /// `--run`: what the client calls the turn, for the ledger only.
    pub run: Option<OsString>,
    /// `--with`: programs mounted read-only below /run/mantlet.
    pub programs: Vec<PathBuf>,
    /// `--terminal`: a terminal of this size for the command, though the caller has none. Its keys come from standard
    /// input, and all that it shows goes to standard output.
    pub terminal: Option<TerminalSize>,
    /// Which standard descriptors are that terminal, as the bits of their numbers; none means all. With bit 3 the other
    /// side makes the line ends.
    pub terminal_streams: u8,
    /// `--learn`: with a way out even where the policy opens none, so that every refusal is recorded.
    pub is_learning: bool,
    /// The run of a whole agent rather than a command of one.
    pub whole: Option<Whole>,
    /// What to run.
    pub command: Command,
}

/// An argument that cannot be taken.
#[derive(Debug, thiserror::Error)]
pub enum UsageError {
    /// What lexopt says of it.
    #[error("{0}")]
    Argument(#[from] lexopt::Error),
    /// What is wrong with the words as a whole.
    #[error("{0}")]
    Words(String),
}

impl UsageError {
    /// Whether the words ask for help after others.
    pub fn asks_for_help(&self) -> bool {
        matches!(self, UsageError::Argument(lexopt::Error::UnexpectedOption(o)) if o == "--help" || o == "-h")
    }
}

pub(crate) fn words(text: impl Into<String>) -> UsageError {
    UsageError::Words(text.into())
}

/// Parses the arguments of `exec` and runs what they ask for. Answers the exit code.
///
/// # Errors
/// A [`UsageError`]; nothing has run then.
pub fn exec_words(words: impl Iterator<Item = OsString>) -> Result<i32, UsageError> {
    let mut parser = lexopt::Parser::from_args(words);
    parse_exec(&mut parser).map(|request| crate::exec(&request))
}

/// Parses the arguments of `exec`.
///
/// # Errors
/// A [`UsageError`]: an unknown option, a missing value, no command.
pub fn parse_exec(parser: &mut lexopt::Parser) -> Result<Request, UsageError> {
    use lexopt::prelude::{Long, Short, Value};
    let mut request = Request::default();
    let mut line: Option<OsString> = None;
    let mut argv = Vec::new();
    let mut files = None;
    while let Some(arg) = parser.next()? {
        match arg {
            Long("agent") => request.agent = Some(text(parser.value()?)?),
            Long("client") => request.client = Some(text(parser.value()?)?),
            Long("policy") => request.policy = Some(parser.value()?.into()),
            Long("workspace") => request.workspace = Some(parser.value()?.into()),
            Long("cwd") => request.cwd = Some(parser.value()?.into()),
            Long("env") => request.env.extend(env_pair(parser.value()?, |name| std::env::var_os(name))?),
            Long("timeout") => request.timeout = Some(duration(&text(parser.value()?)?)?),
            Long("report") => request.report = Some(parser.value()?.into()),
            Long("terminal") => request.terminal = Some(terminal(&text(parser.value()?)?)?),
            Long("session") => request.session = Some(parser.value()?),
            Long("run") => request.run = Some(parser.value()?),
            Long("with") => request.programs.push(parser.value()?.into()),
            Long("learn") => request.is_learning = true,
            Long("files") => files = Some(access(&parser.value()?)?),
            Short('c') => line.get_or_insert_default().push(parser.value()?),
            Value(first) => {
                argv.push(first);
                argv.extend(parser.raw_args()?);
            }
            other => return Err(other.unexpected().into()),
        }
    }
    request.command = match (line, argv.is_empty(), files) {
        (None, _, Some(access)) => Command::Files(access, argv),
        (Some(_), _, Some(_)) => return Err(words("give either -c 'LINE' or --files, not both")),
        (Some(line), true, None) => Command::Shell(line),
        (None, false, None) => Command::Argv(argv),
        (Some(_), false, None) => return Err(words("give either -c 'LINE' or a command, not both")),
        (None, true, None) => {
            return Err(words("no command was given: end with -c 'LINE' or with -- COMMAND [ARGUMENT...]"));
        }
    };
    Ok(request)
}

fn access(value: &OsStr) -> Result<Access, UsageError> {
    match value.as_bytes() {
        b"read" => Ok(Access::Read),
        b"write" => Ok(Access::Write),
        _ => Err(words(format!("--files takes `read` or `write`, not {value:?}"))),
    }
}

fn text(value: OsString) -> Result<String, UsageError> {
    value.into_string().map_err(|v| words(format!("{v:?} is not UTF-8")))
}

/// Reads the words of `--env`, as [`exec_words`] does.
///
/// # Errors
/// A word without a name.
pub fn env_pairs(words: &[OsString]) -> Result<Vec<(OsString, OsString)>, UsageError> {
    let pairs = words.iter().map(|word| env_pair(word.clone(), |name| std::env::var_os(name)));
    pairs.filter_map(Result::transpose).collect()
}

/// `NAME=VALUE`, or `NAME` alone for the caller's own value, which then stands on no command line.
fn env_pair(
    value: OsString,
    of_caller: impl Fn(&OsStr) -> Option<OsString>,
) -> Result<Option<(OsString, OsString)>, UsageError> {
    let bytes = value.as_bytes();
    let end = bytes.iter().position(|b| *b == b'=').unwrap_or(bytes.len());
    let (name, rest) = (OsStr::from_bytes(&bytes[..end]), &bytes[end..]);
    if name.is_empty() {
        return Err(words(format!("--env takes NAME=VALUE or NAME, not {value:?}")));
    }
    let given = match rest.split_first() {
        Some((_, text)) => Some(OsStr::from_bytes(text).to_owned()),
        None => of_caller(name),
    };
    Ok(given.map(|given| (name.to_owned(), given)))
}

/// The size of a terminal, such as `24x80`: lines, then columns.
fn terminal(text: &str) -> Result<TerminalSize, UsageError> {
    let number = |text: &str| text.parse::<u16>().ok().filter(|n| (1..=4096).contains(n));
    let size = text
        .split_once('x')
        .and_then(|(rows, columns)| Some(TerminalSize { rows: number(rows)?, columns: number(columns)? }));
    size.ok_or_else(|| words(format!("--terminal takes ROWSxCOLUMNS such as 24x80, not {text:?}")))
}

/// A duration such as `90`, `90s`, `10m`, `2h`, `500ms`.
fn duration(text: &str) -> Result<Duration, UsageError> {
    let at = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let wrong = || words(format!("--timeout takes a number with ms, s, m or h, not {text:?}"));
    let number: u64 = text[..at].parse().map_err(|_| wrong())?;
    let millis = match &text[at..] {
        "ms" => Some(number),
        "" | "s" => number.checked_mul(1000),
        "m" => number.checked_mul(60_000),
        "h" => number.checked_mul(3_600_000),
        _ => None,
    };
    millis.map(Duration::from_millis).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(word: &str) -> Result<Option<(OsString, OsString)>, UsageError> {
        env_pair(word.into(), |name| (name == "KEY").then(|| "own".into()))
    }

    #[test]
    fn a_terminal_has_rows_and_columns() {
        assert_eq!(terminal("24x80").unwrap(), TerminalSize { rows: 24, columns: 80 });
        for wrong in ["", "24", "x", "24x", "x80", "0x80", "24x0", "24x80x1", "-1x80", "65536x80", "24X80", " 24x80"] {
            assert!(terminal(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_name_alone_takes_the_callers_value_and_an_unset_one_none() {
        for (word, wanted) in [
            ("KEY", Some(("KEY", "own"))),
            ("KEY=", Some(("KEY", ""))),
            ("KEY=a=b", Some(("KEY", "a=b"))),
            ("OTHER", None),
        ] {
            let wanted = wanted.map(|(name, value)| (OsString::from(name), OsString::from(value)));
            assert_eq!(env(word).unwrap(), wanted, "{word}");
        }
        assert!(env("").is_err() && env("=x").is_err());
    }
}

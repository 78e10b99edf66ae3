//! What a caller asks for: the arguments of `exec`, parsed without the large command line.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

/// The command to run.
#[derive(Debug, Clone)]
pub enum Command {
    /// A program and its arguments.
    Argv(Vec<OsString>),
    /// A line for the shell, of any length.
    Shell(OsString),
}

/// One call of `exec`.
#[derive(Debug, Clone)]
pub struct Request {
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
    /// `--env NAME=VALUE`, in order.
    pub env: Vec<(OsString, OsString)>,
    /// `--timeout`, which can only shorten the policy's.
    pub timeout: Option<Duration>,
    /// `--report`.
    pub report: Option<PathBuf>,
    /// `--with`: programs mounted read-only below /run/mantlet.
    pub programs: Vec<PathBuf>,
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

fn words(text: impl Into<String>) -> UsageError {
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
    let mut request = Request {
        agent: None,
        client: None,
        policy: None,
        workspace: None,
        cwd: None,
        env: Vec::new(),
        timeout: None,
        report: None,
        programs: Vec::new(),
        command: Command::Argv(Vec::new()),
    };
    let mut line: Option<OsString> = None;
    let mut argv = Vec::new();
    while let Some(arg) = parser.next()? {
        match arg {
            Long("agent") => request.agent = Some(text(parser.value()?)?),
            Long("client") => request.client = Some(text(parser.value()?)?),
            Long("policy") => request.policy = Some(parser.value()?.into()),
            Long("workspace") => request.workspace = Some(parser.value()?.into()),
            Long("cwd") => request.cwd = Some(parser.value()?.into()),
            Long("env") => request.env.push(env_pair(parser.value()?)?),
            Long("timeout") => request.timeout = Some(duration(&text(parser.value()?)?)?),
            Long("report") => request.report = Some(parser.value()?.into()),
            Long("with") => request.programs.push(parser.value()?.into()),
            Short('c') => line.get_or_insert_default().push(parser.value()?),
            Value(first) => {
                argv.push(first);
                argv.extend(parser.raw_args()?);
            }
            other => return Err(other.unexpected().into()),
        }
    }
    request.command = match (line, argv.is_empty()) {
        (Some(line), true) => Command::Shell(line),
        (None, false) => Command::Argv(argv),
        (Some(_), false) => return Err(words("give either -c 'LINE' or a command, not both")),
        (None, true) => return Err(words("no command was given: end with -c 'LINE' or with -- COMMAND [ARGUMENT...]")),
    };
    Ok(request)
}

fn text(value: OsString) -> Result<String, UsageError> {
    value.into_string().map_err(|v| words(format!("{v:?} is not UTF-8")))
}

fn env_pair(value: OsString) -> Result<(OsString, OsString), UsageError> {
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    let bytes = value.as_bytes();
    match bytes.iter().position(|b| *b == b'=') {
        Some(at) if at > 0 => {
            Ok((OsString::from_vec(bytes[..at].to_vec()), OsString::from_vec(bytes[at + 1..].to_vec())))
        }
        _ => Err(words(format!("--env takes NAME=VALUE, not {value:?}"))),
    }
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

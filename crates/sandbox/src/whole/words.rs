//! The arguments of `run`, parsed without the large command line.

use std::ffi::OsString;

use crate::request::{Command, Kind, Request, UsageError, words};
use crate::whole::{Network, Whole};

/// Parses the arguments of `run` and runs what they ask for. Answers the exit code.
///
/// # Errors
/// A [`UsageError`]; nothing has run then.
pub fn run_words(words: impl Iterator<Item = OsString>) -> Result<i32, UsageError> {
    let mut parser = lexopt::Parser::from_args(words);
    parse_run(&mut parser).map(|request| crate::exec(&request))
}

/// Parses the arguments of `run`: the agent, options, and after `--` the command, if it is not the client's usual one.
///
/// # Errors
/// A [`UsageError`]: an unknown option, a missing value, no agent.
pub fn parse_run(parser: &mut lexopt::Parser) -> Result<Request, UsageError> {
    use lexopt::prelude::{Long, Value};
    let mut request = Request { kind: Kind::Service, ..Request::default() };
    let mut whole = Whole::default();
    let mut argv: Vec<OsString> = Vec::new();
    loop {
        // What stands after `--` is the command's, whatever it looks like.
        if let Some(raw) = parser.try_raw_args()
            && raw.as_slice().first().is_some_and(|word| word == "--")
        {
            argv.extend(raw.skip(1));
            break;
        }
        let Some(arg) = parser.next()? else { break };
        match arg {
            Long("policy") => request.policy = Some(parser.value()?.into()),
            Long("report") => request.report = Some(parser.value()?.into()),
            Long("dry-run") => whole.is_dry = true,
            Long("network") => {
                let value = parser.value()?;
                whole.network = match value.to_str() {
                    Some("none") => Network::None,
                    Some("host") => Network::Host,
                    _ => return Err(words(format!("--network takes `none` or `host`, not {value:?}"))),
                }
            }
            Value(name) if request.agent.is_none() => {
                request.agent = Some(name.into_string().map_err(|name| words(format!("{name:?} is not UTF-8")))?);
            }
            Value(word) => {
                return Err(words(format!("{word:?} is not expected: the command stands after `--`")));
            }
            other => return Err(other.unexpected().into()),
        }
    }
    if request.agent.is_none() {
        return Err(words("no agent was named: run AGENT [OPTIONS] [-- COMMAND [ARGUMENT...]]"));
    }
    request.command = Command::Argv(argv);
    request.whole = Some(whole);
    Ok(request)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Result<Request, UsageError> {
        parse_run(&mut lexopt::Parser::from_args(words))
    }

    #[test]
    fn the_agent_the_options_and_the_command_are_told_apart() {
        let request = parse(&["main", "--network", "host", "--", "claude", "--network", "none"]).unwrap();
        assert_eq!(request.agent.as_deref(), Some("main"));
        assert_eq!(request.whole, Some(Whole { network: Network::Host, is_dry: false }));
        let Command::Argv(argv) = &request.command else { panic!() };
        assert_eq!(*argv, ["claude", "--network", "none"]);
        assert_eq!(request.kind, Kind::Service);
        let dry = parse(&["--dry-run", "main"]).unwrap();
        assert_eq!(dry.whole, Some(Whole { network: Network::None, is_dry: true }));
        for wrong in [&[][..], &["--", "claude"], &["main", "claude"], &["main", "--network", "all"], &["main", "--x"]]
        {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }
}

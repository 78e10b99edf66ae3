//! The command line of `mantlet-probe`, parsed once into [`Command`].

use std::ffi::OsString;
use std::path::PathBuf;

/// What `--help` prints.
pub(crate) const HELP: &str = "\
mantlet-probe: attacks, each with its control arm and its twin, tried on a jail

Usage:
  mantlet-probe run [OPTIONS]     run cases and judge them
  mantlet-probe list [--json]     print the cases
  mantlet-probe op NAME [ARG]...  one operation; what the cases run

Options of run:
  --case ID            only this case (repeatable)
  --class CLASS        only this class (repeatable)
  --demo               only the cases that `mantlet demo` shows
  --arm ARM            control, jail, twin or all (default: all)
  --jail PATH          the mantlet-run to attack (default: the one beside this program)
  --jail-argv TEMPLATE another jail's command line; {cmd} is the shell line, {ws} the workspace,
                       {home} the home, {probe} this program's path
  --as-uid N           when started by root: run everything as this user
  --jobs N             worlds at one time (default: number of processors)
  --json               one JSON document on standard output
  --progress           a line per finished case on standard error
";

/// Everything the program can be asked to do.
#[derive(Debug)]
pub(crate) enum Command {
    /// Print the help.
    Help,
    /// Print the cases.
    List {
        /// As JSON.
        json: bool,
    },
    /// Run cases.
    Run(Run),
    /// One operation, inside a jail or not.
    Op {
        /// What is printed, reversed, when it worked.
        mark: String,
        /// The operation and its arguments.
        words: Vec<String>,
    },
    /// Become a throwaway world (started by `run`).
    World,
    /// Be the first process of a world (started by `world`).
    Inside,
    /// Be a process of the owner's that sleeps.
    Sleeper,
    /// Make standard input the controlling terminal, then run a program.
    OnTerminal(Vec<OsString>),
}

/// Which arms are run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arms {
    /// One only.
    One(crate::world::Arm),
    /// All three.
    All,
}

/// The options of `run`.
#[derive(Debug)]
pub(crate) struct Run {
    /// Only these cases, if any are named.
    pub cases: Vec<String>,
    /// Only these classes, if any are named.
    pub classes: Vec<String>,
    /// Only what the demo shows.
    pub demo: bool,
    /// Which arms.
    pub arms: Arms,
    /// The program to attack.
    pub jail: Option<PathBuf>,
    /// Another jail's command line.
    pub jail_argv: Option<String>,
    /// The user to run as.
    pub as_uid: Option<u32>,
    /// Worlds at one time.
    pub jobs: usize,
    /// JSON on standard output.
    pub json: bool,
    /// A line per finished case on standard error.
    pub progress: bool,
}

/// Parses the command line.
///
/// # Errors
/// An option that does not exist, or a value that is not one.
pub(crate) fn parse() -> Result<Command, lexopt::Error> {
    use lexopt::prelude::*;
    let mut p = lexopt::Parser::from_env();
    match p.next()? {
        Some(Value(v)) => match v.to_str() {
            Some("run") => Ok(Command::Run(parse_run(&mut p)?)),
            Some("list") => Ok(Command::List { json: matches!(p.next()?, Some(Long("json"))) }),
            Some("op") => parse_op(&mut p),
            Some("world") => Ok(Command::World),
            Some("inside") => Ok(Command::Inside),
            Some("sleeper") => Ok(Command::Sleeper),
            Some("on-terminal") => Ok(Command::OnTerminal(p.raw_args()?.collect())),
            _ => Err(Value(v).unexpected()),
        },
        Some(Long("help") | Short('h')) | None => Ok(Command::Help),
        Some(other) => Err(other.unexpected()),
    }
}

fn parse_op(p: &mut lexopt::Parser) -> Result<Command, lexopt::Error> {
    let mut words: Vec<String> = Vec::new();
    for w in p.raw_args()? {
        words.push(w.into_string().map_err(lexopt::Error::NonUnicodeValue)?);
    }
    let mut mark = String::new();
    if words.first().is_some_and(|w| w == "--mark") && words.len() >= 2 {
        mark = words.drain(..2).nth(1).unwrap_or_default();
    }
    Ok(Command::Op { mark, words })
}

fn parse_run(p: &mut lexopt::Parser) -> Result<Run, lexopt::Error> {
    use lexopt::prelude::*;
    let mut run = Run {
        cases: Vec::new(),
        classes: Vec::new(),
        demo: false,
        arms: Arms::All,
        jail: None,
        jail_argv: None,
        as_uid: None,
        jobs: std::thread::available_parallelism().map_or(2, usize::from),
        json: false,
        progress: false,
    };
    while let Some(arg) = p.next()? {
        match arg {
            Long("case") => run.cases.push(p.value()?.string()?),
            Long("class") => run.classes.push(p.value()?.string()?),
            Long("demo") => run.demo = true,
            Long("arm") => run.arms = p.value()?.parse_with(arms)?,
            Long("jail") => run.jail = Some(p.value()?.into()),
            Long("jail-argv") => run.jail_argv = Some(p.value()?.string()?),
            Long("as-uid") => run.as_uid = Some(p.value()?.parse()?),
            Long("jobs") => run.jobs = p.value()?.parse::<usize>()?.max(1),
            Long("json") => run.json = true,
            Long("progress") => run.progress = true,
            other => return Err(other.unexpected()),
        }
    }
    Ok(run)
}

fn arms(word: &str) -> Result<Arms, String> {
    use crate::world::Arm;
    match word {
        "control" => Ok(Arms::One(Arm::Control)),
        "jail" => Ok(Arms::One(Arm::Jail)),
        "twin" => Ok(Arms::One(Arm::Twin)),
        "all" => Ok(Arms::All),
        other => Err(format!("`{other}` is not an arm\nhint: control, jail, twin or all")),
    }
}

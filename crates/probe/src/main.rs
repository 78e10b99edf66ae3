//! `mantlet-probe`: attack cases as data, each with a control arm and a twin, tried on a jail.
//!
//! It imports no other room: it sees the jail only as a program to start.

mod args;
mod corpus;
mod fixture;
mod inside;
mod judge;
mod launch;
mod ops;
mod report;
mod runner;
mod sys;
mod world;

use std::io::Write as _;
use std::process::ExitCode;

use args::Command;

/// What went wrong with this program itself, as opposed to a case.
const OWN_FAILURE: u8 = 125;

fn main() -> ExitCode {
    let command = match args::parse() {
        Ok(c) => c,
        Err(e) => return fail(&format!("{e}\nhint: mantlet-probe --help")),
    };
    match command {
        Command::Help => say(args::HELP),
        Command::List { json } => match corpus::load() {
            Ok(cases) => say(&report::list(&cases, json)),
            Err(e) => fail(&e.to_string()),
        },
        Command::Run(run) => match runner::run(&run) {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::FAILURE,
            Err(e) => fail(&e.to_string()),
        },
        Command::Op { mark, words } => ops::run(&mark, &words),
        Command::World => ended(world::enter().map_err(|e| e.to_string())),
        Command::Inside => ended(inside::run().map_err(|e| e.to_string())),
        Command::Sleeper => fixture::sleep_as_fixture(),
        Command::OnTerminal(words) => fail(&fixture::on_terminal(&words).to_string()),
    }
}

fn say(text: &str) -> ExitCode {
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::from(OWN_FAILURE),
    }
}

fn ended(result: Result<(), String>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => fail(&e),
    }
}

fn fail(message: &str) -> ExitCode {
    // Nothing can be done when standard error is closed: the exit code says it too.
    drop(writeln!(std::io::stderr(), "mantlet-probe: {message}"));
    ExitCode::from(OWN_FAILURE)
}

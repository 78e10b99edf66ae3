//! `mantlet-run`: the jailer, small and static. `mantlet exec` and every client's seam come through here.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use mantlet_sandbox::{Request, UsageError, close_inherited, exec, parse_exec, parse_run};

const HELP: &str = "\
Runs a command in the jail of an agent's policy.

Usage: mantlet-run exec [OPTIONS] -- COMMAND [ARGUMENT...]
       mantlet-run exec [OPTIONS] -c 'LINE FOR THE SHELL'
       mantlet-run run AGENT [--network none|host] [--policy FILE] [--report FILE] [--dry-run] [-- COMMAND...]

`run` puts a whole agent into a jail: its client's usual command, or the one given. The options of `exec`:
       mantlet-run exec [OPTIONS] --files read|write [-- WORDS FOR THE LEDGER]

  --agent NAME       The agent whose policy applies
  --client NAME      The client it runs in, to choose the agent by
  --policy FILE      The policy (default: /etc/mantlet/mantlet.toml, else ~/.config/mantlet/mantlet.toml)
  --workspace DIR    The workspace, or a directory in it (default without a policy: the current directory)
  --cwd DIR          Where the command starts
  --env NAME[=VALUE] Adds to the command's environment; may be repeated. Without a value, the caller's own, which no
                     other user can then read on a command line
  --timeout TIME     Ends the call after this time (500ms, 90s, 10m), if the policy's limit is not shorter
  --report FILE      Writes the report of what was enforced, as JSON
  --terminal RxC     Gives the command a terminal of this size (24x80) though the caller has none: keys come from
                     standard input, what it shows goes to standard output
  --session KEY      What the client calls the conversation; kept in the ledger, decides nothing
  --run ID           What the client calls the turn; kept in the ledger, decides nothing
  --with PROGRAM     Mounts this program read-only at /run/mantlet/NAME; may be repeated
  --files ACCESS     No command: serves file operations of a client's file tools on standard input and output
  -c LINE            A line for the shell; repeated ones are joined, so it may be of any length
  -h, --help         This help
  -V, --version      The version

Exit code: the command's own, 128+n if signal n ended it; 125 if Mantlet failed or refused, 126 if the command
could not be executed, 127 if it was not found.
";

/// `env(1)` and its relatives: a failure of the program itself.
const FAILED: i32 = 125;

fn main() {
    close_inherited();
    std::process::exit(run());
}

fn run() -> i32 {
    let mut parser = lexopt::Parser::from_env();
    let first = match parser.next() {
        Ok(first) => first,
        Err(e) => return usage(&e.into()),
    };
    match first {
        Some(lexopt::Arg::Value(word)) if word == "exec" => carry_out(parse_exec(&mut parser)),
        Some(lexopt::Arg::Value(word)) if word == "run" => carry_out(parse_run(&mut parser)),
        Some(lexopt::Arg::Short('h') | lexopt::Arg::Long("help")) => help(),
        Some(lexopt::Arg::Short('V') | lexopt::Arg::Long("version")) => {
            println!("mantlet-run {}", env!("CARGO_PKG_VERSION"));
            0
        }
        Some(other) => usage(&other.unexpected().into()),
        None => usage(&UsageError::Words("no subcommand was given".into())),
    }
}

fn carry_out(request: Result<Request, UsageError>) -> i32 {
    match request {
        Ok(request) => exec(&request),
        Err(e) if e.asks_for_help() => help(),
        Err(e) => usage(&e),
    }
}

fn help() -> i32 {
    print!("{HELP}");
    0
}

fn usage(error: &UsageError) -> i32 {
    eprintln!("mantlet-run: {error}\nhint: mantlet-run --help");
    FAILED
}

//! `mantlet hook CLIENT`: a client asks before it runs a tool, and is answered in its own words.
//!
//! The attack is silence: most clients run the tool when a hook crashes, prints nonsense or says nothing. So exit code 0
//! means that one complete verdict was written, and everything else blocks with the client's own exit code.

mod answer;
mod input;
mod options;
mod record;

use std::ffi::OsString;
use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use mantlet_guard::dialect;

use options::Options;

/// From start to verdict. Every client is told to wait ten seconds, and most run the tool of a hook that took longer: a
/// tree that is slow to look through, made by an agent, would open everything.
const PATIENCE: Duration = Duration::from_secs(7);

/// Answer a client's hook: may this tool run
///
/// Reads the event that CLIENT gives its hooks on standard input and writes one complete verdict: allowed, denied with
/// the rule and the way out, or a command rewritten so that it runs in the jail. Exit code 0: a verdict was written.
/// Anything else is the client's own code for blocking, with the reason on standard error: no policy, an event that is
/// not understood, a key that stands twice, more than 1 MiB, an input that does not end.
#[derive(Debug, clap::Args)]
pub(crate) struct HookArgs {
    /// claude, codex, gemini, copilot, cursor, opencode or openclaw
    client: String,
    /// The agent whose policy applies (default: the only one of this client; for openclaw, the one in the event)
    #[arg(long, value_name = "NAME")]
    agent: Option<String>,
    /// The policy (default: /etc/mantlet/mantlet.toml, else ~/.config/mantlet/mantlet.toml)
    #[arg(long, value_name = "FILE")]
    policy: Option<String>,
    /// The owner's home, whatever HOME says: a client passes on what a repository sets in its environment
    #[arg(long, value_name = "DIR")]
    home: Option<String>,
    /// Leave commands as they are: for a client whose shell runs them in the jail already
    #[arg(long)]
    no_rewrite: bool,
    /// An MCP server of the client that runs under `mantlet mcp`; may be repeated
    #[arg(long = "mcp", value_name = "NAME")]
    mcp: Vec<String>,
}

/// Whether these words are for the hook as they stand: only help and version are answered by the large command line.
pub(crate) fn is_hook(words: &[OsString]) -> bool {
    words.first().is_some_and(|word| word == "hook") && !words.iter().any(is_help)
}

fn is_help(word: &OsString) -> bool {
    ["-h", "--help", "-V", "--version"].iter().any(|help| word == help)
}

/// As [`run`], for words that the large command line has taken.
pub(crate) fn run_parsed(args: &HookArgs) -> ExitCode {
    finish(&args.client, options::of(args))
}

/// Answers one event. It never fails: what goes wrong is an exit code that blocks.
pub(crate) fn run(words: &[OsString]) -> ExitCode {
    let options = options::parse(words.get(1..).unwrap_or_default());
    let client = options.as_ref().map_or("", |options| options.client.as_str()).to_owned();
    finish(&client, options)
}

fn finish(client: &str, options: Result<Options, String>) -> ExitCode {
    let code = dialect::blocking_code(client);
    block_on_panic(code);
    let told =
        block_on_time(code, PATIENCE).and(options).and_then(|options| answer::answer(&options)).and_then(|answer| {
            if !answer.stderr.is_empty() {
                say(&answer.stderr);
            }
            write_whole(answer.stdout.as_bytes()).map(|()| answer.code)
        });
    match told {
        Ok(code) => ExitCode::from(code),
        Err(reason) => {
            complain(&reason);
            ExitCode::from(code)
        }
    }
}

/// Without this a panic ends by SIGABRT, after which most clients run the tool.
fn block_on_panic(code: u8) {
    std::panic::set_hook(Box::new(move |info| {
        complain(&format!("it broke: {info}"));
        std::process::exit(i32::from(code));
    }));
}

/// Ends this process with the blocking code when it has not ended by then, whatever it waits for.
fn block_on_time(code: u8, patience: Duration) -> Result<(), String> {
    let wait = move || {
        std::thread::sleep(patience);
        complain(&format!(
            "the question took longer than {} seconds\nhint: name a smaller directory, or the file itself",
            patience.as_secs()
        ));
        std::process::exit(i32::from(code));
    };
    let started = std::thread::Builder::new().stack_size(128 * 1024).spawn(wait);
    started.map(drop).map_err(|error| format!("no time limit can be set: {error}"))
}

/// Writes the verdict with one write(2). Half a verdict is none.
fn write_whole(text: &[u8]) -> Result<(), String> {
    let out = rustix::stdio::stdout();
    // The runtime puts /dev/null in the place of a closed standard output: a verdict that goes there reaches nobody.
    if is_null(out) {
        return Err("standard output is closed".into());
    }
    match rustix::io::write(out, text) {
        Ok(written) if written == text.len() => Ok(()),
        Ok(written) => Err(format!("only {written} of {} bytes of the verdict could be written", text.len())),
        Err(error) => Err(format!("the verdict could not be written: {error}")),
    }
}

fn is_null(fd: std::os::fd::BorrowedFd<'_>) -> bool {
    let null = rustix::fs::stat("/dev/null").map(|stat| (stat.st_rdev, stat.st_mode));
    let own = rustix::fs::fstat(fd).map(|stat| (stat.st_rdev, stat.st_mode));
    match (null, own) {
        (Ok((null, _)), Ok((own, mode))) => {
            rustix::fs::FileType::from_raw_mode(mode) == rustix::fs::FileType::CharacterDevice && null == own
        }
        // A descriptor that cannot be looked at is not one to write a verdict to.
        (_, own) => own.is_err(),
    }
}

/// Says why a tool is blocked. Gemini CLI blocks only where there is such a text.
fn complain(reason: &str) {
    let mut text = String::from("mantlet: the tool is blocked: ");
    text.push_str(&lines(reason));
    say(&text);
}

fn say(text: &str) {
    // When standard error is closed as well, the exit code is all there is left to say.
    drop(writeln!(std::io::stderr(), "{text}"));
}

/// Escaped line by line: what is untrusted in it must not write to a terminal.
fn lines(text: &str) -> String {
    text.lines().map(|line| mantlet_ledger::escape(line.as_bytes())).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    const IS_CHILD: &str = "MANTLET_TEST_PANIC";

    #[test]
    fn a_panic_blocks() {
        if std::env::var_os(IS_CHILD).is_some() {
            super::block_on_panic(2);
            panic!("on purpose\x1b[2J");
        }
        let own = std::env::current_exe().unwrap();
        let test = "hook_cmd::tests::a_panic_blocks";
        let output =
            std::process::Command::new(own).args(["--exact", test, "--nocapture"]).env(IS_CHILD, "1").output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains("blocked: it broke") && said.contains("on purpose\\x1b[2J"), "{said}");
    }
}

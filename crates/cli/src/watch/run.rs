//! `mantlet watch run`: what starts the watching process, and starts it again.
//!
//! The attack: somebody kills the watch, changes what it protects, and has time. The supervisor notices at once, and the
//! next watch begins with everything compared. Whoever kills the supervisor finds the watcher become one.

use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitCode, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use mantlet_ledger::Change;
use mantlet_watch::{Escalation, Report as _};
use rustix::process::Signal;

use super::Source;
use super::teller::{Teller, say};

/// The word by which this program starts itself as the watching process.
pub(crate) const WORD: &str = "--watching";
/// A watch that ends sooner than this did not work, and is not started again at once.
pub(super) const SHORT: Duration = Duration::from_secs(1);
/// How long a watch that is told to end may take for it. A service manager waits ten times as long.
const LONGEST_END: Duration = Duration::from_secs(8);

/// How long a watch that cannot work is left alone before it is tried again.
const REST: Duration = Duration::from_secs(5);

/// What tells a watch to end. The watching process has them blocked as well: it ends with its line.
pub(super) fn told() -> anyhow::Result<OwnedFd> {
    let signals = [Signal::INT, Signal::TERM, Signal::HUP, Signal::CHILD].map(Signal::as_raw);
    Ok(mantlet_sandbox::signal_fd(&signals)?)
}

/// Watches until it is told to end, by SIGTERM, SIGINT or SIGHUP.
pub(crate) fn run(file: Option<&Path>) -> anyhow::Result<ExitCode> {
    // Before any thread is there: one that has them free would be ended by them, and all with it.
    let signals = told()?;
    let (source, undone) = Source::settled(file)?;
    // Everything that could be wrong is, before a second process hides it.
    let mut teller = source.teller()?;
    undone.into_iter().for_each(|change| teller.change(change));
    drop(source.options()?);
    supervise(source, teller, &signals)
}

pub(super) fn supervise(mut source: Source, mut teller: Teller, signals: &OwnedFd) -> anyhow::Result<ExitCode> {
    let mut is_first = true;
    loop {
        let began = Instant::now();
        let (mut child, line) = start(&source)?;
        let status = loop {
            if wait(signals)? != Signal::CHILD.as_raw() {
                // Closed, its line tells it to end: it settles what it has.
                drop(line);
                end(&mut child)?;
                teller.close();
                return Ok(ExitCode::SUCCESS);
            }
            // What tells the owner has children as well.
            if let Some(change) = go_on(&child) {
                teller.own(change);
            }
            if let Some(status) = child.try_wait().context("cannot wait for the watch")? {
                break status;
            }
        };
        let is_refusal = status.code() == Some(i32::from(crate::REFUSED));
        if is_refusal && is_first {
            bail!("the watch cannot work; it said why");
        }
        is_first = false;
        if status.success() {
            // It has accepted another policy.
            (source, teller) = renewed(source, teller);
            continue;
        }
        teller.own(killed(status));
        if !source.has_baseline()? {
            teller.own(own(
                "deleted",
                "reported",
                "its baseline, while it was killed: what stands now becomes the new one",
            ));
        }
        std::thread::sleep(if is_refusal { REST } else { SHORT.saturating_sub(began.elapsed().max(SHORT / 2)) });
    }
}

/// Wakes a watching process that was stopped. The attack: one that is stopped is not killed, and watches nothing.
fn go_on(child: &Child) -> Option<Change> {
    use rustix::process::{Pid, WaitId, WaitIdOptions, kill_process, waitid};
    let pid = Pid::from_raw(i32::try_from(child.id()).ok()?)?;
    waitid(WaitId::Pid(pid), WaitIdOptions::STOPPED | WaitIdOptions::NOHANG).ok()??;
    kill_process(pid, Signal::CONT).ok()?;
    Some(own("stopped", "undone", "by a signal; it goes on"))
}

/// Takes the policy that was accepted over. One that cannot be used leaves the old one.
fn renewed(source: Source, teller: Teller) -> (Source, Teller) {
    let new = Source::settled(source.file.as_deref()).and_then(|(new, _)| Ok((new.teller()?, new)));
    match new {
        Ok((new_teller, new)) => {
            say("another policy was accepted, and holds from now on");
            // What was raised goes out beside the watch.
            std::thread::spawn(move || teller.close());
            (new, new_teller)
        }
        Err(error) => {
            say(&format!("the new policy cannot be used: {error:#}"));
            (source, teller)
        }
    }
}

/// Waits for the end of a watch that was told to; one that does not end hangs on something, and is killed.
fn end(child: &mut Child) -> anyhow::Result<()> {
    if !has_ended(child, LONGEST_END)? {
        say("the watch did not end, and is killed");
        child.kill().context("cannot kill the watch")?;
        // One that a debugger holds, or a disk, is gone later, and changes nothing any more.
        has_ended(child, SHORT)?;
    }
    Ok(())
}

fn has_ended(child: &mut Child, longest: Duration) -> anyhow::Result<bool> {
    let began = Instant::now();
    while child.try_wait().context("cannot wait for the watch")?.is_none() {
        if began.elapsed() >= longest {
            return Ok(false);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(true)
}

fn start(source: &Source) -> anyhow::Result<(Child, ChildStdin)> {
    let mut command = Command::new("/proc/self/exe");
    command.arg0("mantlet").arg(WORD).args(source.words()).stdin(Stdio::piped());
    let mut child = command.spawn().context("cannot start the watch")?;
    let line = child.stdin.take().context("the watch has no line")?;
    Ok((child, line))
}

/// The next signal.
fn wait(signals: &OwnedFd) -> anyhow::Result<i32> {
    let mut told = [0; 128];
    loop {
        match rustix::io::read(signals, &mut told) {
            Ok(read) if read >= 4 => {
                let number = told.first_chunk::<4>().map_or(0, |bytes| u32::from_ne_bytes(*bytes));
                return Ok(i32::try_from(number).unwrap_or(0));
            }
            Err(rustix::io::Errno::INTR) => {}
            Err(rustix::io::Errno::AGAIN) => {
                let mut fds = [rustix::event::PollFd::new(signals, rustix::event::PollFlags::IN)];
                rustix::event::poll(&mut fds, None).ok();
            }
            other => bail!("cannot wait for signals: {other:?}"),
        }
    }
}

fn killed(status: ExitStatus) -> Change {
    let why = match status.signal() {
        Some(signal) => format!("by signal {signal}"),
        None => format!("it ended with {status}"),
    };
    own("killed", "undone", &format!("{why}; it is started again, and compares everything"))
}

/// A change of the watch itself.
pub(super) fn own(what: &str, outcome: &str, reason: &str) -> Change {
    Change {
        path: "(the watch)".into(),
        what: what.into(),
        outcome: outcome.into(),
        noticed: "supervisor".into(),
        took_ms: 0,
        before: None,
        after: None,
        keys: Vec::new(),
        culprit: None,
        copy: None,
        reason: Some(reason.into()),
        count: 1,
    }
}

/// How the policy wants those met who keep trying.
pub(super) fn escalation(then: mantlet_policy::Then) -> Vec<Escalation> {
    match then {
        mantlet_policy::Then::Report => Vec::new(),
        mantlet_policy::Then::Lock => vec![Escalation::Lock],
        // At once: a lock first would only give the attacker time for something else.
        mantlet_policy::Then::Halt => vec![Escalation::Halt, Escalation::Lock],
    }
}

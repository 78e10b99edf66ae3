//! `mantlet watch run`: the watching process, and the one that starts it again.
//!
//! The attack: somebody kills the watch, changes what it protects, and has time. The supervisor notices at once, and the
//! next watch begins with everything compared. Whoever kills the supervisor finds the watcher become one.

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitCode, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use mantlet_ledger::Change;
use mantlet_watch::{Escalation, Report as _, Watch};
use rustix::process::Signal;

use super::line::{self, Answer, Ask, Line};
use super::teller::{Teller, say};
use super::{Source, copy};

/// The word by which this program starts itself as the watching process.
pub(crate) const WORD: &str = "--watching";
/// A watch that ends sooner than this did not work, and is not started again at once.
const SHORT: Duration = Duration::from_secs(1);
/// How long a watch that is told to end may take for it. A service manager waits ten times as long.
const LONGEST_END: Duration = Duration::from_secs(8);

/// How long a watch that cannot work is left alone before it is tried again.
const REST: Duration = Duration::from_secs(5);

/// What tells a watch to end. The watching process has them blocked as well: it ends with its line.
fn told() -> anyhow::Result<OwnedFd> {
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

fn supervise(mut source: Source, mut teller: Teller, signals: &OwnedFd) -> anyhow::Result<ExitCode> {
    let mut is_first = true;
    loop {
        let began = Instant::now();
        let (mut child, line) = start(&source)?;
        let status = loop {
            if wait(signals)? != Signal::CHILD.as_raw() {
                // Closed, its line tells it to end: it settles what it has.
                drop(line);
                end(&mut child, LONGEST_END)?;
                teller.close();
                return Ok(ExitCode::SUCCESS);
            }
            // What tells the owner has children as well.
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
        std::thread::sleep(if is_refusal { REST } else { SHORT.saturating_sub(began.elapsed().max(SHORT / 2)) });
    }
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
fn end(child: &mut Child, longest: Duration) -> anyhow::Result<()> {
    let began = Instant::now();
    while child.try_wait().context("cannot wait for the watch")?.is_none() {
        if began.elapsed() >= longest {
            say("the watch did not end, and is killed");
            child.kill().context("cannot kill the watch")?;
            child.wait().context("cannot wait for the watch")?;
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
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

/// The watching process. It ends when its supervisor wants it to, and takes its place when that was killed.
pub(crate) fn watching(words: &[OsString]) -> anyhow::Result<ExitCode> {
    let signals = told()?;
    let (source, undone) = Source::of_words(words)?;
    let mut teller = source.teller()?;
    undone.into_iter().for_each(|change| teller.change(change));
    let options = source.options()?;
    let state = options.state.clone();
    let mut watch = open(|| source.watch(options.clone()))?;
    let listener = line::listen(&state)?;
    watch.begin(&mut teller)?;
    say(&format!("watches {} paths", watch.status().paths));
    let stop = Stop::new(&listener)?;
    loop {
        watch.run(&mut teller, stop.descriptor()?)?;
        if stop.is_over() {
            break;
        }
        attend(&listener, &mut watch, &mut teller, &stop);
        if is_renewed(&source, &mut watch) {
            break;
        }
    }
    if !stop.is_over() || !stop.was_killed() {
        teller.close();
        return Ok(ExitCode::SUCCESS);
    }
    drop((watch, listener));
    teller.own(own("killed", "undone", "its supervisor; the watching process takes its place, and starts another"));
    // The attack: a signal that waits here would end it now.
    while rustix::io::read(&signals, &mut [0; 128]).is_ok_and(|read| read > 0) {}
    supervise(source, teller, &signals)
}

/// Whether another policy than this one was accepted, and can be worked by: then all begins anew.
fn is_renewed(source: &Source, watch: &mut Watch) -> bool {
    let Some(file) = source.loaded.file.clone() else { return false };
    let is_same = std::fs::read(&file).is_ok_and(|text| text == source.loaded.text.as_bytes());
    if is_same || !watch.differences(&[file]).is_ok_and(|differences| differences.is_empty()) {
        return false;
    }
    match Source::new(source.file.as_deref()) {
        Ok(_) => true,
        Err(error) => {
            say(&format!("the new policy cannot be used, and the old one holds: {error:#}"));
            false
        }
    }
}

/// Waits for the lock of a watch that was killed a moment ago.
pub(super) fn open(mut open: impl FnMut() -> Result<Watch, mantlet_watch::Error>) -> anyhow::Result<Watch> {
    let began = Instant::now();
    loop {
        match open() {
            Ok(watch) => return Ok(watch),
            Err(mantlet_watch::Error::State(mantlet_watch::StateError::Busy { .. })) if began.elapsed() < SHORT => {
                std::thread::sleep(Duration::from_millis(20));
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Answers one connection. Meanwhile nothing is undone; events wait.
fn attend(listener: &UnixListener, watch: &mut Watch, teller: &mut Teller, stop: &Stop) {
    let result = line::admit(listener).and_then(|mut line| answer(&mut line, watch, teller, stop));
    if let Err(error) = result {
        say(&format!("a connection ended: {error:#}"));
    }
}

fn answer(line: &mut Line, watch: &mut Watch, teller: &mut Teller, stop: &Stop) -> anyhow::Result<()> {
    // The attack: a connection that says nothing, so that nothing is undone.
    let mut until = Instant::now() + line::LONGEST_SILENCE;
    while stop.waits_for(line, until)
        && let Some(ask) = line.hear::<Ask>()?
    {
        let by = line.peer().map_or("somebody".into(), |pid| format!("pid {pid}"));
        let answer = match ask {
            Ask::Status => Answer::Status(Box::new(super::status::of(watch))),
            Ask::Hold => {
                until = Instant::now() + line::LONGEST_HOLD;
                teller.own(own("held", "accepted", &format!("by {by}, until it has done its work")));
                Answer::Done
            }
            Ask::Differences { paths } => differences(watch.differences(&named(watch, paths))),
            Ask::Accept { paths, shown } => {
                let done = watch.accept(&named(watch, paths), &shown);
                for diff in done.iter().flatten() {
                    teller.own(accepted(diff, &by));
                }
                differences(done)
            }
            Ask::AcceptContent { path, from, sha256 } => {
                let content = copy::read_shown(&from, &sha256);
                match content.and_then(|content| Ok(watch.accept_content(&path, &content, teller)?)) {
                    Ok(()) => {
                        teller.own(Change {
                            path: mantlet_ledger::escape(path.as_os_str().as_encoded_bytes()),
                            ..own("written", "accepted", &format!("by {by}"))
                        });
                        Answer::Done
                    }
                    Err(error) => Answer::Refused { why: format!("{error:#}") },
                }
            }
        };
        line.say(&answer)?;
    }
    Ok(())
}

/// All places where none is named.
fn named(watch: &Watch, paths: Vec<std::path::PathBuf>) -> Vec<std::path::PathBuf> {
    if paths.is_empty() { watch.places() } else { paths }
}

fn differences(result: Result<Vec<mantlet_watch::Diff>, mantlet_watch::Error>) -> Answer {
    match result {
        Ok(diffs) => Answer::Differences { diffs: diffs.into_iter().map(Into::into).collect() },
        Err(error) => Answer::Refused { why: error.to_string() },
    }
}

pub(super) fn accepted(diff: &mantlet_watch::Diff, by: &str) -> Change {
    Change {
        path: mantlet_ledger::escape(diff.path.as_os_str().as_encoded_bytes()),
        before: diff.before.clone(),
        after: diff.after.clone(),
        noticed: "owner".into(),
        ..own(diff.what.first().copied().unwrap_or("written"), "accepted", &format!("by {by}"))
    }
}

/// What ends a turn of the watch: a connection, the supervisor's word, or its death.
struct Stop {
    poll: OwnedFd,
}

/// What an epoll descriptor says of the supervisor's line.
const SUPERVISOR: u64 = 1;

impl Stop {
    fn new(listener: &UnixListener) -> anyhow::Result<Stop> {
        use rustix::event::epoll::{CreateFlags, EventData, EventFlags, add, create};
        let poll = create(CreateFlags::CLOEXEC).context("cannot wait for two things")?;
        let failed = "cannot wait for two things";
        add(&poll, listener, EventData::new_u64(0), EventFlags::IN).context(failed)?;
        add(&poll, rustix::stdio::stdin(), EventData::new_u64(SUPERVISOR), EventFlags::IN).context(failed)?;
        Ok(Stop { poll })
    }

    fn descriptor(&self) -> anyhow::Result<OwnedFd> {
        self.poll.try_clone().context("no descriptors are left")
    }

    /// Whether the supervisor's line is at its end.
    fn is_over(&self) -> bool {
        let mut fds = [rustix::event::PollFd::from_borrowed_fd(rustix::stdio::stdin(), rustix::event::PollFlags::IN)];
        let now = rustix::time::Timespec { tv_sec: 0, tv_nsec: 0 };
        rustix::event::poll(&mut fds, Some(&now)).is_ok_and(|ready| ready > 0)
    }

    /// Waits for a word on a connection; not beyond that time, nor when the supervisor's line is at its end.
    fn waits_for(&self, line: &Line, until: Instant) -> bool {
        use rustix::event::{PollFd, PollFlags, poll};
        let left = until.saturating_duration_since(Instant::now());
        let left = rustix::time::Timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(0),
            tv_nsec: left.subsec_nanos().into(),
        };
        let stdin = rustix::stdio::stdin();
        let mut fds =
            [PollFd::from_borrowed_fd(stdin, PollFlags::IN), PollFd::from_borrowed_fd(line.fd(), PollFlags::IN)];
        let is_woken = poll(&mut fds, Some(&left)).is_ok_and(|ready| ready > 0);
        is_woken && !self.is_over()
    }

    /// Whether the supervisor is gone without having said so: one that ends waits for this process.
    fn was_killed(&self) -> bool {
        rustix::process::getppid().is_none_or(|parent| !is_ours(parent.as_raw_nonzero().get()))
    }
}

/// Whether a process is this program.
fn is_ours(pid: i32) -> bool {
    let of = |path: String| std::fs::metadata(path).ok().map(|meta| std::os::unix::fs::MetadataExt::ino(&meta));
    let own = of("/proc/self/exe".into());
    own.is_some() && of(format!("/proc/{pid}/exe")) == own
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

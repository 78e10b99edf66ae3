//! `mantlet --watching`: the process that watches, and answers its owner's commands.
//!
//! The attacks: a signal, a connection or a policy that keeps it from watching. Nothing is undone while it answers, so that
//! who asks must be quick, or hold it openly.

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use mantlet_ledger::Change;
use mantlet_watch::{Report as _, Watch};

use super::line::{self, Answer, Ask, Line};
use super::run::{SHORT, own, supervise, told};
use super::teller::{Teller, say};
use super::{Source, copy};

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
        attend(&listener, &source, &mut watch, &mut teller, &stop);
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
fn attend(listener: &UnixListener, source: &Source, watch: &mut Watch, teller: &mut Teller, stop: &Stop) {
    let result = line::admit(listener).and_then(|mut line| answer(&mut line, source, watch, teller, stop));
    if let Err(error) = result {
        say(&format!("a connection ended: {error:#}"));
    }
}

fn answer(line: &mut Line, source: &Source, watch: &mut Watch, teller: &mut Teller, stop: &Stop) -> anyhow::Result<()> {
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
                let paths = named(watch, paths);
                match source.must_stay_usable(&paths) {
                    Ok(()) => {
                        let done = watch.accept(&paths, &shown);
                        for diff in done.iter().flatten() {
                            teller.own(accepted(diff, &by));
                        }
                        differences(done)
                    }
                    Err(error) => Answer::Refused { why: format!("{error:#}") },
                }
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

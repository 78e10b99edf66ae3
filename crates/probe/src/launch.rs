//! Starting one command, bare or through the jail, and waiting for it with patience that ends.

use std::fs;
use std::io::{self, Read, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::corpus::Action;
use crate::fixture::Planted;
use crate::world::{Arm, PROBE, Spec};

/// How much of a command's output is kept.
const KEPT: usize = 1 << 20;

/// What came of one command.
pub(crate) struct Ended {
    /// Its exit code; none when a signal ended it.
    pub exit: Option<i32>,
    /// Whether patience ended first.
    pub is_hung: bool,
    /// The first of what it printed on either stream.
    pub output: Vec<u8>,
    /// The last of what it printed on standard error.
    pub complaint: String,
    /// How much it printed in all.
    pub bytes: u64,
    /// How long it took.
    pub took: Duration,
}

#[derive(Default)]
struct Stream {
    kept: Vec<u8>,
    bytes: u64,
}

/// Runs an action as one arm asks.
///
/// # Errors
/// When it cannot even be started.
pub(crate) fn run(action: &Action, spec: &Spec, planted: &Planted, has_policy: bool, within: u64) -> io::Result<Ended> {
    let line = planted.fill(&action.line());
    let stdin = padded_stdin(&planted.fill(&action.stdin), action.pad);
    let line = if stdin.is_empty() { pad(line, action.pad) } else { line };
    let mut argv = match spec.arm {
        Arm::Control => vec!["/bin/sh".to_owned(), "-c".to_owned(), line],
        Arm::Jail | Arm::Twin => jail_argv(spec, planted, has_policy, &line),
    };
    let terminal = if planted.has_terminal { Some(open_terminal()?) } else { None };
    if terminal.is_some() {
        argv.splice(0..0, [PROBE.to_owned(), "on-terminal".to_owned()]);
    }
    let (program, rest) = argv.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    let mut command = Command::new(program);
    command.args(rest).env_clear().envs(planted.env.iter().cloned()).current_dir(planted.fill("{ws}"));
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    if terminal.is_none() {
        // On a terminal the command becomes the leader of a session, which a group's leader may not.
        command.process_group(0);
    }
    let (master, slave) = terminal.map_or((None, None), |(m, s)| (Some(m), Some(s)));
    match slave {
        Some(slave) => command.stdin(Stdio::from(slave)),
        None if stdin.is_empty() => command.stdin(Stdio::null()),
        None => command.stdin(Stdio::piped()),
    };
    let ended = watch(command.spawn()?, stdin, Duration::from_secs(within));
    drop(master);
    ended
}

/// Runs a line as the owner, outside any jail.
///
/// # Errors
/// When it cannot even be started.
pub(crate) fn run_as_owner(line: &str, planted: &Planted) -> io::Result<Ended> {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", &planted.fill(line)]).env_clear().envs(planted.env.iter().cloned());
    command.current_dir(planted.fill("{ws}")).process_group(0);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    watch(command.spawn()?, Vec::new(), Duration::from_secs(10))
}

fn jail_argv(spec: &Spec, planted: &Planted, has_policy: bool, line: &str) -> Vec<String> {
    let mut argv = Vec::new();
    for word in &spec.jail_argv {
        match word.as_str() {
            "{cmd}" => argv.push(line.to_owned()),
            "{policy}" if has_policy => argv.extend(spec.policy_argv.iter().map(|w| planted.fill(w))),
            "{policy}" => {}
            other => argv.push(planted.fill(other)),
        }
    }
    argv
}

/// Makes a line long with a comment after it.
fn pad(mut line: String, to: usize) -> String {
    if line.len() < to {
        line.push_str("\n#");
        line.extend(std::iter::repeat_n('x', to - line.len()));
    }
    line
}

/// Makes a script long with comments before it, so that what counts comes last.
fn padded_stdin(text: &str, to: usize) -> Vec<u8> {
    let mut out = Vec::new();
    while !text.is_empty() && out.len() + text.len() < to {
        out.extend_from_slice(b"# ");
        out.extend(std::iter::repeat_n(b'x', 1000));
        out.push(b'\n');
    }
    out.extend_from_slice(text.as_bytes());
    out
}

fn open_terminal() -> io::Result<(OwnedFd, OwnedFd)> {
    use rustix::fs::{Mode, OFlags};
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let master = rustix::fs::open("/dev/ptmx", flags, Mode::empty())?;
    let number = crate::sys::kernel::unlock_terminal(&master)?;
    let slave = rustix::fs::open(format!("/dev/pts/{number}"), flags, Mode::empty())?;
    Ok((master, slave))
}

fn watch(mut child: Child, stdin: Vec<u8>, within: Duration) -> io::Result<Ended> {
    let start = Instant::now();
    if let Some(mut pipe) = child.stdin.take() {
        // A command that does not read its input closes the pipe: not our failure.
        std::thread::spawn(move || drop(pipe.write_all(&stdin)));
    }
    let out = child.stdout.take().map(drain);
    let err = child.stderr.take().map(drain);
    let mut is_hung = false;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break Some(status);
        }
        if start.elapsed() > within {
            is_hung = true;
            kill_group(&child);
            break child.try_wait()?;
        }
        std::thread::sleep(Duration::from_millis(3));
    };
    let took = start.elapsed();
    // A process left behind may hold the pipes open: what it prints later does not belong to the call.
    let deadline = Instant::now() + Duration::from_millis(300);
    let mut output = Vec::new();
    let mut complaint = String::new();
    let mut bytes = 0;
    for (stream, is_error) in [(out, false), (err, true)] {
        let Some((stream, reader)) = stream else {
            continue;
        };
        while !reader.is_finished() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(2));
        }
        let Ok(got) = stream.lock() else { continue };
        output.extend_from_slice(&got.kept);
        bytes += got.bytes;
        if is_error {
            complaint = last_words(&got.kept);
        }
    }
    Ok(Ended { exit: status.and_then(|s| s.code()), is_hung, output, complaint, bytes, took })
}

fn kill_group(child: &Child) {
    if let Some(pid) = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw) {
        // It may have ended in this very moment.
        rustix::process::kill_process_group(pid, rustix::process::Signal::KILL).ok();
    }
}

fn drain(mut from: impl Read + Send + 'static) -> (Arc<Mutex<Stream>>, std::thread::JoinHandle<()>) {
    let stream = Arc::new(Mutex::new(Stream::default()));
    let into = Arc::clone(&stream);
    let reader = std::thread::spawn(move || {
        let mut buf = vec![0u8; 65536];
        while let Ok(n) = from.read(&mut buf) {
            let Ok(mut s) = into.lock() else { return };
            if n == 0 {
                return;
            }
            s.bytes += n as u64;
            let room = KEPT.saturating_sub(s.kept.len()).min(n);
            s.kept.extend_from_slice(&buf[..room]);
        }
    });
    (stream, reader)
}

/// The last line or two, escaped, for the report.
fn last_words(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let lines: Vec<&str> = text.lines().filter(|l| !l.trim().is_empty()).collect();
    let last = lines[lines.len().saturating_sub(2)..].join(" | ");
    let start = last.char_indices().rev().nth(239).map_or(0, |(i, _)| i);
    last[start..].chars().flat_map(char::escape_debug).collect()
}

/// Reads the processes of the world that call themselves this.
pub(crate) fn processes_named(name: &str) -> usize {
    let Ok(entries) = fs::read_dir("/proc") else {
        return 0;
    };
    let is_named = |e: &fs::DirEntry| {
        let comm = fs::read_to_string(e.path().join("comm")).unwrap_or_default();
        let stat = fs::read_to_string(e.path().join("stat")).unwrap_or_default();
        // A zombie is dead, only not yet buried.
        comm.trim_end() == name && !stat.rsplit(')').next().unwrap_or_default().starts_with(" Z")
    };
    entries.flatten().filter(is_named).count()
}

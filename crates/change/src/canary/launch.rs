//! The client as a process: a bare environment, its own process group, and an end.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use super::{CanaryError, Stage, Start};

/// How the client ended.
pub(super) struct Run {
    pub(super) is_late: bool,
    /// The end of what it printed, masked and escaped.
    pub(super) said: String,
}

pub(super) fn run(stage: &Stage, start: &Start) -> Result<Run, CanaryError> {
    let mut command = match &stage.covered {
        None => Command::new(&stage.program),
        Some((from, over)) => {
            let mut command = Command::new("unshare");
            let script = "mount --make-rprivate / && mount --bind \"$1\" \"$2\" && shift 2 && exec \"$@\"";
            command.args(["--mount", "sh", "-c", script, "sh"]).args([from, over, &stage.program]);
            command
        }
    };
    bare(&mut command, &stage.home());
    command.args(&start.args).envs(start.env.iter().map(|(name, value)| (name, value)));
    command.current_dir(stage.workspace());
    let mut output = log(&stage.top.join("client.log"))?;
    let errors =
        output.try_clone().map_err(|source| CanaryError::Start { step: "keep the client's output", source })?;
    let is_late = end(command, &output, errors.into(), stage.limit)?.is_none();
    Ok(Run { is_late, said: tail(&mut output) })
}

/// Asks a client for its version: the first line that it prints.
///
/// # Errors
/// It cannot be started, or says nothing in time.
pub fn version(program: &Path, top: &Path) -> Result<String, CanaryError> {
    let mut command = Command::new(program);
    bare(&mut command, top);
    command.arg("--version").current_dir(top);
    let limit = Duration::from_secs(60);
    let mut output = log(&top.join("version.log"))?;
    // Warnings go to standard error, and could hold digits too.
    let status = end(command, &output, Stdio::null(), limit)?;
    let said = tail(&mut output);
    let line = said.lines().find(|line| line.bytes().any(|byte| byte.is_ascii_digit()));
    match (status, line) {
        (Some(status), Some(line)) if status.success() => Ok(line.trim().to_owned()),
        (None, _) => Err(CanaryError::Late { limit, said }),
        _ => Err(CanaryError::Silent { requests: 0, calls: 0, said }),
    }
}

/// The caller's variables may hold keys, and may move the client's settings: few of them are passed on.
fn bare(command: &mut Command, home: &Path) {
    let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into());
    command.env_clear().env("PATH", path).env("HOME", home).env("LANG", "C.UTF-8").env("SHELL", "/bin/bash");
    command.env("NO_COLOR", "1").env("TERM", "dumb").env("USER", "mantlet-canary");
}

fn log(path: &Path) -> Result<File, CanaryError> {
    let file = File::options().read(true).write(true).create(true).truncate(true).open(path);
    file.map_err(|source| CanaryError::Start { step: "keep the client's output", source })
}

/// Waits until the client ends, or ends it and everything it started; `None` then.
fn end(
    mut command: Command,
    output: &File,
    errors: Stdio,
    limit: Duration,
) -> Result<Option<std::process::ExitStatus>, CanaryError> {
    let failed = |step: &'static str| move |source| CanaryError::Start { step, source };
    let copy = output.try_clone().map_err(failed("keep the client's output"))?;
    command.stdin(Stdio::null()).stdout(copy).stderr(errors).process_group(0);
    let mut child = command.spawn().map_err(failed("start the client"))?;
    let until = Instant::now() + limit;
    let status = loop {
        match child.try_wait().map_err(failed("wait for the client"))? {
            Some(status) => break Some(status),
            None if Instant::now() >= until => break None,
            None => std::thread::sleep(Duration::from_millis(20)),
        }
    };
    // Also what a client that has ended left running: it has seen the throwaway home, and must not outlive it.
    kill(&mut child);
    Ok(status)
}

fn kill(child: &mut Child) {
    if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        // The group may be gone already.
        kill_process_group(group, Signal::KILL).ok();
    }
    child.wait().ok();
}

fn tail(file: &mut File) -> String {
    const END: u64 = 2000;
    let length = file.metadata().map_or(0, |meta| meta.len());
    let mut bytes = Vec::new();
    let read = file.seek(SeekFrom::Start(length.saturating_sub(END))).and_then(|_| file.read_to_end(&mut bytes));
    if read.is_err() {
        return String::new();
    }
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let masked = mantlet_dlp::mask(&text);
    masked.lines().map(|line| mantlet_ledger::escape(line.as_bytes())).collect::<Vec<_>>().join("\n")
}

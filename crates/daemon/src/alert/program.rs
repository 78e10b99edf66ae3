//! The channels that are a program: the owner's command, the desktop's notification, sendmail.
//!
//! Never through a shell, with an environment of ours, and never a program that an agent could have written. The text is on
//! standard input and in the environment, which only the owner's processes see.

use std::ffi::{OsStr, OsString};
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use mantlet_ledger::escape;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};

use super::{Alert, SendError};

/// Where a program without a path is looked for; never in PATH.
const DIRECTORIES: [&str; 3] = ["/usr/local/bin", "/usr/bin", "/bin"];
/// What shows notifications: a part of libnotify.
const NOTIFY_SEND: &str = "/usr/bin/notify-send";
/// As much as a notification shows.
const DESKTOP: usize = 1000;

/// A program that is started for one message.
pub(super) struct Program {
    path: PathBuf,
    args: Vec<OsString>,
    env: Vec<(&'static str, String)>,
    input: Vec<u8>,
}

impl Program {
    /// The owner's command.
    pub(super) fn command(
        words: &[String],
        alert: &Alert,
        host: &str,
        writable: &[PathBuf],
    ) -> Result<Self, SendError> {
        let (program, args) = words.split_first().ok_or_else(|| refused(Path::new(""), "is no program"))?;
        let path = match program.contains('/') {
            true => PathBuf::from(program),
            false => {
                let mut found = DIRECTORIES.iter().map(|dir| Path::new(dir).join(program));
                let missing = || refused(Path::new(program), "is not in /usr/local/bin, /usr/bin or /bin");
                found.find(|path| path.is_file()).ok_or_else(missing)?
            }
        };
        let mut env = vec![("MANTLET_ALERT_SUBJECT", alert.line()), ("MANTLET_ALERT_HOST", host.to_owned())];
        for (name, text) in alert.fields() {
            let variable = match name {
                "what" => "MANTLET_ALERT_WHAT",
                "when" => "MANTLET_ALERT_WHEN",
                "who" => "MANTLET_ALERT_WHO",
                "outcome" => "MANTLET_ALERT_OUTCOME",
                _ => "MANTLET_ALERT_NEXT",
            };
            env.push((variable, text.to_owned()));
        }
        let input = format!("{}\n\n{}", alert.title(host), alert.body()).into_bytes();
        let args = args.iter().map(OsString::from).collect();
        Ok(Program { path: trusted(&path, writable)?, args, env, input })
    }

    /// A notification on the owner's desktop.
    pub(super) fn desktop(alert: &Alert, host: &str, writable: &[PathBuf]) -> Result<Self, SendError> {
        let path = Path::new(NOTIFY_SEND);
        if !path.exists() {
            return Err(refused(path, "is not there\nhint: install libnotify (libnotify-bin)"));
        }
        let args = notification(alert, host).map(OsString::from);
        Ok(Program { path: trusted(path, writable)?, args: args.into(), env: Vec::new(), input: Vec::new() })
    }

    /// sendmail(8): the message as it is, the recipients as arguments and not from its headers.
    pub(super) fn sendmail(
        path: &Path,
        from: &str,
        to: &[String],
        message: Vec<u8>,
        writable: &[PathBuf],
    ) -> Result<Self, SendError> {
        let args = ["-i", "-f", from, "--"].into_iter().chain(to.iter().map(String::as_str));
        let args = args.map(OsString::from).collect();
        Ok(Program { path: trusted(path, writable)?, args, env: Vec::new(), input: message })
    }

    pub(super) fn run(&self, timeout: Duration) -> Result<(), SendError> {
        let mut command = Command::new(&self.path);
        command.args(&self.args).env_clear().envs(surroundings()).envs(self.env.iter().map(|(n, v)| (n, v)));
        command.current_dir("/").stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        let failed = |source: std::io::Error| refused(&self.path, &format!("cannot be started: {source}"));
        let mut child = command.spawn().map_err(failed)?;
        if let Some(mut pipe) = child.stdin.take() {
            // Smaller than a pipe holds: a program that does not read does not hold this up. One that has closed its input
            // wants none.
            drop(pipe.write_all(&self.input));
        }
        match ended(&mut child, timeout) {
            Some(status) if status.success() => Ok(()),
            Some(status) => Err(SendError::Ended { program: shown(&self.path), status: spelled(status) }),
            None => Err(SendError::Timeout(timeout)),
        }
    }
}

/// The arguments of notify-send. The body is markup, in which an agent's text must be none; and backslashes in it are
/// escapes, by which it would get lines of its own.
fn notification(alert: &Alert, host: &str) -> [String; 5] {
    let body = mantlet_ledger::shorten(&alert.body(), DESKTOP).into_owned();
    let body = body.replace('\\', "\\\\").replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    ["--app-name=Mantlet".into(), "--urgency=critical".into(), "--".into(), alert.title(host), body]
}

/// What a program of the owner's finds around it: nothing of this process's but the way to the desktop.
fn surroundings() -> Vec<(&'static str, OsString)> {
    let mut env = vec![("PATH", DIRECTORIES.join(":").into()), ("LANG", "C.UTF-8".into())];
    for name in ["HOME", "USER", "LOGNAME", "XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS", "DISPLAY", "WAYLAND_DISPLAY"]
    {
        env.extend(std::env::var_os(name).map(|value| (name, value)));
    }
    let has = |wanted: &str| env.iter().any(|(name, _)| *name == wanted);
    if !has("DBUS_SESSION_BUS_ADDRESS") {
        // Where systemd puts it for every user; a service has it from nobody else.
        let bus = format!("/run/user/{}/bus", rustix::process::geteuid().as_raw());
        if Path::new(&bus).exists() {
            env.push(("DBUS_SESSION_BUS_ADDRESS", format!("unix:path={bus}").into()));
        }
    }
    env
}

/// The program's real place, when nobody but root and the owner can write it and no agent reaches it.
fn trusted(path: &Path, writable: &[PathBuf]) -> Result<PathBuf, SendError> {
    let real = path.canonicalize().map_err(|e| refused(path, &format!("cannot be found: {e}")))?;
    let meta = real.metadata().map_err(|e| refused(path, &format!("cannot be examined: {e}")))?;
    let why = if !meta.is_file() {
        "is not a regular file"
    } else if ![0, rustix::process::geteuid().as_raw()].contains(&meta.uid()) {
        "belongs to another user"
    } else if meta.mode() & 0o022 != 0 {
        "can be written by others\nhint: chmod go-w"
    } else if writable.iter().any(|place| real.starts_with(place)) {
        "lies where an agent can write"
    } else {
        // Started by the name it has: some programs are several.
        return Ok(path.to_owned());
    };
    Err(refused(path, why))
}

fn refused(path: &Path, why: &str) -> SendError {
    SendError::Program { program: shown(path), why: why.to_owned() }
}

fn shown(path: &Path) -> String {
    escape(<Path as AsRef<OsStr>>::as_ref(path).as_encoded_bytes())
}

/// Waits, and kills it with its children when the time is over.
fn ended(child: &mut Child, timeout: Duration) -> Option<ExitStatus> {
    let pid = Pid::from_child(child);
    let until = Instant::now() + timeout;
    if let Ok(watched) = pidfd_open(pid, PidfdFlags::empty()) {
        let mut left = until.saturating_duration_since(Instant::now());
        while !left.is_zero() {
            let wait = Timespec::try_from(left).ok();
            match poll(&mut [PollFd::new(&watched, PollFlags::IN)], wait.as_ref()) {
                Ok(1..) => return child.wait().ok(),
                Ok(0) | Err(rustix::io::Errno::INTR) => {}
                Err(_) => break,
            }
            left = until.saturating_duration_since(Instant::now());
        }
    }
    kill_process_group(pid, Signal::KILL).ok();
    child.wait().ok();
    None
}

fn spelled(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "an unknown status".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agents_text_is_no_markup_and_no_line_of_a_notification() {
        let alert = Alert::new("x", "a<b href=\"x\">\\nwhen: \\033[1m & \u{202e}\n");
        let [.., dashes, title, body] = notification(&alert, "host");
        assert_eq!((dashes.as_str(), title.as_str()), ("--", "[host] x"));
        let first = body.lines().next().unwrap();
        assert_eq!(first, "what: a&lt;b href=\"x\"&gt;\\\\nwhen: \\\\033[1m &amp; \\\\u{202e}\\\\n");
    }
}

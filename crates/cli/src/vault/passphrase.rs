//! A passphrase: from the terminal without echo, or from a descriptor; never an argument, and in no environment.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use anyhow::{Context as _, bail};
use mantlet_vault::Secret;
use mantlet_vault::store::read_stream;
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};

/// Longer than anybody types.
const LONGEST: usize = 1024;

/// Asks for the passphrase of a file.
pub(super) fn ask(path: &Path) -> anyhow::Result<Secret> {
    let tty = terminal().with_context(|| {
        format!("{} is protected with a passphrase, and there is no terminal to ask on\nhint: a service needs `mantlet vault init --systemd-creds`, or a plain identity (0600)", path.display())
    })?;
    line(&tty, &format!("passphrase of {}: ", mantlet_ledger::escape(path.as_os_str().as_encoded_bytes())))
}

/// Asks for a new one, twice.
pub(super) fn ask_new() -> anyhow::Result<Secret> {
    let tty = terminal().context("there is no terminal to ask on\nhint: --passphrase-fd 3 3<FILE")?;
    let first = line(&tty, "new passphrase: ")?;
    if first.expose().is_empty() {
        bail!("the passphrase is empty");
    }
    if line(&tty, "the same again: ")? != first {
        bail!("the two are not the same; nothing was written");
    }
    Ok(first)
}

/// Reads the first line of a descriptor that the caller has opened.
pub(super) fn from_descriptor(number: u32) -> anyhow::Result<Secret> {
    // By its name: taking a number for a descriptor is unsafe in Rust, and this is as good.
    let file = File::open(format!("/proc/self/fd/{number}"));
    let text = read_stream(file.with_context(|| format!("descriptor {number} cannot be read"))?)?;
    let line = text.expose().split(|byte| *byte == b'\n').next().unwrap_or_default();
    Ok(Secret::new(line.to_vec()))
}

fn terminal() -> std::io::Result<File> {
    File::options().read(true).write(true).open("/dev/tty")
}

/// Reads one line without echo.
fn line(tty: &File, prompt: &str) -> anyhow::Result<Secret> {
    let before = tcgetattr(tty).context("cannot examine the terminal")?;
    let mut silent = before.clone();
    silent.local_modes.remove(LocalModes::ECHO);
    silent.local_modes.insert(LocalModes::ECHONL);
    tcsetattr(tty, OptionalActions::Flush, &silent).context("cannot switch the terminal's echo off")?;
    let read = prompted(tty, prompt);
    tcsetattr(tty, OptionalActions::Flush, &before).context("cannot switch the terminal's echo on")?;
    read
}

fn prompted(mut tty: &File, prompt: &str) -> anyhow::Result<Secret> {
    std::io::Write::write_all(&mut tty, prompt.as_bytes()).context("cannot write to the terminal")?;
    // In canonical mode one read is at most one line. The buffer does not grow, and so leaves no copies behind.
    let mut bytes = vec![0; LONGEST];
    let count = tty.read(&mut bytes).context("cannot read from the terminal")?;
    bytes.truncate(count);
    match bytes.pop() {
        Some(b'\n') => Ok(Secret::new(bytes)),
        _ => bail!("nothing was entered, or more than {LONGEST} bytes"),
    }
}

//! Questions to a person: what is typed is not shown, and comes by no argument and no environment.

use std::fs::File;
use std::io::{IsTerminal as _, Read, Write as _};
use std::os::fd::AsFd;
use std::path::Path;

use anyhow::{Context as _, bail};
use mantlet_vault::Secret;
use mantlet_vault::store::read_stream;
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};

/// Longer than any passphrase that is typed.
const LONGEST: usize = 1024;
/// As long as a line of a terminal can be.
const LINE: usize = 4096;

/// Standard input, without the buffer of the standard library: that keeps a copy to the end.
pub(crate) struct Input;

impl Read for Input {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        Ok(rustix::io::read(rustix::stdio::stdin(), into)?)
    }
}

/// Writes a question to standard error, without a line break.
pub(crate) fn show(question: &str) -> anyhow::Result<()> {
    let text = mantlet_ledger::escape(question.as_bytes());
    std::io::stderr().lock().write_all(text.as_bytes()).context("cannot write to standard error")
}

/// Asks on standard input, without echo.
pub(crate) fn ask(prompt: &str) -> anyhow::Result<Secret> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        bail!("standard input is no terminal");
    }
    let mut line = vec![0; LINE];
    // In canonical mode one read is at most one line.
    let count = silently(&stdin, || {
        show(prompt)?;
        Input.read(&mut line).context("cannot read from the terminal")
    })?;
    line.truncate(count);
    if line.is_empty() {
        bail!("nothing was entered");
    }
    Ok(Secret::new(line))
}

/// Asks for the passphrase of a file on the terminal, whatever standard input is.
pub(crate) fn ask_passphrase(path: &Path) -> anyhow::Result<Secret> {
    let tty = terminal().with_context(|| {
        format!(
            "{} is protected with a passphrase, and there is no terminal to ask on\n\
             hint: a service needs `mantlet vault init --systemd-creds`, or a plain identity (0600)",
            path.display()
        )
    })?;
    line(&tty, &format!("passphrase of {}: ", path.display()))
}

/// Asks for a new passphrase, twice.
pub(crate) fn ask_new_passphrase() -> anyhow::Result<Secret> {
    let tty = terminal().context("there is no terminal to ask on\nhint: --passphrase-fd 3 3<FILE")?;
    let first = line(&tty, "new passphrase: ")?;
    if line(&tty, "the same again: ")? != first {
        bail!("the two are not the same; nothing was written");
    }
    Ok(first)
}

/// Reads the first line of a descriptor that the caller has opened.
pub(crate) fn from_descriptor(number: u32) -> anyhow::Result<Secret> {
    // By its name: that a number is an open descriptor is a claim that safe Rust cannot make.
    let file = File::open(format!("/proc/self/fd/{number}"));
    let text = read_stream(file.with_context(|| format!("descriptor {number} cannot be read"))?)?;
    Ok(Secret::new(text.expose().split(|byte| *byte == b'\n').next().unwrap_or_default().to_vec()))
}

fn terminal() -> std::io::Result<File> {
    File::options().read(true).write(true).open("/dev/tty")
}

/// Reads one line of a terminal. The buffer does not grow: nothing of it is left behind.
fn line(mut tty: &File, prompt: &str) -> anyhow::Result<Secret> {
    let prompt = mantlet_ledger::escape(prompt.as_bytes());
    let mut bytes = vec![0; LONGEST];
    // In canonical mode one read is at most one line.
    let count = silently(tty, || {
        tty.write_all(prompt.as_bytes()).context("cannot write to the terminal")?;
        tty.read(&mut bytes).context("cannot read from the terminal")
    })?;
    bytes.truncate(count);
    let line = Secret::new(bytes);
    match line.expose().strip_suffix(b"\n") {
        Some(text) if !text.is_empty() => Ok(Secret::new(text.to_vec())),
        Some(_) | None => bail!("nothing was entered, or more than {LONGEST} bytes"),
    }
}

/// Asks while the terminal shows nothing of what is typed. What was typed before is thrown away, so that the question
/// comes after that.
fn silently(tty: impl AsFd, asked: impl FnOnce() -> anyhow::Result<usize>) -> anyhow::Result<usize> {
    let before = tcgetattr(&tty).context("cannot examine the terminal")?;
    let mut silent = before.clone();
    silent.local_modes.remove(LocalModes::ECHO);
    silent.local_modes.insert(LocalModes::ECHONL);
    tcsetattr(&tty, OptionalActions::Flush, &silent).context("cannot switch the terminal's echo off")?;
    let answer = asked();
    tcsetattr(&tty, OptionalActions::Flush, &before).context("cannot switch the terminal's echo on")?;
    answer
}

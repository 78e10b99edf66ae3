//! Where plaintext goes: to a pipe, byte for byte, past every buffer that is not wiped.

use std::os::fd::AsFd as _;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::Args;
use mantlet_vault::Secret;
use rustix::fs::FileType;

/// Whether plaintext may be shown.
#[derive(Debug, Clone, Args)]
pub(crate) struct Force {
    /// Print to a terminal or a file as well: it stays in its scrollback, or on its disk
    #[arg(long)]
    force: bool,
}

/// Writes plaintext to standard output, if that is a pipe.
pub(crate) fn give(secret: &Secret, force: &Force) -> anyhow::Result<ExitCode> {
    let stdout = std::io::stdout();
    let kind = rustix::fs::fstat(stdout.as_fd()).map(|stat| FileType::from_raw_mode(stat.st_mode));
    let kind = kind.context("cannot examine standard output")?;
    if !force.force && !matches!(kind, FileType::Fifo | FileType::Socket) {
        let what = if kind == FileType::RegularFile { "a file" } else { "a terminal or device" };
        bail!(
            "standard output is {what}, where the plaintext would stay\nhint: pipe it to the program that needs it, `mantlet vault exec`, or --force"
        );
    }
    write(secret.expose())
}

/// Writes to standard output, past the buffer of the standard library, which keeps a copy to the end.
pub(crate) fn write(mut rest: &[u8]) -> anyhow::Result<ExitCode> {
    while !rest.is_empty() {
        match rustix::io::write(rustix::stdio::stdout(), rest) {
            Ok(count) => rest = rest.get(count..).unwrap_or_default(),
            Err(rustix::io::Errno::INTR) => {}
            Err(rustix::io::Errno::PIPE) => return Ok(ExitCode::SUCCESS),
            Err(errno) => return Err(errno).context("cannot write to standard output"),
        }
    }
    Ok(ExitCode::SUCCESS)
}

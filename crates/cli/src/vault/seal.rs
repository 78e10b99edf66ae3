//! `mantlet vault seal`: a plain file becomes an encrypted one, and goes away.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::Args;
use mantlet_vault::store::{Place, is_there, remains};
use mantlet_vault::{Format, Secret, encrypt_file};

use super::create::PlanArgs;
use super::write::{put, remember, verify};
use crate::policy_cmd::{print, tell};

/// Encrypt a file beside itself, make sure that it decrypts to the same, and remove the plaintext
///
/// `app.env` becomes `app.sops.env`, `key.pem` becomes `key.pem.sops`. Where the format would lose something (a number
/// like 010, an anchor), nothing is changed.
#[derive(Debug, Clone, Args)]
pub(crate) struct SealArgs {
    /// The plain file
    file: PathBuf,
    /// Where to; beside the file by default
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Encrypt the whole file as one value: nothing of its form is lost
    #[arg(long)]
    binary: bool,
    #[command(flatten)]
    plan: PlanArgs,
}

pub(crate) fn run(args: &SealArgs) -> anyhow::Result<ExitCode> {
    let source = Place::lock(&args.file)?;
    let output = args.output.clone().unwrap_or_else(|| beside(&args.file));
    let Some(plain) = source.read()? else {
        // The lock has finished what a call that was killed had begun.
        if is_there(&output)? {
            tell(&format!("{} is sealed already, as {}", args.file.display(), output.display()))?;
            return Ok(ExitCode::SUCCESS);
        }
        bail!("{} does not exist", args.file.display());
    };
    let format = if args.binary { Format::Binary } else { args.plan.format(&args.file, plain.expose())? };
    let plan = args.plan.plan(&output)?;
    let sealed = encrypt_file(plain.expose(), format, &plan)
        .with_context(|| format!("cannot encrypt {} as {}", args.file.display(), format.name()))?;
    let again = mantlet_vault::Sealed::parse(&sealed, format)?;
    let identities = super::identities_for(&again)?;
    let again =
        again.open(identities).context("none of the known identities could open it; nothing was changed")?.plain()?;
    if let Err(lost) = mantlet_vault::compare(&plain, &again, format) {
        bail!("{}: {lost}; nothing was changed\nhint: mantlet vault seal --binary {0}", args.file.display());
    }
    write(&source.another(&output)?, &output, &sealed, format, &again)?;
    source.destroy(&plain)?;
    let left = remains(args.file.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new(".")));
    tell(&format!("{} was overwritten and removed; {left}", args.file.display()))?;
    print(&format!("{}\n", output.display()))
}

/// Writes the encrypted file, unless it is there from a call that was killed, and reads it again from the disk.
fn write(place: &Place, output: &Path, sealed: &[u8], format: Format, plain: &Secret) -> anyhow::Result<()> {
    match place.read()? {
        None => put(place, output, None, sealed, format, plain)?,
        Some(before) => {
            if verify(before.expose(), format, plain).is_err() {
                bail!("{} exists, and holds something else\nhint: --output FILE", output.display());
            }
            // The call that wrote it may have been killed before it was on the disk, or remembered.
            place.settle()?;
            remember(output, before.expose(), format)?;
        }
    }
    let written = place.read()?.context("what was written is gone")?;
    verify(written.expose(), format, plain)
}

/// SOPS tells a format by the end of a name.
fn beside(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default();
    let text = name.to_string_lossy();
    let known =
        [".env", ".json", ".yaml", ".yml"].iter().find_map(|end| text.strip_suffix(end).map(|stem| (stem, end)));
    match known {
        Some((stem, end)) => path.with_file_name(format!("{stem}.sops{end}")),
        None => {
            let mut longer = name.to_owned();
            longer.push(OsStr::new(".sops"));
            path.with_file_name(longer)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_file_lies_beside_under_a_name_that_sops_reads() {
        for (name, sealed) in [
            ("a/app.env", "a/app.sops.env"),
            (".env", ".sops.env"),
            ("x.json", "x.sops.json"),
            ("key.pem", "key.pem.sops"),
            (".env.local", ".env.local.sops"),
        ] {
            assert_eq!(beside(Path::new(name)), Path::new(sealed));
        }
    }
}

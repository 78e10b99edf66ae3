//! What Mantlet remembers of the files it wrote, in its state directory, and `mantlet vault accept`.

use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::Args;
use mantlet_vault::store::{Place, is_there, read_file};
use mantlet_vault::{Sealed, Witness};

use super::{FileArgs, parse};
use crate::policy_cmd::tell;

/// Take a file as it is now: what its MAC does not cover was changed on purpose
#[derive(Debug, Clone, Args)]
pub(crate) struct AcceptArgs {
    #[command(flatten)]
    file: FileArgs,
}

pub(crate) fn accept(args: &AcceptArgs) -> anyhow::Result<ExitCode> {
    let path = &args.file.file;
    let text = read_file(path)?;
    let sealed = parse(path, text.expose(), args.file.kind)?;
    remember(path, &Witness::of(&sealed, text.expose()))?;
    Ok(ExitCode::SUCCESS)
}

/// Says what has changed of a file, beyond what its MAC covers, since it was last remembered.
pub(crate) fn compare(path: &Path, sealed: &Sealed, text: &[u8]) -> anyhow::Result<()> {
    match changed(path, sealed, text)? {
        Some(changed) => tell(&changed),
        None => Ok(()),
    }
}

/// As [`compare`], for who is going to write the file: a recipient or a rule that somebody put in would be taken for the
/// owner's, and the next data key be encrypted to a stranger.
pub(crate) fn refuse_changes(path: &Path, sealed: &Sealed, text: &[u8]) -> anyhow::Result<()> {
    match changed(path, sealed, text)? {
        Some(changed) => bail!("nothing was written: {changed}"),
        None => Ok(()),
    }
}

fn changed(path: &Path, sealed: &Sealed, text: &[u8]) -> anyhow::Result<Option<String>> {
    let file = file_for(path)?;
    if !is_there(&file)? {
        return Ok(None);
    }
    let kept = read_file(&file)?;
    let Some(then) = kept.expose_text().and_then(Witness::read) else {
        bail!("{} is damaged\nhint: mantlet vault accept {}", file.display(), path.display())
    };
    let changes = then.changes(&Witness::of(sealed, text));
    Ok((!changes.is_empty()).then(|| {
        let changes = changes.join("; ");
        format!(
            "{}: since Mantlet last wrote it: {changes}\nhint: look at it, then `mantlet vault accept`",
            path.display()
        )
    }))
}

/// Remembers a file.
pub(crate) fn remember(path: &Path, witness: &Witness) -> anyhow::Result<()> {
    let file = file_for(path)?;
    let parent = file.parent().context("no place to remember it at")?;
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(parent);
    made.with_context(|| format!("cannot make {}", parent.display()))?;
    let place = Place::lock(&file)?;
    let before = place.read()?;
    Ok(place.replace(before.as_ref(), witness.write().as_bytes())?)
}

/// One file per path: a name says nothing, and cannot lead elsewhere.
fn file_for(path: &Path) -> anyhow::Result<PathBuf> {
    let given = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let home = std::env::home_dir().filter(|home| home.is_absolute()).map(|home| home.join(".local/state"));
    let state = given.or(home).context("this user has no home directory\nhint: set HOME")?;
    let path = path.canonicalize().with_context(|| format!("cannot resolve {}", path.display()))?;
    Ok(state.join("mantlet/vault/seen").join(mantlet_vault::name_hash(path.as_os_str().as_bytes())))
}

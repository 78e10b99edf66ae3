//! Secrets of the channels of alerts: one file beside the identity, one value by its name for each message.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, anyhow};
use mantlet_daemon::alert::{Secret, VaultLookup};
use mantlet_vault::tree::Step;

use super::{Kind, config_home, load, open, protect};

/// Where they are.
fn file() -> anyhow::Result<PathBuf> {
    Ok(config_home()?.join("mantlet/vault/alert.sops.env"))
}

/// Returns what looks secrets of alerts up, for as long as this process lives.
pub(crate) fn lookup() -> VaultLookup {
    Arc::new(|name| get(name).map_err(|error| format!("{error:#}")))
}

fn get(name: &str) -> anyhow::Result<Secret> {
    protect()?;
    let path = file()?;
    let opened = open(&path, load(&path, Some(Kind::Dotenv))?)?;
    let value = opened.get(&[Step::Name(name.to_owned())])?;
    let missing = || format!("{} has no `{name}`\nhint: mantlet vault set {0} {name}", path.display());
    let value = value.with_context(missing)?;
    let text = value.expose_text().context("the value is not text")?;
    Secret::new(text.to_owned().into()).map_err(|why| anyhow!("the value is refused: {why}"))
}

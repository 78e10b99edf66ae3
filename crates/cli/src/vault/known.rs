//! The identities of this user, found once for a call. Nobody is asked before it is clear that nothing else opens a file.

use std::ffi::OsString;
use std::path::Path;
use std::sync::OnceLock;

use anyhow::Context as _;
use mantlet_vault::gather::{self, Gathered};
use mantlet_vault::{Identity, Sealed, parse_identities, passphrase};

use super::{config_home, credential, terminal};

/// Those that lie open.
static FOUND: OnceLock<Gathered> = OnceLock::new();
/// All of them.
static ALL: OnceLock<Vec<Identity>> = OnceLock::new();

fn gathered() -> anyhow::Result<Gathered> {
    let variable = |name: &str| std::env::var_os(name).filter(|value: &OsString| !value.is_empty());
    Ok(gather::gather(&gather::sources(variable, &config_home()?))?)
}

/// Returns every identity: asks for passphrases, and systemd for its credential.
pub(crate) fn identities() -> anyhow::Result<&'static [Identity]> {
    if let Some(all) = ALL.get() {
        return Ok(all);
    }
    let Gathered { mut identities, protected } = gathered()?;
    for file in &protected {
        let phrase = terminal::ask_passphrase(&file.path)?;
        let plain = passphrase::unprotect(file.sealed.expose(), &phrase);
        let plain = plain.with_context(|| format!("cannot open {}", file.path.display()))?;
        identities.extend(parse_identities(plain.expose())?);
    }
    let path = credential::place(&config_home()?);
    // In a unit of systemd's it was decrypted already, and is among the others.
    let given = std::env::var_os("CREDENTIALS_DIRECTORY").map(|dir| Path::new(&dir).join(credential::NAME));
    if path.exists() && !given.is_some_and(|given| given.exists()) {
        identities.extend(parse_identities(credential::decrypt(&path)?.expose())?);
    }
    Ok(ALL.get_or_init(|| identities))
}

/// Returns identities for a file: those that lie open, if one of them is a recipient; else every one.
pub(crate) fn identities_for(sealed: &Sealed) -> anyhow::Result<&'static [Identity]> {
    if let Some(all) = ALL.get() {
        return Ok(all);
    }
    let found = match FOUND.get() {
        Some(found) => found,
        None => {
            let gathered = gathered()?;
            FOUND.get_or_init(|| gathered)
        }
    };
    let recipients = sealed.recipients();
    let opens = |identity: &Identity| recipients.contains(&identity.recipient().to_string());
    match found.identities.iter().any(opens) {
        true => Ok(&found.identities),
        false => identities(),
    }
}

//! The encrypted file of the values, the identity that opens it, and what `change` is lent: seals and databases.

use std::path::Path;
use std::time::SystemTime;

use anyhow::{Context as _, bail};
use mantlet_change::{Lent, LentError, Row};
use mantlet_vault::store::Place;
use mantlet_vault::tree::Step;
use mantlet_vault::{Format, Identity, MacOver, Plan, Recipient, Rule, Sealed, Secret, encrypt_file, gather, seal_to};
use serde_json::{Map, Value};

use super::super::{Kind, config_home, credential, open, parse, witness, write};
use super::sqlite::Database;
use super::survey::Values;
use crate::policy_cmd::tell;

/// Makes the identity if there is none: what it seals has to be opened again at every start of the gateway.
pub(super) fn ensure_identity() -> anyhow::Result<()> {
    let config = config_home()?;
    let path = gather::own_identity(&config);
    if credential::place(&config).symlink_metadata().is_ok() {
        bail!("{}\nhint: {ALONE}", credential::place(&config).display());
    }
    make_parent(&path)?;
    let place = Place::lock(&path)?;
    if place.read()?.is_none() {
        let identity = Identity::generate();
        place.replace(None, identity.file(&mantlet_ledger::rfc3339(SystemTime::now())).expose())?;
        tell(&format!("made the identity {}: keep a copy of it in a safe place", path.display()))?;
    }
    if own()?.is_empty() {
        bail!("{} is protected with a passphrase\nhint: {ALONE}", path.display());
    }
    Ok(())
}

const ALONE: &str = "a gateway starts with nobody to ask: it needs an identity that lies open (0600)";

/// The identities that the gateway's calls will find: they have no environment to name others in.
fn at_start() -> anyhow::Result<Vec<Identity>> {
    Ok(gather::gather(&gather::sources(|_| None, &config_home()?))?.identities)
}

fn own() -> anyhow::Result<Vec<Identity>> {
    let own = gather::own_identity(&config_home()?);
    Ok(gather::gather(&[gather::Source::Usual(own)])?.identities)
}

/// The recipients of this user's own files.
fn recipients() -> anyhow::Result<Vec<Recipient>> {
    Ok(own()?.iter().map(Identity::recipient).collect())
}

fn make_parent(path: &Path) -> anyhow::Result<()> {
    let parent = path.parent().context("a file without a directory")?;
    let mut maker = std::fs::DirBuilder::new();
    std::os::unix::fs::DirBuilderExt::mode(maker.recursive(true), 0o700)
        .create(parent)
        .with_context(|| format!("cannot make {}", parent.display()))
}

/// Puts the values into the encrypted file, beside what is in it, and makes sure that each can be read again.
pub(super) fn store(path: &Path, values: &Values) -> anyhow::Result<()> {
    make_parent(path)?;
    let place = Place::lock(path)?;
    let before = place.read()?;
    let (sealed, plain) = match &before {
        Some(text) => {
            let sealed = parse(path, text.expose(), Some(Kind::Json))?;
            witness::refuse_changes(path, &sealed, text.expose())?;
            let mut opened = open(path, sealed)?;
            let mut members = members(&opened.plain()?)?;
            members.extend(entries(values));
            opened.replace(&plain(&members)?)?;
            let plain = opened.plain()?;
            (opened.seal()?, plain)
        }
        None => {
            let plan = Plan { rule: Rule::default(), over: MacOver::Everything, recipients: recipients()? };
            let plain = plain(&entries(values).collect())?;
            let sealed = encrypt_file(plain.expose(), Format::Json, &plan)?;
            let plain = Sealed::parse(&sealed, Format::Json)?.open(&own()?)?.plain()?;
            (sealed, plain)
        }
    };
    // Before it takes the old one's place: what cannot be opened must not be all there is.
    check(path, &sealed, values)?;
    write::put(&place, path, before.as_ref(), &sealed, Format::Json, &plain)?;
    check(path, place.read()?.context("the encrypted file is gone")?.expose(), values)
}

fn check(path: &Path, text: &[u8], values: &Values) -> anyhow::Result<()> {
    let opened = Sealed::parse(text, Format::Json)?.open(&at_start()?);
    let opened = opened.with_context(|| format!("cannot open {} as the gateway will", path.display()))?;
    let members = members(&opened.plain()?)?;
    for (name, value) in entries(values) {
        let step = [Step::Name(name.clone())];
        if members.get(&name) != Some(&value) || !opened.is_encrypted(&step)? {
            bail!("{} would not hold `{name}` as it is; nothing was changed", path.display());
        }
    }
    Ok(())
}

fn entries(values: &Values) -> impl Iterator<Item = (String, Value)> {
    values.iter().map(|(name, value)| {
        let text = value.text.expose_text().unwrap_or_default();
        let json = value.is_json.then(|| serde_json::from_str(text).ok()).flatten();
        (name.to_owned(), json.unwrap_or_else(|| Value::from(text)))
    })
}

fn members(plain: &Secret) -> anyhow::Result<Map<String, Value>> {
    // What it says is not repeated.
    serde_json::from_slice(plain.expose()).map_err(|_| anyhow::anyhow!("the encrypted file is no JSON object"))
}

fn plain(members: &Map<String, Value>) -> anyhow::Result<Secret> {
    Ok(Secret::new(serde_json::to_vec(members)?))
}

/// What `change` is lent.
pub(super) struct Lender;

impl std::fmt::Debug for Lender {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Lender")
    }
}

impl Lent for Lender {
    fn seal(&self, record: &[u8]) -> Result<Vec<u8>, LentError> {
        Ok(seal_to(&recipients()?, record)?)
    }

    fn open(&self, sealed: &[u8]) -> Result<Vec<u8>, LentError> {
        let opened = at_start()?.iter().find_map(|identity| identity.open(sealed));
        let opened = opened.ok_or("no identity opens it; hint: put back the one that was there when it was written")?;
        Ok(opened.expose().to_vec())
    }

    fn row(&self, database: &[u8], row: &Row) -> Result<Option<String>, LentError> {
        Ok(Database::read(database)?.text(row)?)
    }

    fn with_rows(&self, database: &[u8], rows: &[(Row, String)]) -> Result<Vec<u8>, LentError> {
        Ok(Database::read(database)?.with(rows)?)
    }
}

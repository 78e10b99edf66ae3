//! `mantlet vault set`, `unset` and `rotate`: an encrypted file changed in place.

use std::io::IsTerminal as _;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::Args;
use mantlet_vault::store::{Place, read_stream};
use mantlet_vault::tree::Value;
use mantlet_vault::{Opened, Recipient, Secret, Witness, parse_path, write_path};

use super::{FileArgs, Kind, identities, identities_for, open, parse, witness};
use crate::policy_cmd::tell;

/// Put a value into a file; it is read from standard input, without its last line break
#[derive(Debug, Clone, Args)]
pub(crate) struct SetArgs {
    #[command(flatten)]
    file: FileArgs,
    /// Its name, or `["name"]["inner"][0]`
    name: String,
    /// Keep the last line break
    #[arg(long)]
    verbatim: bool,
    /// Also where the file's rule leaves the value in the clear
    #[arg(long)]
    unencrypted: bool,
}

/// Take a value out of a file
#[derive(Debug, Clone, Args)]
pub(crate) struct UnsetArgs {
    #[command(flatten)]
    file: FileArgs,
    /// Its name, or `["name"]["inner"][0]`
    name: String,
}

/// Give a file a new data key, and change who can open it
///
/// Whoever could open the file before may have kept what was in it: change the secrets themselves, too.
#[derive(Debug, Clone, Args)]
pub(crate) struct RotateArgs {
    #[command(flatten)]
    file: FileArgs,
    /// Who can open it from now on as well
    #[arg(long, value_name = "RECIPIENT", value_delimiter = ',')]
    add_age: Vec<String>,
    /// Who cannot any more
    #[arg(long, value_name = "RECIPIENT", value_delimiter = ',')]
    remove_age: Vec<String>,
}

pub(crate) fn set(args: &SetArgs) -> anyhow::Result<ExitCode> {
    let steps = parse_path(&args.name)?;
    // Before the lock: a terminal may wait for ever.
    let value = if std::io::stdin().is_terminal() {
        super::terminal::ask(&format!("value of {}: ", write_path(&steps)))?
    } else {
        read_stream(super::terminal::Input).context("cannot read the value from standard input")?
    };
    let value = if args.verbatim { value } else { without_line_break(&value) };
    change(&args.file.file, args.file.kind, |opened| {
        if !args.unencrypted && !opened.is_encrypted(&steps)? {
            bail!("the file's rule leaves `{}` in the clear\nhint: another name, or --unencrypted", write_path(&steps));
        }
        opened.set(&steps, Value::Text(value)).with_context(|| format!("cannot set `{}`", write_path(&steps)))
    })
}

pub(crate) fn unset(args: &UnsetArgs) -> anyhow::Result<ExitCode> {
    let steps = parse_path(&args.name)?;
    change(&args.file.file, args.file.kind, |opened| {
        opened.unset(&steps).with_context(|| format!("cannot take out `{}`", write_path(&steps)))
    })
}

pub(crate) fn rotate(args: &RotateArgs) -> anyhow::Result<ExitCode> {
    let read = |texts: &[String]| texts.iter().map(|text| Recipient::parse(text.trim())).collect::<Result<Vec<_>, _>>();
    let (add, remove) = (read(&args.add_age)?, read(&args.remove_age)?);
    change(&args.file.file, args.file.kind, |opened| {
        let mut recipients = opened.recipients()?;
        if let Some(stranger) = remove.iter().find(|recipient| !recipients.contains(recipient)) {
            bail!("{stranger} cannot open the file as it is");
        }
        recipients.retain(|recipient| !remove.contains(recipient));
        for recipient in add {
            if !recipients.contains(&recipient) {
                recipients.push(recipient);
            }
        }
        let own = identities()?;
        if !own.iter().any(|identity| recipients.contains(&identity.recipient())) {
            bail!("none of the known identities could open the file afterwards\nhint: keep one of: {}", {
                own.iter().map(|identity| identity.recipient().to_string()).collect::<Vec<_>>().join(", ")
            });
        }
        opened.rotate(&recipients)?;
        let names: Vec<String> = recipients.iter().map(Recipient::to_string).collect();
        tell(&format!("encrypted for {}", names.join(", ")))
    })
}

/// Opens a file under its lock, changes it, and makes sure that what is written can be opened before it is.
pub(crate) fn change(
    path: &Path,
    kind: Option<Kind>,
    step: impl FnOnce(&mut Opened) -> anyhow::Result<()>,
) -> anyhow::Result<ExitCode> {
    let place = Place::lock(path)?;
    let Some(before) = place.read()? else {
        bail!("{} does not exist\nhint: `mantlet vault encrypt - -o FILE` makes one", path.display())
    };
    let sealed = parse(path, before.expose(), kind)?;
    witness::refuse_changes(path, &sealed, before.expose())?;
    let mut opened = open(path, sealed)?;
    let format = opened.format();
    step(&mut opened)?;
    let plain = opened.plain()?;
    let sealed = opened.seal()?;
    put(&place, path, Some(&before), &sealed, format, &plain)?;
    Ok(ExitCode::SUCCESS)
}

/// Writes an encrypted file that decrypts to what it should, and remembers it.
pub(crate) fn put(
    place: &Place,
    path: &Path,
    before: Option<&Secret>,
    sealed: &[u8],
    format: mantlet_vault::Format,
    plain: &Secret,
) -> anyhow::Result<()> {
    verify(sealed, format, plain)?;
    say_what_is_open(path, before, sealed, format)?;
    place.replace(before, sealed)?;
    remember(path, sealed, format)
}

/// Names the values that the file's rule leaves in the clear, and that were not so before.
fn say_what_is_open(
    path: &Path,
    before: Option<&Secret>,
    sealed: &[u8],
    format: mantlet_vault::Format,
) -> anyhow::Result<()> {
    let of = |text: &[u8]| Ok::<_, anyhow::Error>(mantlet_vault::Sealed::parse(text, format)?.in_the_clear());
    let known = before.map_or(Ok(Vec::new()), |before| of(before.expose()))?;
    let open = of(sealed)?;
    let new: Vec<String> = open.iter().filter(|name| !known.contains(name)).map(|name| write_path(name)).collect();
    match new.is_empty() {
        true => Ok(()),
        false => tell(&format!("{}: the file's rule leaves in the clear: {}", path.display(), new.join(", "))),
    }
}

/// Remembers what was written.
pub(crate) fn remember(path: &Path, sealed: &[u8], format: mantlet_vault::Format) -> anyhow::Result<()> {
    witness::remember(path, &Witness::of(&mantlet_vault::Sealed::parse(sealed, format)?, sealed))
        .with_context(|| format!("{} was written; what its MAC does not cover was not remembered", path.display()))
}

/// Decrypts what is about to be written, and compares.
pub(crate) fn verify(sealed: &[u8], format: mantlet_vault::Format, plain: &Secret) -> anyhow::Result<()> {
    let again = mantlet_vault::Sealed::parse(sealed, format)?;
    let identities = identities_for(&again)?;
    let again = again.open(identities).context("what was encrypted cannot be decrypted again; nothing was written")?;
    if again.plain()? != *plain {
        bail!("what was encrypted decrypts to something else; nothing was written");
    }
    Ok(())
}

fn without_line_break(value: &Secret) -> Secret {
    let bytes = value.expose();
    let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    Secret::new(bytes.strip_suffix(b"\r").unwrap_or(bytes).to_vec())
}

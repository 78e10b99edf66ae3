//! `mantlet vault encrypt`, and how a new file is encrypted: for whom, and which of its values.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::Args;
use mantlet_vault::store::{Place, read_file, read_stream};
use mantlet_vault::{Format, MacOver, Plan, Recipient, Rule, Sealed, Witness, encrypt_file, rules};

use super::{Kind, identities, witness};
use crate::policy_cmd::{print, tell};

/// How a new file is encrypted.
#[derive(Debug, Clone, Args)]
pub(crate) struct PlanArgs {
    /// Who can open it (age1...); several with commas, or repeated. Else: what .sops.yaml says, else the own identity
    #[arg(long, value_name = "RECIPIENT", value_delimiter = ',')]
    age: Vec<String>,
    /// Encrypt only below names that match
    #[arg(long, value_name = "REGEX", group = "rule")]
    encrypted_regex: Option<String>,
    /// Encrypt all but what is below names that match
    #[arg(long, value_name = "REGEX", group = "rule")]
    unencrypted_regex: Option<String>,
    /// Encrypt only below names that end so
    #[arg(long, value_name = "SUFFIX", group = "rule")]
    encrypted_suffix: Option<String>,
    /// Encrypt all but what is below names that end so
    #[arg(long, value_name = "SUFFIX", group = "rule")]
    unencrypted_suffix: Option<String>,
    /// How the file is written, when its name and its contents do not say it
    #[arg(long = "type", value_enum, value_name = "TYPE")]
    kind: Option<Kind>,
}

impl PlanArgs {
    /// Settles who can open a file that is to be written there, and says so.
    pub(crate) fn plan(&self, path: &Path) -> anyhow::Result<Plan> {
        let chosen = [
            (&self.encrypted_regex, Rule::EncryptedRegex as fn(String) -> Rule),
            (&self.unencrypted_regex, Rule::UnencryptedRegex),
            (&self.encrypted_suffix, Rule::EncryptedSuffix),
            (&self.unencrypted_suffix, Rule::UnencryptedSuffix),
        ];
        let asked = chosen.into_iter().find_map(|(text, make)| text.clone().map(make));
        let given = self.age.iter().map(|text| Recipient::parse(text.trim())).collect::<Result<Vec<_>, _>>()?;
        // What is on the command line is the owner's own word; a file in the tree may be an agent's.
        let created = if given.is_empty() { rules::created(path)? } else { None };
        let (recipients, rule, over, from) = match created {
            _ if !given.is_empty() => (given, None, MacOver::Everything, "as asked".to_owned()),
            Some(created) => {
                let from = format!("says {}", created.from.display());
                (created.recipients, Some(created.rule), created.over, from)
            }
            None => {
                let own = identities()?.iter().map(mantlet_vault::Identity::recipient).collect();
                (own, None, MacOver::Everything, "the own identity".to_owned())
            }
        };
        let recipients = once_each(recipients);
        if recipients.is_empty() {
            bail!("nobody could open the file\nhint: `mantlet vault init` makes an identity, or name one with --age");
        }
        let names: Vec<String> = recipients.iter().map(Recipient::to_string).collect();
        tell(&format!("encrypted for {} ({from})", names.join(", ")))?;
        Ok(Plan { rule: asked.or(rule).unwrap_or_default(), over, recipients })
    }

    /// Settles how a plain file is written.
    pub(crate) fn format(&self, path: &Path, plain: &[u8]) -> anyhow::Result<Format> {
        Ok(match self.kind {
            Some(kind) => kind.into(),
            None => Format::of_name(path)?.unwrap_or_else(|| Format::of_plain(plain)),
        })
    }
}

/// The same identity may be known from two places.
fn once_each(recipients: Vec<Recipient>) -> Vec<Recipient> {
    let mut once: Vec<Recipient> = Vec::new();
    for recipient in recipients {
        if !once.contains(&recipient) {
            once.push(recipient);
        }
    }
    once
}

/// Encrypt a file; the plaintext stays (`seal` removes it)
#[derive(Debug, Clone, Args)]
pub(crate) struct EncryptArgs {
    /// The plain file; - for standard input
    file: PathBuf,
    /// Where to; standard output by default
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    plan: PlanArgs,
}

pub(crate) fn encrypt(args: &EncryptArgs) -> anyhow::Result<ExitCode> {
    let is_stream = args.file.as_os_str() == "-";
    let plain = if is_stream {
        read_stream(super::terminal::Input).context("cannot read standard input")?
    } else {
        read_file(&args.file)?
    };
    // A stream has no name: the one it is written to counts.
    let named = if is_stream { args.output.as_deref().unwrap_or(&args.file) } else { &args.file };
    let format = args.plan.format(named, plain.expose())?;
    let plan = args.plan.plan(args.output.as_deref().unwrap_or(named))?;
    let sealed = encrypt_file(plain.expose(), format, &plan)
        .with_context(|| format!("cannot encrypt {} as {}", args.file.display(), format.name()))?;
    match &args.output {
        None => print(&String::from_utf8(sealed)?),
        Some(path) => {
            let place = Place::lock(path)?;
            let before = place.read()?;
            if before.is_some() {
                bail!("{} exists\nhint: `mantlet vault edit`, or remove it first", path.display());
            }
            place.replace(None, &sealed)?;
            witness::remember(path, &Witness::of(&Sealed::parse(&sealed, format)?, &sealed))?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

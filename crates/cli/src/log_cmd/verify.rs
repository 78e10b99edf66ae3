//! `mantlet log verify`: whether the ledger is what its writers wrote. It asks the ledger and renders the answer.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use mantlet_ledger::{Expected, Verified, escape, verify};
use mantlet_policy::Anchor;

use super::anchor;

/// Verify the ledger: nothing edited, dropped, moved or doubled
///
/// Each entry holds the hash of the one before, and checkpoints are signed. That the newest entries are all there is not to
/// be seen in the ledger: it is complete up to the entry that is named, and hashes kept elsewhere (`mantlet log anchor`)
/// tell of those that were cut off. Exits 1 when something is wrong. Whoever acts as you can write a new ledger with
/// your key; only what is kept elsewhere shows that.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct VerifyArgs {
    /// Compare with the hashes kept there: file:/path or git:/path; repeatable. Without it, where the section `ledger` of the policy says
    #[arg(long, value_name = "WHERE", value_parser = anchor::anchor)]
    anchor: Vec<Anchor>,
    /// The public key that all checkpoints must be of, in hex, or a file that holds it
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// The ledger in this directory
    #[arg(long, value_name = "DIR")]
    ledger: Option<PathBuf>,
    /// Read this policy file
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn run(ledger: &Path, args: &VerifyArgs) -> anyhow::Result<ExitCode> {
    let dir = args.ledger.as_deref().or_else(|| ledger.parent()).context("the ledger has no directory")?;
    let anchors = match args.anchor.is_empty() {
        true => anchor::from_policy(args.policy.as_deref())?.anchors,
        false => args.anchor.clone(),
    };
    let mut expected = Expected { heads: Vec::new(), key: args.key.as_deref().map(key).transpose()? };
    let mut broken = 0;
    for anchor in &anchors {
        let kept = anchor::kept(anchor)?;
        expected.heads.extend(kept.heads);
        broken += kept.broken;
    }
    let mut found = verify(dir, &expected)?;
    if broken > 0 {
        found.notes.push(format!("{broken} lines of the hashes kept elsewhere are none"));
    }
    let text = if args.json { format!("{}\n", serde_json::to_string(&found)?) } else { told(&found, anchors.len()) };
    std::io::stdout().write_all(text.as_bytes()).context("cannot write to standard output")?;
    Ok(if found.is_sound() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn key(text: &str) -> anyhow::Result<String> {
    let is_key = |text: &str| text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_key(text) {
        return Ok(text.to_ascii_lowercase());
    }
    let held = std::fs::read_to_string(text).with_context(|| format!("cannot read the key in {text:?}"))?;
    match held.trim() {
        held if is_key(held) => Ok(held.to_ascii_lowercase()),
        _ => bail!("{text:?} holds no public key of 64 digits of hex"),
    }
}

fn told(found: &Verified, anchors: usize) -> String {
    let mut lines = Vec::new();
    for finding in &found.findings {
        let place = match (&finding.file, finding.line) {
            (Some(file), Some(line)) => format!("{}, line {line}: ", escape(file.as_os_str().as_encoded_bytes())),
            (Some(file), None) => format!("{}: ", escape(file.as_os_str().as_encoded_bytes())),
            _ => String::new(),
        };
        lines.push(format!("WRONG  {place}{}", escape(finding.what.as_bytes())));
    }
    if found.more > 0 {
        lines.push(format!("WRONG  and {} more", found.more));
    }
    lines.extend(found.notes.iter().map(|note| format!("note   {}", escape(note.as_bytes()))));
    let signed = match found.signed {
        Some(seq) => format!("{} checkpoints hold, the newest signs entry {seq}", found.checkpoints),
        None => "no checkpoint is due yet".into(),
    };
    lines.push(format!("{} entries; {signed}", found.entries));
    for key in &found.keys {
        lines.push(format!("signed with {}", escape(key.as_bytes())));
    }
    let last = found.head.as_ref().map_or("nothing".into(), |head| format!("entry {}", head.seq));
    let verdict = if found.is_sound() { "complete up to" } else { "NOT as it was written; it ends with" };
    let rest = match (anchors, found.anchor) {
        (0, _) => "what came after, if anything did, cannot be known: no hash is kept elsewhere".into(),
        (_, Some(seq)) => format!("the newest hash kept elsewhere is of entry {seq}"),
        (_, None) => "no hash kept elsewhere is of an entry in it".into(),
    };
    lines.push(format!("{verdict} {last}; {rest}"));
    lines.join("\n") + "\n"
}

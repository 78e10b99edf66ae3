//! `mantlet log anchor`: the newest entry's hash kept where whoever cuts the ledger cannot reach it.
//!
//! Kept are a number and a hash: nothing of what the ledger tells.

use std::fs::OpenOptions;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::SystemTime;

use anyhow::{Context as _, bail};
use mantlet_ledger::{Anchored, Expected, Head, Heads, OpenError, Writer, read_heads, rfc3339, verify};
use mantlet_policy::{Anchor, Ledger};
use mantlet_sandbox::RealHost;

/// The file of heads in a git repository.
const IN_GIT: &str = "mantlet-heads.jsonl";
/// A longer file is none of ours.
const MOST: u64 = 64 << 20;

/// Keep the newest entry's hash elsewhere
///
/// Somebody who can write your files can cut the end off the ledger, and nothing in it tells. A hash that lies where they
/// cannot write does: `mantlet log verify` compares. Without --anchor, where the section `ledger` of the policy says.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct AnchorArgs {
    /// Where: file:/path (another disk, another user's) or git:/path (each one a commit); repeatable
    #[arg(long, value_name = "WHERE", value_parser = anchor)]
    anchor: Vec<Anchor>,
    /// The ledger of somebody else, whose newest hash you keep
    #[arg(long, value_name = "DIR")]
    ledger: Option<PathBuf>,
    /// Read this policy file
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
}

/// Reads `file:/path` or `git:/path`.
pub(super) fn anchor(text: &str) -> Result<Anchor, String> {
    match text.split_once(':') {
        Some(("file", path)) if path.starts_with('/') => Ok(Anchor::File(path.into())),
        Some(("git", path)) if path.starts_with('/') => Ok(Anchor::Git(path.into())),
        _ => Err("write file:/path or git:/path, absolute".into()),
    }
}

/// What the policy says of the ledger; nothing where there is no policy.
pub(super) fn from_policy(policy: Option<&Path>) -> anyhow::Result<Ledger> {
    let host = RealHost::new()?;
    let loaded = mantlet_sandbox::load(policy, &host).map_err(|error| anyhow::anyhow!("{error}"))?;
    Ok(loaded.and_then(|loaded| loaded.policy.ledger().cloned()).unwrap_or_default())
}

pub(super) fn run(ledger: &Path, args: &AnchorArgs) -> anyhow::Result<ExitCode> {
    let said = if args.anchor.is_empty() { from_policy(args.policy.as_deref())? } else { Ledger::default() };
    let anchors = if args.anchor.is_empty() { &said.anchors } else { &args.anchor };
    if anchors.is_empty() && said.anchor_command.is_empty() {
        bail!("nothing says where\nhint: --anchor file:/path or git:/path, or `anchor` in [ledger] of the policy");
    }
    let dir = args.ledger.as_deref().or_else(|| ledger.parent()).context("the ledger has no directory")?;
    if !dir.is_dir() {
        bail!("there is no ledger in {dir:?}");
    }
    let Some(head) = newest(dir, &said)? else { bail!("the ledger in {dir:?} is empty: there is nothing to keep") };
    keep(&head, anchors, &said.anchor_command)?;
    writeln!(std::io::stdout(), "entry {} is kept: {}", head.seq, head.hash)
        .context("cannot write to standard output")?;
    Ok(ExitCode::SUCCESS)
}

/// The newest entry: a checkpoint made now where the ledger is the caller's own.
fn newest(dir: &Path, said: &Ledger) -> anyhow::Result<Option<Head>> {
    match Writer::open_with(dir, &[], mantlet_sandbox::ledger_keep(Some(said))) {
        Ok(mut ledger) => Ok(ledger.checkpoint()?),
        Err(OpenError::Foreign { .. }) => Ok(verify(dir, &Expected::default())?.head),
        Err(error) => Err(error.into()),
    }
}

/// Keeps a head everywhere that is asked for; the first failure is told, and the others are tried all the same.
fn keep(head: &Head, anchors: &[Anchor], command: &[String]) -> anyhow::Result<()> {
    let kept = Anchored { v: 1, time: rfc3339(SystemTime::now()), host: host(), head: head.clone() };
    let line = format!("{}\n", serde_json::to_string(&kept)?);
    let mut results: Vec<anyhow::Result<()>> = anchors
        .iter()
        .map(|anchor| match anchor {
            Anchor::File(path) => append(path, &line).with_context(|| format!("cannot keep it in {path:?}")),
            Anchor::Git(path) => commit(path, &line, head).with_context(|| format!("cannot keep it in {path:?}")),
        })
        .collect();
    if let [program, words @ ..] = command {
        results.push(hand_to(program, words, &line).with_context(|| format!("cannot hand it to {program:?}")));
    }
    results.into_iter().collect()
}

/// The heads that are kept in a place.
pub(super) fn kept(anchor: &Anchor) -> anyhow::Result<Heads> {
    let text = match anchor {
        Anchor::File(path) => read(path).with_context(|| format!("cannot read the heads in {path:?}"))?,
        Anchor::Git(path) => {
            let output = git(path).args(["show", &format!("HEAD:{IN_GIT}")]).output().context("cannot start git")?;
            if !output.status.success() {
                bail!("git has no {IN_GIT} in {path:?}: {}", mantlet_ledger::escape(&output.stderr));
            }
            String::from_utf8(output.stdout).context("the heads are no text")?
        }
    };
    Ok(read_heads(&text, &host())?)
}

fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

fn read(path: &Path) -> anyhow::Result<String> {
    let file = OpenOptions::new().read(true).custom_flags(libc_flags()).open(path)?;
    let mut text = String::new();
    file.take(MOST).read_to_string(&mut text)?;
    Ok(text)
}

/// A link that somebody planted is not followed, and a FIFO not waited for.
fn libc_flags() -> i32 {
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOCTTY;
    i32::from_ne_bytes(flags.bits().to_ne_bytes())
}

fn append(path: &Path, line: &str) -> anyhow::Result<()> {
    let mut file =
        OpenOptions::new().read(true).append(true).create(true).mode(0o600).custom_flags(libc_flags()).open(path)?;
    // A line that a power cut tore must not swallow this one.
    let length = file.metadata()?.len();
    let mut last = [b'\n'];
    if length > 0 {
        std::os::unix::fs::FileExt::read_exact_at(&file, &mut last, length - 1)?;
    }
    let begin = if last == *b"\n" { "" } else { "\n" };
    file.write_all(format!("{begin}{line}").as_bytes())?;
    Ok(file.sync_all()?)
}

fn commit(repository: &Path, line: &str, head: &Head) -> anyhow::Result<()> {
    append(&repository.join(IN_GIT), line)?;
    let message = format!("mantlet: entry {}", head.seq);
    for words in [vec!["add", "--", IN_GIT], vec!["commit", "--quiet", "--message", &message, "--", IN_GIT]] {
        let output = git(repository).args(&words).output().context("cannot start git")?;
        if !output.status.success() {
            bail!("git {}: {}", words.first().unwrap_or(&""), mantlet_ledger::escape(&output.stderr));
        }
    }
    Ok(())
}

/// The repository is the one that is named, whatever the environment says.
fn git(repository: &Path) -> Command {
    let mut git = Command::new("git");
    git.arg("-C").arg(repository).stdin(Stdio::null());
    for name in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY"] {
        git.env_remove(name);
    }
    git
}

fn hand_to(program: &str, words: &[String], line: &str) -> anyhow::Result<()> {
    let mut child = Command::new(program).args(words).stdin(Stdio::piped()).stdout(Stdio::null()).spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(line.as_bytes())?;
    }
    let status = child.wait()?;
    if !status.success() {
        bail!("it ended with {status}");
    }
    Ok(())
}

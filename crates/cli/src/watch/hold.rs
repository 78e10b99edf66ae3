//! The watch held by its owner: what Mantlet itself changes, or a command that the owner runs, is taken and not undone.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use mantlet_ledger::Change;
use mantlet_watch::Watch;

use super::line::{self, Answer, Ask, Line, Shown};
use super::run;
use super::teller::Teller;
use super::watching::{accepted, open};
use super::{Source, copy};

/// A watch that stays away until this is dropped.
pub(crate) enum Hold {
    /// One that runs.
    Running(Line),
    /// None runs, and there is a baseline: the next one would undo.
    Own(Box<Own>),
    /// Nothing is watched.
    Nothing,
}

/// A baseline that nobody watches by.
pub(crate) struct Own {
    watch: Watch,
    teller: Teller,
    source: Source,
}

impl Own {
    /// Takes places as they stand, when that is what was shown.
    ///
    /// The attack: a policy that names less, which nobody has looked at. What it leaves out would be signed away.
    fn accept(&mut self, paths: &[PathBuf], shown: &BTreeMap<PathBuf, String>) -> anyhow::Result<Vec<Shown>> {
        self.source.must_stay_usable(paths)?;
        if let Some(policy) = self.source.loaded.file.clone()
            && !paths.contains(&policy)
            && !self.watch.differences(std::slice::from_ref(&policy))?.is_empty()
        {
            bail!("the policy differs from the baseline\nhint: mantlet watch diff {policy:?}, and accept it first");
        }
        let taken = self.watch.accept(paths, shown)?;
        for diff in &taken {
            self.teller.own(accepted(diff, "its owner, while no watch ran"));
        }
        Ok(taken.into_iter().map(Into::into).collect())
    }
}

impl Hold {
    /// Holds the watch of a policy.
    pub(crate) fn begin(source: &Source) -> anyhow::Result<Hold> {
        let dir = source.state()?;
        if let Some(mut line) = line::connect(&dir)? {
            return match line.ask(&Ask::Hold)? {
                Answer::Done => Ok(Hold::Running(line)),
                other => bail!("the watch cannot be held: {}", refusal(other)),
            };
        }
        if !source.has_baseline()? {
            return Ok(Hold::Nothing);
        }
        let options = source.options()?;
        let watch = open(|| source.watch(options.clone()))?;
        let (teller, source) = (source.teller()?, Source::new(source.file.as_deref())?);
        Ok(Hold::Own(Box::new(Own { watch, teller, source })))
    }

    /// Whether what is not accepted is undone at once.
    pub(crate) fn is_running(&self) -> bool {
        matches!(self, Hold::Running(_))
    }

    /// Holds the watch of the usual policy, where there is one: for what Mantlet itself changes.
    pub(crate) fn usual() -> anyhow::Result<Hold> {
        let ledger = crate::log_cmd::ledger_file()?;
        let dir = ledger.ancestors().nth(2).map(|state| state.join("watch"));
        if !dir.is_some_and(|dir| dir.is_dir()) {
            return Ok(Hold::Nothing);
        }
        Hold::begin(&Source::new(None)?).context("the watch of protected files would undo this, and cannot be held")
    }

    /// How places differ; all of them where none is named.
    pub(crate) fn differences(&mut self, paths: &[PathBuf]) -> anyhow::Result<Vec<Shown>> {
        match self {
            Hold::Running(line) => shown(line.ask(&Ask::Differences { paths: paths.to_vec() })?),
            Hold::Own(own) => {
                let paths = if paths.is_empty() { own.watch.places() } else { paths.to_vec() };
                Ok(own.watch.differences(&paths)?.into_iter().map(Into::into).collect())
            }
            Hold::Nothing => Ok(Vec::new()),
        }
    }

    /// Takes places as they stand, when that is what these differences show.
    pub(crate) fn accept(&mut self, paths: &[PathBuf], diffs: &[Shown]) -> anyhow::Result<Vec<Shown>> {
        let seen = diffs.iter().map(|diff| (diff.path.clone(), diff.now.clone())).collect();
        match self {
            Hold::Running(line) => shown(line.ask(&Ask::Accept { paths: paths.to_vec(), shown: seen })?),
            Hold::Own(own) => own.accept(paths, &seen),
            Hold::Nothing => Ok(Vec::new()),
        }
    }

    /// Makes what another file holds the content of a place, when it has this hash.
    pub(crate) fn accept_content(&mut self, path: &Path, from: &Path, sha256: String) -> anyhow::Result<()> {
        match self {
            Hold::Running(line) => {
                match line.ask(&Ask::AcceptContent { path: path.into(), from: from.into(), sha256 })? {
                    Answer::Done => Ok(()),
                    other => bail!("{}", refusal(other)),
                }
            }
            Hold::Own(own) => {
                own.watch.accept_content(path, &copy::read_shown(from, &sha256)?, &mut own.teller)?;
                let path = mantlet_ledger::escape(path.as_os_str().as_encoded_bytes());
                own.teller.own(Change { path, ..run::own("written", "accepted", "by its owner, while no watch ran") });
                Ok(())
            }
            Hold::Nothing => bail!("there is no baseline yet"),
        }
    }

    /// Whether these places are as the baseline says, where they are watched.
    ///
    /// The attack: what was tampered with while no watch ran is taken along with the owner's own change.
    pub(crate) fn must_be_whole(&mut self, paths: &[PathBuf]) -> anyhow::Result<()> {
        let diffs = self.differences(&[])?;
        if let Some(diff) = diffs.iter().find(|diff| paths.iter().any(|path| real(path) == diff.path)) {
            let path = mantlet_ledger::escape(diff.path.as_os_str().as_encoded_bytes());
            bail!(
                "{path} differs from the baseline already\nhint: mantlet watch diff {path}, and then accept it, or let `mantlet watch run` undo it"
            );
        }
        Ok(())
    }

    /// Takes what was changed in these files, where they are watched, with the directories that came or went with them. What
    /// else has changed is not taken along.
    pub(crate) fn settle(&mut self, paths: &[PathBuf]) -> anyhow::Result<()> {
        let found = self.differences(&[])?;
        let diffs: Vec<PathBuf> = found.iter().map(|diff| diff.path.clone()).collect();
        let paths: Vec<PathBuf> = paths.iter().map(|path| real(path)).collect();
        let is_ours = |diff: &PathBuf| paths.iter().any(|path| path.starts_with(diff));
        let mut tops: Vec<PathBuf> = Vec::new();
        for diff in diffs.iter().filter(|diff| is_ours(diff)) {
            if !tops.iter().any(|top| diff.starts_with(top)) {
                tops.push(diff.clone());
            }
        }
        let is_below = |diff: &PathBuf| tops.iter().any(|top| diff.starts_with(top));
        if let Some(other) = diffs.iter().find(|diff| is_below(diff) && !is_ours(diff)) {
            bail!("the watch does not take this: {other:?} has changed as well\nhint: mantlet watch diff");
        }
        if !tops.is_empty() {
            let below: Vec<Shown> = found.iter().filter(|diff| is_below(&diff.path)).cloned().collect();
            self.accept(&tops, &below).context("the watch does not take this")?;
        }
        Ok(())
    }
}

/// A path by the real names of the directories on its way; it may be gone itself.
fn real(path: &Path) -> PathBuf {
    if let Ok(real) = path.canonicalize() {
        return real;
    }
    let above = path.parent().zip(path.file_name());
    above.map_or_else(|| path.to_owned(), |(parent, name)| real(parent).join(name))
}

fn shown(answer: Answer) -> anyhow::Result<Vec<Shown>> {
    match answer {
        Answer::Differences { diffs } => Ok(diffs),
        other => bail!("{}", refusal(other)),
    }
}

fn refusal(answer: Answer) -> String {
    match answer {
        Answer::Refused { why } => why,
        _ => "it answered something else".into(),
    }
}

/// How long a watch has to say how it is.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a running watch holds; none where none runs.
pub(super) fn status(source: &Source) -> anyhow::Result<Option<serde_json::Value>> {
    let state = source.state()?;
    let Some(mut line) = line::connect(&state)? else {
        // The attack: the socket is taken away, so that a watch seems to be none.
        if line::is_locked(&state) {
            bail!("a watch is at work, and cannot be reached: its socket is gone\nhint: start it again");
        }
        return Ok(None);
    };
    line.wait_at_most(PATIENCE)?;
    match line.ask(&Ask::Status).context("somebody holds the watch, or it is busy: meanwhile nothing is undone")? {
        Answer::Status(status) => Ok(Some(*status)),
        other => bail!("{}", refusal(other)),
    }
}

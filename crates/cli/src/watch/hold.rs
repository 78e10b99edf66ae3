//! The watch held by its owner: what Mantlet itself changes, or a command that the owner runs, is taken and not undone.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use mantlet_watch::Watch;

use super::Source;
use super::line::{self, Answer, Ask, Line, Shown};

/// A watch that stays away until this is dropped.
pub(crate) enum Hold {
    /// One that runs.
    Running(Line),
    /// None runs, and there is a baseline: the next one would undo.
    Own(Box<Watch>),
    /// Nothing is watched.
    Nothing,
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
        Ok(Hold::Own(Box::new(source.watch(source.options()?)?)))
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
            Hold::Own(watch) => {
                let paths = if paths.is_empty() { watch.places() } else { paths.to_vec() };
                Ok(watch.differences(&paths)?.into_iter().map(Into::into).collect())
            }
            Hold::Nothing => Ok(Vec::new()),
        }
    }

    /// Takes places as they stand, when that is what these differences show.
    pub(crate) fn accept(&mut self, paths: &[PathBuf], diffs: &[Shown]) -> anyhow::Result<Vec<Shown>> {
        let seen = diffs.iter().map(|diff| (diff.path.clone(), diff.now.clone())).collect();
        match self {
            Hold::Running(line) => shown(line.ask(&Ask::Accept { paths: paths.to_vec(), shown: seen })?),
            Hold::Own(watch) => Ok(watch.accept(paths, &seen)?.into_iter().map(Into::into).collect()),
            Hold::Nothing => Ok(Vec::new()),
        }
    }

    /// Makes what another file holds the content of a place, when it has this hash.
    pub(crate) fn accept_content(&mut self, path: &Path, from: &Path, sha256: String) -> anyhow::Result<()> {
        let ask = Ask::AcceptContent { path: path.into(), from: from.into(), sha256 };
        match self {
            Hold::Running(line) => match line.ask(&ask)? {
                Answer::Done => Ok(()),
                other => bail!("{}", refusal(other)),
            },
            _ => bail!("no watch runs\nhint: change the file, and then: mantlet watch accept"),
        }
    }

    /// Takes what was changed in these places, where they are watched: what is not is nobody's to accept.
    pub(crate) fn settle(&mut self, paths: &[PathBuf]) -> anyhow::Result<()> {
        for path in paths {
            let path = std::slice::from_ref(path);
            match self.differences(path).and_then(|diffs| self.accept(path, &diffs)) {
                Ok(_) => {}
                Err(error) if error.to_string().contains("is no protected place") => {}
                Err(error) => return Err(error).with_context(|| format!("the watch does not take {path:?}")),
            }
        }
        Ok(())
    }
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

/// What a running watch holds; none where none runs.
pub(super) fn status(source: &Source) -> anyhow::Result<Option<serde_json::Value>> {
    let Some(mut line) = line::connect(&source.state()?)? else { return Ok(None) };
    match line.ask(&Ask::Status)? {
        Answer::Status(status) => Ok(Some(*status)),
        other => bail!("{}", refusal(other)),
    }
}

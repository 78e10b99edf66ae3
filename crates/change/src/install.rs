//! A plan carried out, taken back, and repaired when it was cut off.
//!
//! Order is the safety: the record is on the disk before the first file changes, and goes after the last one is back.
//! Every step asks what a file says now, so that each can be repeated.

use std::path::{Path, PathBuf};

use crate::journal::{Phase, Record, Step, says};
use crate::lent::{Lent, edit_rows, take_rows_back};
use crate::op::{self, Format};
use crate::place::{Old, make_dir, mode_of, read, remove_dir, replace, resolve, sweep};
use crate::plan::{Content, FilePlan, shown};
use crate::said::Said;
use crate::{ChangeError, Journal, Level, Plan};

/// A plan against the files as they are.
#[derive(Debug)]
pub struct Prepared {
    record: Record,
    previous: Option<Record>,
    missing: Vec<PathBuf>,
    listing: Vec<Listed>,
}

/// One file that changes, as it may be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The file's name.
    pub path: PathBuf,
    /// Where the name leads, if it is a link: the link stays, its target is changed.
    pub target: Option<PathBuf>,
    /// The attacks that the changes stop.
    pub stops: Vec<String>,
    /// The unified diff, secrets masked; empty when nothing changes.
    pub diff: String,
}

impl Prepared {
    /// Returns every file of the plan.
    pub fn files(&self) -> &[Listed] {
        &self.listing
    }

    /// Whether all files say already what they should.
    pub fn is_nothing(&self) -> bool {
        self.record.steps.iter().all(|step| step.start == step.after)
    }

    /// Returns what a file is going to say.
    pub fn text_of(&self, path: &Path) -> Option<&str> {
        let at = self.listing.iter().position(|listed| listed.path == path)?;
        self.record.steps.get(at)?.after.as_ref()?.text()
    }
}

/// What is left of a file that cannot be put back, and why; shown to the owner.
pub type Notes = Vec<String>;

impl Journal {
    fn lent(&self) -> Option<&dyn Lent> {
        self.lent.as_deref()
    }

    /// Files whose record is sealed are about secrets.
    fn old(&self) -> Old {
        if self.lent.is_some() { Old::Wiped } else { Old::Left }
    }

    /// Compares a plan with the files as they are; writes nothing.
    ///
    /// # Errors
    /// A file cannot be read, edited, or safely written.
    pub fn prepare(&self, plan: &Plan) -> Result<Prepared, ChangeError> {
        let previous = self.record(&plan.client, plan.level)?;
        let (mut steps, mut listing, mut missing) = (Vec::new(), Vec::new(), Vec::new());
        for file in &plan.files {
            let path = resolve(&file.path)?;
            let old = previous.as_ref().and_then(|record| record.steps.iter().find(|step| step.path == path));
            let step = step(self.lent(), file, path, plan.level, old)?;
            for above in step.path.ancestors().skip(1).take_while(|above| !above.exists()) {
                if !missing.contains(&above.to_path_buf()) {
                    missing.push(above.to_path_buf());
                }
            }
            listing.push(listed(file, &step));
            steps.push(step);
        }
        // What an earlier version of Mantlet changed, and this one does not.
        for old in previous.iter().flat_map(|record| &record.steps) {
            if plan.keep.contains(&old.path) {
                steps.push(Step { start: old.after.clone(), ..old.clone() });
            } else if !steps.iter().any(|step| step.path == old.path) {
                let start = read(&old.path)?;
                let after = without_us(self.lent(), old, start.as_deref())?.map(Said::of);
                steps.push(Step { start: start.map(Said::of), after, undos: Vec::new(), ..old.clone() });
            }
        }
        missing.sort();
        let mut dirs = previous.as_ref().map(|record| record.dirs.clone()).unwrap_or_default();
        dirs.extend(missing.iter().cloned());
        dirs.sort();
        dirs.dedup();
        let record = Record::new(&plan.client, plan.level, steps, dirs);
        Ok(Prepared { record, previous, missing, listing })
    }

    /// Writes the record, then the files. What fails half way is taken back at once.
    ///
    /// The install stands only after [`Journal::confirm`]: until then the next run takes it back.
    ///
    /// # Errors
    /// A file could not be written; everything is as it was, or the next run makes it so.
    pub fn apply(&self, prepared: Prepared) -> Result<Record, ChangeError> {
        let Prepared { mut record, previous, missing, .. } = prepared;
        record.previous = previous.map(Box::new);
        self.store(&record)?;
        match write_all(&record, &missing, self.old()) {
            Ok(()) => Ok(record),
            Err(error) => {
                self.roll_back(record)?;
                Err(error)
            }
        }
    }

    /// Puts everything back as it was before this install: nothing, or the install before it.
    ///
    /// # Errors
    /// A file could not be put back; the record stays, and the next run tries again.
    pub fn roll_back(&self, mut record: Record) -> Result<Notes, ChangeError> {
        let Some(previous) = record.previous.take() else { return self.take_back(record) };
        self.unseal(&record.client, record.level)?;
        let mut notes = Vec::new();
        for step in record.steps.iter().rev().filter(|step| step.start != step.after) {
            let now = read(&step.path)?;
            let is_started = says(now.as_deref(), step.start.as_ref());
            if says(now.as_deref(), step.after.as_ref()) && !is_started {
                replace(&step.path, now.as_deref(), step.start(), step.mode, self.old())?;
            } else if !is_started {
                notes.push(format!("{} was changed by somebody else meanwhile and stays", name(&step.path)));
            }
            sweep(&step.path, self.old())?;
        }
        for dir in record.dirs.iter().rev().filter(|dir| !previous.dirs.contains(dir)) {
            remove_dir(dir)?;
        }
        // Its seal is written anew with it.
        let seen = previous.seen.clone();
        self.confirm(*previous, seen)?;
        Ok(notes)
    }

    /// Takes back what is installed for a client; `None` when nothing is.
    ///
    /// # Errors
    /// As [`Journal::roll_back`].
    pub fn uninstall(&self, client: &str, level: Level) -> Result<Option<Notes>, ChangeError> {
        match self.record(client, level)? {
            Some(record) => self.take_back(record).map(Some),
            None => Ok(None),
        }
    }

    /// Whether an earlier run was cut off, so that [`Journal::recover`] would write.
    ///
    /// # Errors
    /// A record cannot be read.
    pub fn is_cut_off(&self) -> Result<bool, ChangeError> {
        Ok(self.records()?.iter().any(|record| record.phase != Phase::Installed))
    }

    /// Finishes what an earlier run was cut off from; says what was done.
    ///
    /// # Errors
    /// As [`Journal::roll_back`].
    pub fn recover(&self) -> Result<Notes, ChangeError> {
        let mut notes = Vec::new();
        for record in self.records()? {
            let what = format!("of {} ({})", record.client, record.level.name());
            match record.phase {
                Phase::Installed => {}
                Phase::Applying => {
                    notes.push(format!("an install {what} was cut off; it has been taken back"));
                    notes.extend(self.roll_back(record)?);
                }
                Phase::Removing => {
                    notes.push(format!("an uninstall {what} was cut off; it has been finished"));
                    notes.extend(self.take_back(record)?);
                }
            }
        }
        Ok(notes)
    }

    fn take_back(&self, mut record: Record) -> Result<Notes, ChangeError> {
        record.phase = Phase::Removing;
        record.previous = None;
        self.store(&record)?;
        self.unseal(&record.client, record.level)?;
        let mut notes = Vec::new();
        for step in record.steps.iter().rev() {
            let now = read(&step.path)?;
            let back = without_us(self.lent(), step, now.as_deref())?;
            let is_ours = step.format.is_none() && step.rows.is_empty();
            if is_ours && now.is_some() && back == now && !says(now.as_deref(), step.base.as_ref()) {
                notes.push(format!("{} was changed since and stays", name(&step.path)));
            }
            if back != now {
                replace(&step.path, now.as_deref(), back.as_deref(), step.mode, self.old())?;
            }
            sweep(&step.path, self.old())?;
        }
        for dir in record.dirs.iter().rev() {
            remove_dir(dir)?;
        }
        self.forget(&record)?;
        Ok(notes)
    }
}

fn name(path: &Path) -> String {
    mantlet_ledger::escape(path.as_os_str().as_encoded_bytes())
}

fn step(
    lent: Option<&dyn Lent>,
    file: &FilePlan,
    path: PathBuf,
    level: Level,
    old: Option<&Step>,
) -> Result<Step, ChangeError> {
    let start = read(&path)?;
    let base = match old {
        Some(old) => without_us(lent, old, start.as_deref())?,
        None => start.clone(),
    };
    let is_program = matches!(file.content, Content::Whole { is_program: true, .. });
    let mode = match (level, is_program) {
        (Level::Managed, true) => 0o755,
        (Level::Managed, false) => 0o644,
        (Level::User, true) => 0o700,
        (Level::User, false) => 0o600,
    };
    let mut step = Step { path, base: None, start: None, after: None, mode, format: None, undos: vec![], rows: vec![] };
    let edit = |source| ChangeError::Edit { path: step.path.clone(), source };
    match &file.content {
        Content::Edited(Format::Plain) => {
            let (after, undos) = op::replace(base.as_deref().unwrap_or_default(), &file.ops()).map_err(edit)?;
            (step.format, step.after, step.undos) = (Some(Format::Plain), Some(Said::of(after)), undos);
        }
        Content::Edited(format) => {
            let text = read_as_text(&step.path, base.as_deref())?;
            let (after, undos) = op::apply(text, *format, &file.ops()).map_err(edit)?;
            (step.format, step.after, step.undos) = (Some(*format), Some(Said::Text(after)), undos);
        }
        Content::Whole { text, .. } => {
            // A file of that name that we did not write is somebody's.
            if old.is_none() && start.as_deref().is_some_and(|there| there != text.as_bytes()) {
                return Err(ChangeError::Exists(step.path));
            }
            step.after = Some(Said::Text(text.clone()));
        }
        Content::Rows(rows) => {
            let (after, edits) = edit_rows(lent, &step.path, base.as_deref().unwrap_or_default(), rows)?;
            (step.after, step.rows) = (Some(Said::of(after)), edits);
        }
        // It comes back as it was.
        Content::Gone => step.mode = mode_of(&step.path)?.unwrap_or(mode),
    }
    // One edited file must not lose its order for an unchanged meaning.
    if step.undos.is_empty() && step.format.is_some() {
        step.after = base.clone().map(Said::of).or(step.after);
    }
    (step.base, step.start) = (base.map(Said::of), start.map(Said::of));
    if step.start == step.base {
        // Of a database, once is enough.
        step.start = step.start.map(|start| start.shortened());
    }
    Ok(step)
}

fn read_as_text<'b>(path: &Path, bytes: Option<&'b [u8]>) -> Result<&'b str, ChangeError> {
    std::str::from_utf8(bytes.unwrap_or_default()).map_err(|_| ChangeError::NotText(path.into()))
}

/// What a file says when ours is taken out of what it says now.
fn without_us(lent: Option<&dyn Lent>, step: &Step, now: Option<&[u8]>) -> Result<Option<Vec<u8>>, ChangeError> {
    let base = || step.base.as_ref().and_then(Said::bytes).map(<[u8]>::to_vec);
    if says(now, step.after.as_ref()) || says(now, step.base.as_ref()) {
        return Ok(base());
    }
    let Some(now) = now else { return Ok(None) };
    if !step.rows.is_empty() {
        return take_rows_back(lent, &step.path, now, &step.rows).map(Some);
    }
    let Some(format) = step.format else { return Ok(Some(now.to_vec())) };
    if format == Format::Plain {
        return Ok(Some(op::put_back(now, &step.undos)));
    }
    let edit = |source| ChangeError::Edit { path: step.path.clone(), source };
    let left = op::take_back(read_as_text(&step.path, Some(now))?, format, &step.undos).map_err(edit)?;
    // The file was ours, and nobody put anything else into it.
    let is_bare = matches!(left.trim(), "" | "{}");
    Ok((!(is_bare && step.base.is_none())).then(|| left.into_bytes()))
}

fn listed(file: &FilePlan, step: &Step) -> Listed {
    let text = |said: &Option<Said>| said.as_ref().map_or(Some(""), Said::text).map(str::to_owned);
    // Of what is no text there is nothing to show but that it changes.
    let diff = match (text(&step.start), text(&step.after)) {
        (Some(start), Some(after)) => shown(&mantlet_policy::unified(&start, &after, &file.path)),
        _ => String::new(),
    };
    let target = (step.path != file.path).then(|| step.path.clone());
    let mut stops: Vec<String> = file.changes.iter().map(|change| change.stops.clone()).collect();
    stops.dedup();
    Listed { path: file.path.clone(), target, stops, diff }
}

fn write_all(record: &Record, missing: &[PathBuf], old: Old) -> Result<(), ChangeError> {
    let dir_mode = match record.level {
        Level::Managed => 0o755,
        Level::User => 0o700,
    };
    for dir in missing {
        make_dir(dir, dir_mode)?;
    }
    for step in record.steps.iter().filter(|step| step.start != step.after) {
        let after = step.after.as_ref().and_then(Said::bytes);
        replace(&step.path, step.start(), after, step.mode, old)?;
    }
    Ok(())
}

//! What lets agents go on: the owner's word outside of any jail, in the ledger before it counts.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use rustix::fs::FlockOperation;
use serde::Serialize;

use super::{Halted, NAME, Place, escaped, look, mark, record, refuse_in_jail, usual_places};
use crate::plan::Refusal;

/// What a resume came to.
#[derive(Debug, Serialize)]
#[must_use]
pub struct Resumed {
    /// What had stopped everything; nothing when nothing had.
    pub was: Option<Halted>,
}

/// Lets the calling user's jails start again.
///
/// # Errors
/// It is asked for inside a jail, or for another user's state; a halt is under way; or the ledger cannot be written: nothing
/// goes on that could not be told of.
pub fn resume() -> Result<Resumed, Refusal> {
    refuse_in_jail("lets agents go on")?;
    let mut was = None;
    for named in usual_places()?.iter().filter(|named| look(named).is_some()) {
        let place = Place::open(named)?;
        if !place.lock(FlockOperation::NonBlockingLockExclusive, Duration::from_secs(2)) {
            return Err(Refusal::new("a halt is under way").hint("wait for its end, or end it, and try again"));
        }
        // Read again: the one who held the lock may have been a resume.
        let Some(halted) = look(&place.top) else { continue };
        let entry = mantlet_ledger::Halt {
            action: "resume".into(),
            by: "owner".into(),
            reason: halted.reason.clone(),
            ended: 0,
            left: 0,
        };
        record(&place.top, entry).map_err(|why| {
            Refusal::new(format!("the ledger cannot be written, so that everything stays halted: {why}"))
                .hint("free some disk space, or look at what is named")
        })?;
        remove(&place.top)?;
        was = was.or(Some(halted));
    }
    Ok(Resumed { was })
}

/// Removes the file, and what killed halts have left of theirs.
fn remove(top: &Path) -> Result<(), Refusal> {
    let path = top.join(NAME);
    let removed = match fs::symlink_metadata(&path) {
        Ok(meta) if meta.is_dir() => fs::remove_dir(&path),
        Ok(_) => fs::remove_file(&path),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(e),
    };
    removed.and_then(|()| mark::sync(top)).map_err(|e| {
        Refusal::new(format!("{} cannot be removed, so that everything stays halted: {e}", escaped(&path)))
            .hint("look at what it is, and move it away")
    })?;
    for left in fs::read_dir(top).into_iter().flatten().flatten() {
        if left.file_name().as_encoded_bytes().starts_with(mark::HALF.as_bytes()) {
            // It halts nothing.
            fs::remove_file(left.path()).ok();
        }
    }
    Ok(())
}

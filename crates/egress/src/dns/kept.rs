//! A file of the host's configuration, kept as long as it is the same.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use crate::dns::resolver::ResolveError;

/// A file that was changed so shortly ago may change again without showing it: clocks of file systems tick.
const RECENT: Duration = Duration::from_secs(2);

/// What tells one state of a file from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    place: (u64, u64),
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn of(data: &Metadata) -> Self {
        Stamp {
            place: (data.dev(), data.ino()),
            size: data.size(),
            modified: (data.mtime(), data.mtime_nsec()),
            changed: (data.ctime(), data.ctime_nsec()),
        }
    }
}

/// The file. One that is not there is empty.
#[derive(Debug)]
pub(crate) struct Kept {
    path: PathBuf,
    last: Mutex<Option<(Stamp, Arc<str>)>>,
}

impl Kept {
    pub(crate) fn new(path: PathBuf) -> Self {
        Kept { path, last: Mutex::default() }
    }

    /// The text as it is now.
    ///
    /// # Errors
    /// The file is there and cannot be read.
    pub(crate) fn text(&self) -> Result<Arc<str>, ResolveError> {
        self.read().or_else(|source| match source.kind() {
            io::ErrorKind::NotFound => Ok("".into()),
            _ => Err(ResolveError::Configuration { path: self.path.clone(), source }),
        })
    }

    fn read(&self) -> io::Result<Arc<str>> {
        let data = std::fs::metadata(&self.path)?;
        let stamp = Stamp::of(&data);
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, text)) = &*last
            && *known == stamp
        {
            return Ok(Arc::clone(text));
        }
        // Read after the stamp was taken: what changes in between shows at the next look.
        let text: Arc<str> = String::from_utf8_lossy(&std::fs::read(&self.path)?).into();
        let is_settled = |time: SystemTime| SystemTime::now().duration_since(time).is_ok_and(|age| age > RECENT);
        *last = data.modified().is_ok_and(is_settled).then(|| (stamp, Arc::clone(&text)));
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_shows_at_once() {
        let path = std::env::temp_dir().join(format!("mantlet-kept-{}", std::process::id()));
        let kept = Kept::new(path.clone());
        assert_eq!(&*kept.text().unwrap(), "", "no such file");
        let old = SystemTime::now() - Duration::from_secs(60);
        for text in ["one", "two", "longer"] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(&*kept.text().unwrap(), text);
            // Kept only when it is old enough to show the next change.
            assert!(kept.last.lock().unwrap().is_none());
            std::fs::File::options().write(true).open(&path).unwrap().set_modified(old).unwrap();
            assert_eq!(&*kept.text().unwrap(), text);
            assert!(kept.last.lock().unwrap().is_some());
            assert_eq!(&*kept.text().unwrap(), text);
        }
        std::fs::remove_file(&path).unwrap();
        assert_eq!(&*kept.text().unwrap(), "", "gone again");
    }
}

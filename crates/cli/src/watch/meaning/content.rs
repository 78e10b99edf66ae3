//! Which places have a meaning, and who judges it: settings by their keys, databases by their rows.

use std::ffi::OsString;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use mantlet_clients::watched::{Base, Compared, Watched, of_client, of_workspace};
use mantlet_watch::{Content, ContentError, Difference, Restored};

use super::{included, rows, settings};

/// More than any client's settings; a file that is larger is none of them.
const LARGEST: u64 = 16 << 20;

/// Judges the settings and databases of one owner's clients.
pub(crate) struct Meaning {
    /// Each row below the directory that it is relative to, with what moves that taken into account.
    places: Vec<(PathBuf, Watched)>,
    /// Where OpenClaw's configuration is, if a variable moves it alone.
    moved: Option<(PathBuf, Compared)>,
}

impl Meaning {
    /// For the clients of a home, as these variables move their state, and for workspaces of theirs.
    pub(crate) fn new(
        home: &Path,
        variable: &dyn Fn(&str) -> Option<OsString>,
        workspaces: &[(&str, PathBuf)],
    ) -> Meaning {
        let clients = mantlet_clients::STATE_DIRS.iter().flat_map(|state| of_client(state.client));
        let of_home = clients.filter(|row| row.base == Base::Home).map(|row| {
            let moved =
                row.moved.and_then(|(name, below)| variable(name).map(|value| PathBuf::from(value).join(below)));
            (moved.unwrap_or_else(|| home.join(row.dir)), row)
        });
        let ids = mantlet_clients::STATE_DIRS.iter().map(|state| state.client);
        let known = |client: &str| ids.clone().find(|id| *id == client);
        let of_work = workspaces.iter().filter_map(|(client, at)| known(client).map(|client| (client, at)));
        let of_work =
            of_work.flat_map(|(client, at)| of_workspace(client).into_iter().map(move |row| (at.join(row.dir), row)));
        let places = of_home.chain(of_work).filter(|(_, row)| row.compared != Compared::Whole);
        let places: Vec<_> = places.collect();
        let config = places.iter().find(|(_, row)| row.client == "openclaw" && row.name == "openclaw.json");
        let moved = variable("OPENCLAW_CONFIG_PATH").map(PathBuf::from).zip(config.map(|(_, row)| row.compared));
        Meaning { places, moved }
    }

    fn compared(&self, path: &Path) -> Option<Compared> {
        let is_here = |(below, row): &&(PathBuf, Watched)| {
            let name = path.strip_prefix(below).ok().and_then(Path::to_str);
            name.is_some_and(|name| row.matches_name(name))
        };
        let moved = self.moved.as_ref().filter(|(moved, _)| moved == path).map(|(_, compared)| *compared);
        moved.or_else(|| self.places.iter().find(is_here).map(|(_, row)| row.compared))
    }

    /// Returns the files that a settings file takes in. They are to be watched whole.
    ///
    /// # Errors
    /// When one of them cannot be read: what it takes in is then unknown.
    pub(crate) fn included(&self, path: &Path) -> Result<Vec<PathBuf>, ContentError> {
        match self.compared(path) {
            Some(Compared::ByKey(keys)) if !keys.includes.is_empty() => included::included(keys, path),
            _ => Ok(Vec::new()),
        }
    }
}

impl Content for Meaning {
    fn knows(&self, path: &Path) -> bool {
        self.compared(path).is_some()
    }

    fn beside(&self, path: &Path) -> Vec<PathBuf> {
        let Some(Compared::Rows(database)) = self.compared(path) else { return Vec::new() };
        let with = |ending: &&str| {
            let mut name = path.as_os_str().to_owned();
            name.push(ending);
            PathBuf::from(name)
        };
        database.beside.iter().map(with).collect()
    }

    fn may_be_replaced(&self, path: &Path) -> bool {
        !matches!(self.compared(path), Some(Compared::Rows(_)))
    }

    fn snapshot(&self, path: &Path, file: &File) -> Result<Option<Vec<u8>>, ContentError> {
        match self.compared(path) {
            Some(Compared::ByKey(keys)) => settings::snapshot(keys, &read(file)?),
            Some(Compared::Rows(database)) => rows::snapshot(database, path, file).map(Some),
            Some(Compared::Whole) | None => Err(unknown()),
        }
    }

    fn compare(&self, path: &Path, baseline: &[u8], found: &[u8]) -> Difference {
        match self.compared(path) {
            Some(Compared::ByKey(keys)) => settings::compare(keys, baseline, found),
            Some(Compared::Rows(database)) => rows::compare(database, baseline, found),
            Some(Compared::Whole) | None if baseline == found => Difference::Same,
            Some(Compared::Whole) | None => Difference::Tampered { keys: Vec::new() },
        }
    }

    fn restore(&self, path: &Path, baseline: &[u8], found: &File) -> Result<Restored, ContentError> {
        match self.compared(path) {
            Some(Compared::ByKey(keys)) => settings::restore(keys, baseline, &read(found)?).map(Restored::Content),
            Some(Compared::Rows(database)) => {
                rows::restore(database, path, baseline, found)?;
                Ok(Restored::InPlace)
            }
            Some(Compared::Whole) | None => Err(unknown()),
        }
    }
}

fn unknown() -> ContentError {
    ContentError::new("nobody knows what this file means")
}

/// Reads a file from its beginning, wherever its descriptor stands. It may be replaced meanwhile, but not under us.
pub(super) fn read(file: &File) -> Result<Vec<u8>, ContentError> {
    struct From0<'f>(&'f File, u64);
    impl std::io::Read for From0<'_> {
        fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
            let count = self.0.read_at(into, self.1)?;
            self.1 += count as u64;
            Ok(count)
        }
    }
    let mut bytes = Vec::new();
    let read = From0(file, 0).take(LARGEST + 1).read_to_end(&mut bytes);
    read.map_err(|error| ContentError::new(format!("it cannot be read: {error}")))?;
    if bytes.len() as u64 > LARGEST {
        return Err(ContentError::new("it is larger than any settings are"));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_moves_a_client_moves_what_is_judged() {
        let none = |_: &str| None;
        let here = Meaning::new(Path::new("/h"), &none, &[("claude", "/w".into())]);
        for path in [
            "/h/.openclaw/openclaw.json",
            "/h/.openclaw/state/openclaw.sqlite",
            "/h/.claude.json",
            "/h/.claude/settings.json",
            "/h/.codex/config.toml",
            "/w/.claude/settings.json",
        ] {
            assert!(here.knows(Path::new(path)), "{path}");
        }
        for path in
            ["/h/.bashrc", "/h/openclaw.json", "/h/.openclaw/state/openclaw.sqlite-wal", "/w/.openclaw/openclaw.json"]
        {
            assert!(!here.knows(Path::new(path)), "{path}");
        }
        let moved = |name: &str| (name == "OPENCLAW_STATE_DIR").then(|| OsString::from("/srv/oc"));
        let moved = Meaning::new(Path::new("/h"), &moved, &[]);
        let config = |name: &str| (name == "OPENCLAW_CONFIG_PATH").then(|| OsString::from("/srv/my.json5"));
        assert!(Meaning::new(Path::new("/h"), &config, &[]).knows(Path::new("/srv/my.json5")));
        assert!(
            moved.knows(Path::new("/srv/oc/openclaw.json")) && !moved.knows(Path::new("/h/.openclaw/openclaw.json"))
        );
    }

    #[test]
    fn a_database_changes_in_its_log_and_is_not_replaced() {
        let meaning = Meaning::new(Path::new("/h"), &|_| None, &[]);
        let (database, config) =
            (Path::new("/h/.openclaw/state/openclaw.sqlite"), Path::new("/h/.openclaw/openclaw.json"));
        assert_eq!(meaning.beside(database), [PathBuf::from("/h/.openclaw/state/openclaw.sqlite-wal")]);
        assert!(meaning.beside(config).is_empty());
        assert!(!meaning.may_be_replaced(database) && meaning.may_be_replaced(config));
    }

    #[test]
    fn what_nobody_knows_is_the_same_only_to_the_byte() {
        let meaning = Meaning::new(Path::new("/h"), &|_| None, &[]);
        let place = Path::new("/h/other");
        assert_eq!(meaning.compare(place, b"a", b"a"), Difference::Same);
        assert_ne!(meaning.compare(place, b"a", b"b"), Difference::Same);
        let file = File::open("/dev/null").unwrap();
        assert!(meaning.snapshot(place, &file).is_err() && meaning.restore(place, b"", &file).is_err());
    }
}

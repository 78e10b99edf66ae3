//! What is to be protected, and the way there: every symlink on it is a place too. Reads links, changes nothing.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};

/// A place to protect. One where nothing is yet is a place as well: appearing is then the change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Where it is: absolute, without `.` and `..`.
    pub path: PathBuf,
    /// What it is.
    pub kind: PlaceKind,
    /// How its content is compared.
    pub content: Compare,
}

/// What a place is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlaceKind {
    /// One name, and what it leads to.
    File,
    /// A directory: its listing and everything below.
    Directory,
}

/// How content is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compare {
    /// Every byte.
    Whole,
    /// By [`crate::Content`], where it knows the path; else every byte.
    Judged,
}

/// Why a place cannot be protected.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlaceError {
    /// It would mean different things at different times.
    #[error("the place {path:?} is not an absolute path without `.` and `..`")]
    NotAbsolute {
        /// The place.
        path: PathBuf,
    },
    /// What the watch writes there would be tampering.
    #[error("the place {path:?} covers the watch's own state\nhint: protect its parts, or put the state elsewhere")]
    State {
        /// The place.
        path: PathBuf,
    },
    /// Links lead to links without an end.
    #[error("the place {path:?} goes through more than 40 symlinks")]
    Loop {
        /// The place.
        path: PathBuf,
    },
    /// The way cannot be looked at.
    #[error("cannot follow the place {path:?}: {source}")]
    Follow {
        /// Where it ended.
        path: PathBuf,
        /// The kernel's answer.
        source: std::io::Error,
    },
}

/// What stands at one step of a way.
pub(crate) enum Step {
    /// A directory, a file, or nothing: the path goes on as it is written.
    Plain,
    /// A symlink to there.
    Link(PathBuf),
}

/// Where a place leads.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Route {
    /// The symlinks on the way, each a place of its own: whoever swaps one decides what the owner's programs read.
    pub(crate) links: Vec<PathBuf>,
    /// What they lead to, free of symlinks.
    pub(crate) real: PathBuf,
}

/// Follows a place. `known` answers for what the baseline has seen: what stands there today may be the attacker's.
pub(crate) fn follow(place: &Path, known: impl Fn(&Path) -> Option<Step>) -> Result<Route, PlaceError> {
    const LINKS_MAX: usize = 40;
    if !is_plain(place) {
        return Err(PlaceError::NotAbsolute { path: place.to_owned() });
    }
    let mut links: Vec<PathBuf> = Vec::new();
    let mut real = PathBuf::from("/");
    let mut rest: VecDeque<OsString> = names(place);
    let mut followed = 0;
    while let Some(name) = rest.pop_front() {
        if name == ".." {
            real.pop();
            continue;
        }
        real.push(name);
        let step = match known(&real) {
            Some(step) => step,
            None => look(&real)?,
        };
        if let Step::Link(target) = step {
            followed += 1;
            if followed > LINKS_MAX {
                return Err(PlaceError::Loop { path: place.to_owned() });
            }
            if !links.contains(&real) {
                links.push(real.clone());
            }
            if target.is_absolute() {
                real = PathBuf::from("/");
            } else {
                real.pop();
            }
            let mut ahead = names(&target);
            ahead.append(&mut rest);
            rest = ahead;
        }
    }
    Ok(Route { links, real })
}

fn look(path: &Path) -> Result<Step, PlaceError> {
    let failed = |source| PlaceError::Follow { path: path.to_owned(), source };
    match std::fs::symlink_metadata(path) {
        Ok(meta) if meta.is_symlink() => std::fs::read_link(path).map(Step::Link).map_err(failed),
        Ok(_) => Ok(Step::Plain),
        Err(e) if matches!(e.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) => {
            Ok(Step::Plain)
        }
        Err(source) => Err(failed(source)),
    }
}

fn is_plain(path: &Path) -> bool {
    let mut parts = path.components();
    parts.next() == Some(Component::RootDir) && parts.all(|p| matches!(p, Component::Normal(_)))
}

/// The names of a path, with `..` as one of them.
fn names(path: &Path) -> VecDeque<OsString> {
    let names = path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        _ => None,
    });
    names.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_link_on_the_way_is_a_place() {
        let links = [("/home", "data/home"), ("/data/home/u/.rc", "../dot/rc")];
        let known = |path: &Path| {
            let link = links.iter().find(|(at, _)| Path::new(at) == path);
            Some(link.map_or(Step::Plain, |(_, to)| Step::Link(to.into())))
        };
        let route = follow(Path::new("/home/u/.rc"), known);
        let links = vec!["/home".into(), "/data/home/u/.rc".into()];
        assert_eq!(route.ok(), Some(Route { links, real: "/data/home/dot/rc".into() }));
    }

    #[test]
    fn what_means_different_things_at_different_times_is_no_place() {
        for path in ["a", "/a/../b", ""] {
            assert!(matches!(follow(Path::new(path), |_| None), Err(PlaceError::NotAbsolute { .. })), "{path:?}");
        }
        let circle = |_: &Path| Some(Step::Link("/x".into()));
        assert!(matches!(follow(Path::new("/x"), circle), Err(PlaceError::Loop { .. })));
    }
}

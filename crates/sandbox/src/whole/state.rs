//! A client's own state: made where it is missing, and shown so that no session can write what the next one obeys.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use mantlet_clients::{Shown, StatePlace};

use super::{Asked, Prepared};
use crate::ids::Mapping;
use crate::plan::{Place, Refusal};
use crate::tree::Tree;

/// A file that is copied into the private home: settings, not data.
const MOST_COPIED: u64 = 16 << 20;

/// Shows the state of a client.
pub(super) fn add(preset: &mantlet_clients::Whole, asked: &Asked<'_>, out: &mut Prepared) -> Result<(), Refusal> {
    for place in preset.state {
        add_place(place, asked, out)?;
    }
    // Where the state was moved these files are in it.
    let is_moved = preset.state.iter().any(|place| moved(place).is_some());
    for name in preset.copied.iter().filter(|_| !is_moved) {
        let path = asked.owner.home.join(name);
        match fs::metadata(&path) {
            Ok(meta) if meta.is_file() && meta.len() <= MOST_COPIED => {
                let content = fs::read(&path).map_err(|e| Refusal::new(format!("cannot read {path:?}: {e}")))?;
                out.copies.push((path, content));
                out.told.state.push(format!("~/{name}: a copy that ends with the jail"));
            }
            Ok(_) => return Err(Refusal::new(format!("{path:?} is no small file, as it should be"))),
            Err(_) => {}
        }
    }
    Ok(())
}

/// Where the owner's environment moves a part of the state.
fn moved(place: &StatePlace) -> Option<PathBuf> {
    let (variable, below) = place.moved?;
    let to = std::env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute())?;
    Some(if below.is_empty() { to } else { to.join(below) })
}

fn add_place(place: &StatePlace, asked: &Asked<'_>, out: &mut Prepared) -> Result<(), Refusal> {
    let named = moved(place).unwrap_or_else(|| asked.owner.home.join(place.path));
    if make(&named, asked)? == Made::NotYet {
        out.told.state.push(format!("{}: would be made", mantlet_ledger::escape(named.as_os_str().as_bytes())));
        return Ok(());
    }
    let real = fs::canonicalize(&named).map_err(|e| Refusal::new(format!("cannot resolve {named:?}: {e}")))?;
    check(&real, asked)?;
    if real != named {
        // Programs find it by either name.
        out.links.push((named.clone(), real.clone()));
    }
    for (name, content) in place.first.iter().filter(|_| !asked.is_dry) {
        make_file(&real.join(name), content, asked)?;
    }
    let shown = mantlet_ledger::escape(real.as_os_str().as_bytes());
    match place.shown {
        Shown::ReadOnlyBut(holes) => {
            out.places.push(place_of(&real, false)?);
            for hole in holes {
                let hole = real.join(hole);
                if make(&hole, asked)? == Made::IsThere {
                    out.places.push(place_of(&hole, true)?);
                    out.trees.push(Tree::open(hole, &[])?);
                }
            }
            let but = if holes.is_empty() { String::new() } else { format!(", but writable: {}", holes.join(" ")) };
            out.told.state.push(format!("{shown}: read-only{but}"));
        }
        Shown::WritableBut(names) => {
            for dir in names.iter().filter_map(|name| name.strip_suffix('/')) {
                let dir = real.join(dir);
                if fs::symlink_metadata(&dir).is_err() {
                    make(&dir, asked)?;
                }
            }
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            show_linked(&real, &names, asked, out);
            out.places.push(place_of(&real, true)?);
            let but = if names.is_empty() { String::new() } else { format!(", but read-only: {}", names.join(" ")) };
            out.told.state.push(format!("{shown}: writable{but}"));
            out.trees.push(Tree::open(real, &names)?);
        }
    }
    Ok(())
}

/// Whether a directory is there.
#[derive(PartialEq, Eq)]
enum Made {
    IsThere,
    /// A dry run makes nothing.
    NotYet,
}

/// Makes a directory of the client's, as the client would, if it is missing.
fn make(dir: &Path, asked: &Asked<'_>) -> Result<Made, Refusal> {
    if asked.is_dry {
        return Ok(if dir.exists() { Made::IsThere } else { Made::NotYet });
    }
    make_dir(dir, asked).map(|()| Made::IsThere)
}

fn make_dir(dir: &Path, asked: &Asked<'_>) -> Result<(), Refusal> {
    let refused = |e: io::Error| Refusal::new(format!("cannot make the client's directory {dir:?}: {e}"));
    match fs::DirBuilder::new().mode(0o700).create(dir) {
        Ok(()) if asked.ids.mapping == Mapping::Owner => {
            std::os::unix::fs::lchown(dir, Some(asked.ids.uid), Some(asked.ids.gid)).map_err(refused)
        }
        Ok(()) => Ok(()),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => match dir.parent() {
            Some(parent) => make_dir(parent, asked).and_then(|()| make_dir(dir, asked)),
            None => Err(refused(e)),
        },
        Err(e) => Err(refused(e)),
    }
}

/// Makes a file of the client's, as the client would, if nothing has its name.
fn make_file(path: &Path, content: &str, asked: &Asked<'_>) -> Result<(), Refusal> {
    let refused = |e: io::Error| Refusal::new(format!("cannot make the client's file {path:?}: {e}"));
    let mut file = match fs::File::create_new(path) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
        made => made.map_err(refused)?,
    };
    if asked.ids.mapping == Mapping::Owner {
        std::os::unix::fs::fchown(&file, Some(asked.ids.uid), Some(asked.ids.gid)).map_err(refused)?;
    }
    io::Write::write_all(&mut file, content.as_bytes()).map_err(refused)
}

/// A directory as a place, with the inode it must still have when the jail opens it.
fn place_of(dir: &Path, is_writable: bool) -> Result<Place, Refusal> {
    let meta = fs::symlink_metadata(dir).map_err(|e| Refusal::new(format!("cannot examine {dir:?}: {e}")))?;
    if !meta.is_dir() {
        return Err(Refusal::new(format!("{dir:?} is not a directory, as the client's own would be"))
            .hint("put a directory there; a symlink could lead the jail anywhere"));
    }
    let must_be = Some((meta.dev(), meta.ino()));
    Ok(Place { source: dir.to_owned(), target: dir.to_owned(), is_writable, must_be })
}

/// Refuses a state directory that is more than one: a variable can name any directory.
fn check(real: &Path, asked: &Asked<'_>) -> Result<(), Refusal> {
    let moved = "correct the variable that moves the client's state";
    if asked.owner.home.starts_with(real) || real.parent().is_none_or(|above| above == Path::new("/")) {
        return Err(Refusal::new(format!("the client's state {real:?} is a whole home or more")).hint(moved));
    }
    if let Some(own) = asked.own.iter().find(|own| own.starts_with(real) || real.starts_with(own)) {
        return Err(
            Refusal::new(format!("the client's state {real:?} overlaps {own:?}, which is Mantlet's own")).hint(moved)
        );
    }
    let meta = fs::metadata(real).map_err(|e| Refusal::new(format!("cannot examine {real:?}: {e}")))?;
    let wanted = match asked.ids.mapping {
        Mapping::Caller | Mapping::Owner => asked.ids.uid,
        Mapping::Idmapped => 0,
    };
    if meta.uid() != wanted {
        let what =
            format!("the client's state {real:?} belongs to user {}, and the agent runs as {wanted}", meta.uid());
        return Err(Refusal::new(what).hint("run it as the user that the workspace and the state belong to"));
    }
    Ok(())
}

/// Settings are often symlinks into a directory that the owner keeps them all in: what they lead to is shown.
fn show_linked(real: &Path, names: &[String], asked: &Asked<'_>, out: &mut Prepared) {
    for name in names {
        let path = real.join(OsStr::new(name.trim_end_matches('/')));
        if !path.is_symlink() {
            continue;
        }
        let shown = mantlet_ledger::escape(path.as_os_str().as_bytes());
        match fs::canonicalize(&path) {
            Ok(target) if target.starts_with(real) => {}
            Ok(target) if asked.advisor.may_show(&target).is_ok() => out.show(&target, asked.agent.workspace()),
            _ => out.notes.push(format!("{shown} could not be shown: it leads to what no rule could open")),
        }
        out.notes.push(format!("{shown} is a symlink: the agent could remove it, and what replaces it is undone"));
    }
}

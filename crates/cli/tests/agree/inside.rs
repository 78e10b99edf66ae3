//! The kernel's side: tries each request inside the jail and prints how it went.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead as _, ErrorKind, Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// O_NONBLOCK: a FIFO must not hang the test.
const NONBLOCK: i32 = rustix::fs::OFlags::NONBLOCK.bits() as i32;

/// Reads requests, `ACT<TAB>PATH` in hex, and answers a line for each: the real path, or why not.
pub(crate) fn main() {
    let lines: Vec<String> = std::io::stdin().lock().lines().map(Result::unwrap).collect();
    let asks = lines.iter().map(|line| line.split_once('\t').unwrap());
    let asks: Vec<(&str, String)> = asks.map(|(act, path)| (act, String::from_utf8(unhex(path)).unwrap())).collect();
    // A directory that one request makes must not be the way of another.
    let was_there: Vec<bool> = asks.iter().map(|(_, path)| turns_where_something_is(path)).collect();
    let mut out = String::new();
    for ((act, path), was_there) in asks.iter().zip(was_there) {
        let tried = if was_there { attempt(act, path) } else { Err(ErrorKind::NotFound.into()) };
        match tried {
            Ok((real, id)) => out.push_str(&format!("ok\t{}\t{id}\n", hex(real.to_str().unwrap().as_bytes()))),
            Err(e) => out.push_str(&format!("no\t{}\n", hex(e.to_string().as_bytes()))),
        }
    }
    std::io::stdout().lock().write_all(out.as_bytes()).unwrap();
}

/// Whether everything up to the last `..` of a path exists.
fn turns_where_something_is(path: &str) -> bool {
    path.rfind("/..").is_none_or(|at| at == 0 || fs::metadata(&path[..at]).is_ok())
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

pub(crate) fn unhex(text: &str) -> Vec<u8> {
    (0..text.len() / 2).map(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).unwrap()).collect()
}

/// Where something was done, and to which inode.
type Done = (PathBuf, String);

fn attempt(act: &str, path: &str) -> std::io::Result<Done> {
    match act {
        "read" => read(Path::new(path)),
        "list" => list(Path::new(path), false),
        "search" => list(Path::new(path), true),
        "write" | "create" => {
            make_parents(path)?;
            write(path)
        }
        "delete" => delete(path),
        _ => panic!("{act}"),
    }
}

/// Makes the directories of a new file, as tools do: those that are missing at the end of the path.
fn make_parents(path: &str) -> std::io::Result<()> {
    let ends: Vec<usize> = path.match_indices('/').map(|(at, _)| at).filter(|at| *at > 0).collect();
    let is_missing = |end: &usize| matches!(fs::metadata(&path[..*end]), Err(e) if e.kind() == ErrorKind::NotFound);
    let Some(first) = ends.iter().position(is_missing) else { return Ok(()) };
    // In the jail's own directories, which are gone when it ends, others would find what is made for one request.
    let there = first.checked_sub(1).map_or(".", |above| &path[..ends[above]]);
    let world = std::env::args().nth(2).unwrap();
    let real = fs::canonicalize(there)?;
    if !["work", "write"].iter().any(|place| real.starts_with(Path::new(&world).join(place))) {
        return Err(ErrorKind::NotFound.into());
    }
    if path[ends[first]..].split('/').any(|name| name == "..") {
        return Err(ErrorKind::NotFound.into());
    }
    ends[first..].iter().try_for_each(|end| match fs::create_dir(&path[..*end]) {
        Err(e) if e.kind() == ErrorKind::AlreadyExists && Path::new(&path[..*end]).is_dir() => Ok(()),
        made => made,
    })
}

fn real(file: &File) -> std::io::Result<Done> {
    let meta = file.metadata()?;
    let path = fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
    Ok((path, format!("{}:{}", meta.dev(), meta.ino())))
}

fn read(path: &Path) -> std::io::Result<Done> {
    let mut file = OpenOptions::new().read(true).custom_flags(NONBLOCK).open(path)?;
    let kind = file.metadata()?.file_type();
    if kind.is_file() || kind.is_char_device() {
        let mut byte = [0];
        let _read = file.read(&mut byte)?;
    } else if !kind.is_dir() {
        return Err(std::io::Error::other("neither file nor directory"));
    }
    real(&file)
}

/// Everything below must open: what is denied in there would be seen by a tool outside.
fn list(path: &Path, reads_files: bool) -> std::io::Result<Done> {
    let at = read(path)?;
    // What of the system is closed to this user by its mode is not the jail's matter.
    if !fs::metadata(path)?.is_dir() || !at.0.starts_with(std::env::args().nth(2).unwrap()) {
        return Ok(at);
    }
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            list(&entry.path(), reads_files)?;
        } else if kind.is_file() && reads_files {
            read(&entry.path())?;
        }
    }
    Ok(at)
}

fn write(path: &str) -> std::io::Result<Done> {
    let mut file = OpenOptions::new().append(true).create(true).custom_flags(NONBLOCK).open(path)?;
    let kind = file.metadata()?.file_type();
    if !kind.is_file() && !kind.is_char_device() {
        return Err(std::io::Error::other("no file"));
    }
    file.write_all(b"x")?;
    real(&file)
}

fn delete(path: &str) -> std::io::Result<Done> {
    let whole = Path::new(path);
    // Where it was: its directory's real name and its own.
    let at = match (whole.parent(), whole.file_name()) {
        (Some(parent), Some(name)) => {
            let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
            fs::canonicalize(parent)?.join(name)
        }
        _ => whole.to_owned(),
    };
    let meta = fs::symlink_metadata(whole)?;
    match meta.is_dir() {
        true => fs::remove_dir(path)?,
        false => fs::remove_file(path)?,
    }
    Ok((at, format!("{}:{}", meta.dev(), meta.ino())))
}

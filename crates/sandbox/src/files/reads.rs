//! Operations that change nothing.

use std::io::{Read, Write};
use std::path::Path;

use rustix::fs::{AtFlags, Dir, FileType, OFlags, Stat};
use serde_json::{Value, json};

use super::paths::{self, Mkdir, Pinned, Root};
use super::pieces::{Frames, Kind};
use super::{Failure, Request};

/// `follow`, `max`: what a path names, or null. As the stock bridge does it, a file with several names is refused.
pub(super) fn stat(root: &Root<'_>, request: &Request) -> Result<Value, Failure> {
    let path = if request.follow { root.resolve(&request.path)? } else { request.path.clone() };
    root.refuse_denied(&path)?;
    let stat = if path.as_os_str().is_empty() {
        Some(rustix::fs::fstat(root.walk(Path::new(""), Mkdir::No)?)?)
    } else {
        match root.entry(&path, Pinned::from(request.follow), Mkdir::No) {
            Ok(entry) => entry.stat()?,
            Err(e) if e.code == "ENOENT" || e.code == "ENOTDIR" => None,
            Err(e) => return Err(e),
        }
    };
    let Some(stat) = stat else { return Ok(Value::Null) };
    paths::refuse_links(&stat, &path)?;
    Ok(told(&stat))
}

fn told(stat: &Stat) -> Value {
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => "file",
        FileType::Directory => "directory",
        FileType::Symlink => "symlink",
        _ => "other",
    };
    let milliseconds =
        stat.st_mtime.saturating_mul(1000).saturating_add((stat.st_mtime_nsec / 1_000_000).cast_signed());
    json!({ "type": kind, "size": stat.st_size, "mtimeMs": milliseconds, "mode": stat.st_mode & 0o7777 })
}

/// `max`, `offset`, `length`: the file's bytes, in pieces.
pub(super) fn read(
    root: &Root<'_>,
    request: &Request,
    frames: &mut Frames<impl Read, impl Write>,
) -> Result<Value, Failure> {
    let entry = root.entry(&request.path, Pinned::No, Mkdir::No)?;
    let (fd, stat) = entry.open(OFlags::RDONLY)?;
    let too_large = |max: u64| Failure::new("EFBIG", format!("the file is larger than {max} bytes"));
    if let Some(max) = request.max.filter(|max| stat.st_size.cast_unsigned() > *max) {
        return Err(too_large(max));
    }
    let mut left = request.length.unwrap_or(u64::MAX);
    let (mut at, mut told) = (request.offset, 0_u64);
    let mut buffer = vec![0; 64 * 1024];
    while left > 0 {
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        let count = rustix::io::retry_on_intr(|| rustix::io::pread(&fd, &mut buffer[..most], at))?;
        if count == 0 {
            break;
        }
        told += count as u64;
        // It has grown since it was opened.
        if let Some(max) = request.max.filter(|max| told > *max) {
            return Err(too_large(max));
        }
        frames.send(Kind::Piece, buffer.get(..count).unwrap_or_default())?;
        at += count as u64;
        left -= count as u64;
    }
    Ok(json!({ "path": root.real(&entry.path), "bytes": told }))
}

/// The names in a directory, as a JSON list in pieces.
pub(super) fn list(
    root: &Root<'_>,
    request: &Request,
    frames: &mut Frames<impl Read, impl Write>,
) -> Result<Value, Failure> {
    let path = root.resolve(&request.path)?;
    root.refuse_denied(&path)?;
    let dir = paths::reopen(&root.walk(&path, Mkdir::No)?)?;
    let (mut piece, mut count) = (Vec::new(), 0_u64);
    for entry in Dir::read_from(&dir)? {
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let kind = match entry.file_type() {
            // Some file systems do not say.
            FileType::Unknown => match rustix::fs::statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => FileType::from_raw_mode(stat.st_mode),
                Err(_) => continue,
            },
            kind => kind,
        };
        let (is_directory, is_file) = (kind == FileType::Directory, kind == FileType::RegularFile);
        piece.push(if count == 0 { b'[' } else { b',' });
        let told = json!({ "name": name.to_string_lossy(), "isDirectory": is_directory, "isFile": is_file });
        serde_json::to_writer(&mut piece, &told).map_err(std::io::Error::other)?;
        count += 1;
        if piece.len() > 32 * 1024 {
            frames.send(Kind::Piece, &piece)?;
            piece.clear();
        }
    }
    piece.extend_from_slice(if count == 0 { b"[]" } else { b"]" });
    frames.send(Kind::Piece, &piece)?;
    Ok(json!({ "path": root.real(&path), "entries": count }))
}

/// `follow`: where a path leads, its end too or only its directory. What does not exist yet is named all the same.
pub(super) fn resolve(root: &Root<'_>, request: &Request) -> Result<Value, Failure> {
    let path = match (request.follow, request.path.parent(), request.path.file_name()) {
        (false, Some(parent), Some(name)) => root.resolve(parent)?.join(name),
        _ => root.resolve(&request.path)?,
    };
    Ok(json!({ "path": root.real(&path) }))
}

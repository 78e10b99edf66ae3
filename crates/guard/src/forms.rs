//! One name in several unicode forms: `é` is one letter or two, and programs that normalise open the other file.
//!
//! There is no table of forms here. Two names that could be forms of each other are judged both: taking too many for
//! the same costs nothing but a look.

use rustix::fs::{Dir, Mode, OFlags};

use crate::walk::{Last, Node, walk};

/// More names alike than anyone has.
const MOST: usize = 64;

/// There are more names alike than can be judged.
#[derive(Debug, thiserror::Error)]
#[error("too many files could be meant by this name in another unicode form")]
pub(crate) struct Many;

/// Returns the other existing paths that a client which normalises could open instead.
pub(crate) fn twins(path: &[u8], cwd: &[u8]) -> Result<Vec<Vec<u8>>, Many> {
    if path.is_ascii() {
        return Ok(Vec::new());
    }
    let mut prefixes: Vec<Vec<u8>> = vec![Vec::new()];
    for name in path.split(|b| *b == b'/').filter(|name| !name.is_empty()) {
        let mut next = Vec::new();
        for prefix in prefixes {
            let others = if name.is_ascii() { Vec::new() } else { alike(&prefix, name, cwd) };
            for name in others.iter().map(Vec::as_slice).chain([name]) {
                next.push([&prefix[..], b"/", name].concat());
            }
        }
        if next.len() > MOST {
            return Err(Many);
        }
        prefixes = next;
    }
    prefixes.retain(|twin| twin != path);
    Ok(prefixes)
}

/// The names of a directory that could be this one in another form.
fn alike(dir: &[u8], name: &[u8], cwd: &[u8]) -> Vec<Vec<u8>> {
    let dir = if dir.is_empty() { b"/" } else { dir };
    let Ok(reached) = walk(None, dir, cwd, Last::Follow) else { return Vec::new() };
    let (Node::Real(real), true) = (&reached.node, reached.rest.is_empty()) else { return Vec::new() };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let Ok(entries) = rustix::fs::openat(&*real.fd, ".", flags, Mode::empty()).and_then(Dir::new) else {
        return Vec::new();
    };
    let names = entries.flatten().map(|entry| entry.file_name().to_bytes().to_vec());
    names.filter(|other| other != name && may_be_same(other, name)).collect()
}

/// Whether two names could be forms of one: the ASCII letters of the more composed stand, in order, in the other.
fn may_be_same(one: &[u8], other: &[u8]) -> bool {
    if one.is_ascii() || other.is_ascii() {
        return false;
    }
    let ascii = |name: &[u8]| name.iter().copied().filter(u8::is_ascii).collect::<Vec<u8>>();
    let (one, other) = (ascii(one), ascii(other));
    let (short, long) = if one.len() <= other.len() { (one, other) } else { (other, one) };
    let mut rest = long.iter();
    short.iter().all(|wanted| rest.any(|have| have == wanted))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStrExt;

    #[test]
    fn composed_and_decomposed_names_are_alike_and_others_are_not() {
        for (one, other, wanted) in [
            ("caf\u{e9}", "cafe\u{301}", true),
            ("\u{1e69}x", "s\u{323}\u{307}x", true),
            ("\u{304c}", "\u{304b}\u{3099}", true),
            ("\u{d55c}.txt", "\u{1112}\u{1161}\u{11ab}.txt", true),
            ("caf\u{e9}", "tea\u{301}", false),
            ("cafe", "cafe\u{301}", false),
        ] {
            assert_eq!(may_be_same(one.as_bytes(), other.as_bytes()), wanted, "{one} {other}");
        }
    }

    #[test]
    fn a_twin_in_the_middle_of_a_path_is_found() {
        let top = std::env::temp_dir().join(format!("mantlet-forms-{}", std::process::id()));
        std::fs::create_dir_all(top.join("e\u{301}/sub")).unwrap();
        std::fs::create_dir_all(top.join("\u{e9}")).unwrap();
        let path = top.join("\u{e9}/sub");
        let found = twins(path.as_os_str().as_bytes(), b"/").unwrap();
        std::fs::remove_dir_all(&top).unwrap();
        assert_eq!(found, [top.join("e\u{301}/sub").as_os_str().as_bytes()]);
    }
}

//! A throwaway home with protected places, and a look at it that shares no code with the watch.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use mantlet_watch::{Compare, Options, Place, PlaceKind};

/// One world; gone when it is dropped.
pub(crate) struct World {
    pub(crate) top: PathBuf,
    pub(crate) home: PathBuf,
    pub(crate) out: PathBuf,
    pub(crate) state: PathBuf,
}

pub(crate) const SETTINGS: &str = "{\"hooks\": [], \"allow\": [\"ls\"]}\n";

static NEXT: AtomicU64 = AtomicU64::new(0);

impl World {
    pub(crate) fn new() -> World {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let base = std::env::var_os("MANTLET_WORLDS").map_or_else(std::env::temp_dir, PathBuf::from);
        let top = base.join(format!("mantlet-watch-{}-{number}", std::process::id()));
        fs::DirBuilder::new().mode(0o755).create(&top).unwrap();
        let top = top.canonicalize().unwrap();
        let (home, out, state) = (top.join("home"), top.join("out"), top.join("state"));
        for dir in ["home", "home/config", "home/config/agent", "home/tools", "home/tools/sub", "home/dot", "out"] {
            fs::DirBuilder::new().mode(0o755).create(top.join(dir)).unwrap();
        }
        let files = [
            ("home/config/agent/settings.json", SETTINGS, 0o600),
            ("home/tools/a.sh", "#!/bin/sh\necho tool\n", 0o755),
            ("home/tools/sub/b.txt", "text of b\n", 0o644),
            ("home/dot/rc", "alias ls=ls\n", 0o644),
            ("home/linked.txt", "has a second name\n", 0o644),
            ("out/evil", "evil\n", 0o644),
        ];
        for (path, text, mode) in files {
            fs::write(top.join(path), text).unwrap();
            fs::set_permissions(top.join(path), fs::Permissions::from_mode(mode)).unwrap();
        }
        fs::hard_link(top.join("home/linked.txt"), top.join("out/second-name")).unwrap();
        symlink("dot/rc", home.join("rc")).unwrap();
        symlink("a.sh", home.join("tools/link")).unwrap();
        rustix::fs::setxattr(home.join("tools/a.sh"), "user.mark", b"ours", rustix::fs::XattrFlags::empty()).unwrap();
        World { top, home, out, state }
    }

    pub(crate) fn settings(&self) -> PathBuf {
        self.home.join("config/agent/settings.json")
    }

    pub(crate) fn tool(&self) -> PathBuf {
        self.home.join("tools/a.sh")
    }

    pub(crate) fn evil(&self) -> PathBuf {
        self.out.join("evil")
    }

    pub(crate) fn places(&self) -> Vec<Place> {
        let place = |path: &str, kind| Place { path: self.home.join(path), kind, content: Compare::Whole };
        vec![
            place("config/agent/settings.json", PlaceKind::File),
            place("config/agent/absent.json", PlaceKind::File),
            place("missing/agent/mcp.json", PlaceKind::File),
            place("linked.txt", PlaceKind::File),
            place("rc", PlaceKind::File),
            place("tools", PlaceKind::Directory),
        ]
    }

    pub(crate) fn options(&self) -> Options {
        Options::new(self.state.clone())
    }

    /// Everything protected as it stands: what a program that opens these paths would get.
    pub(crate) fn seen(&self) -> BTreeMap<String, String> {
        let mut all = BTreeMap::new();
        let paths = [
            "config/agent/settings.json",
            "config/agent/absent.json",
            "missing/agent/mcp.json",
            "linked.txt",
            "rc",
            "dot/rc",
            "tools",
        ];
        for path in paths {
            see(&self.home.join(path), path, &mut all);
        }
        all
    }
}

fn see(path: &Path, name: &str, all: &mut BTreeMap<String, String>) {
    let Ok(meta) = fs::symlink_metadata(path) else {
        all.insert(name.to_owned(), "nothing".into());
        return;
    };
    let kind = meta.file_type();
    let mut said = format!("{:o} {}:{}", meta.mode(), meta.uid(), meta.gid());
    let flags = rustix::fs::StatxFlags::BASIC_STATS;
    if let Ok(stat) = rustix::fs::statx(rustix::fs::CWD, path, rustix::fs::AtFlags::SYMLINK_NOFOLLOW, flags) {
        let attributes = stat.stx_attributes & !rustix::fs::StatxAttributes::COMPRESSED;
        said += &format!(" flags {:x}", attributes.bits());
    }
    if kind.is_symlink() {
        said += &format!(" -> {}", fs::read_link(path).unwrap_or_default().display());
    } else if !kind.is_fifo() && !kind.is_socket() {
        said += &xattrs(path);
    }
    if kind.is_file() {
        // A restored file may have lost names; it must not have gained any.
        let most = if name == "linked.txt" { 2 } else { 1 };
        said += &format!(" names {} {}", meta.nlink().max(most), content(path, meta.len()));
    }
    if kind.is_dir() {
        let names = fs::read_dir(path).into_iter().flatten().flatten().map(|e| e.file_name());
        for entry in names {
            see(&path.join(&entry), &format!("{name}/{}", entry.to_string_lossy()), all);
        }
    }
    all.insert(name.to_owned(), said);
}

/// The content, and of what is too long its length.
fn content(path: &Path, length: u64) -> String {
    match length {
        0..10_000 => String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned(),
        _ => format!("{length} bytes"),
    }
}

fn xattrs(path: &Path) -> String {
    let mut names = vec![0; 4096];
    let length = rustix::fs::listxattr(path, &mut names[..]).unwrap_or(0);
    let mut said: Vec<String> = Vec::new();
    for name in names[..length].split(|b| *b == 0).filter(|n| !n.is_empty()) {
        let mut value = vec![0; 4096];
        let name = std::ffi::OsStr::from_bytes(name);
        let length = rustix::fs::getxattr(path, name, &mut value[..]).unwrap_or(0);
        said.push(format!("{}={:?}", name.display(), &value[..length]));
    }
    said.sort();
    format!(" {said:?}")
}

impl Drop for World {
    fn drop(&mut self) {
        // Flags and modes of attacks that stood (the controls) must not keep the world.
        let mut open = vec![self.top.clone()];
        while let Some(path) = open.pop() {
            let Ok(meta) = fs::symlink_metadata(&path) else { continue };
            if !meta.is_file() && !meta.is_dir() {
                continue;
            }
            let hindering = rustix::fs::IFlags::IMMUTABLE | rustix::fs::IFlags::APPEND;
            if let Ok(file) = fs::File::open(&path)
                && let Ok(flags) = rustix::fs::ioctl_getflags(&file)
                && flags.intersects(hindering)
            {
                rustix::fs::ioctl_setflags(&file, flags - hindering).ok();
            }
            if meta.is_dir() {
                fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).ok();
                open.extend(fs::read_dir(&path).into_iter().flatten().flatten().map(|e| e.path()));
            }
        }
        let removed = fs::remove_dir_all(&self.top);
        if !std::thread::panicking() {
            removed.unwrap();
        }
    }
}

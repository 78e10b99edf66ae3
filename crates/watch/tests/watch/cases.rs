//! Ways to change something protected, as data: a name, what it needs, and the act itself.

use std::any::Any;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _, chown, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, FallocateFlags, FileType, IFlags, Mode, OFlags, RenameFlags, XattrFlags};

use super::sys::{Mapping, io_uring_write};
use super::world::World;

/// What an act leaves open while it is looked at whether it was undone.
pub(crate) type Held = Box<dyn Any + Send>;

/// When an act happens.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum When {
    /// While the watch runs.
    On,
    /// While it does not: found by the next start.
    Off,
    /// While it watches and does not yet read: the queue fills.
    Stalled,
}

/// One way.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) needs_root: bool,
    pub(crate) when: When,
    pub(crate) prepare: fn(&World) -> io::Result<Held>,
    pub(crate) act: fn(&World, Held) -> io::Result<Held>,
}

type Act = fn(&World, Held) -> io::Result<Held>;

fn nothing(_: &World) -> io::Result<Held> {
    Ok(Box::new(()))
}

const fn on(name: &'static str, act: Act) -> Case {
    Case { name, needs_root: false, when: When::On, prepare: nothing, act }
}

const fn off(name: &'static str, act: Act) -> Case {
    Case { name, needs_root: false, when: When::Off, prepare: nothing, act }
}

const fn root(name: &'static str, act: Act) -> Case {
    Case { name, needs_root: true, when: When::On, prepare: nothing, act }
}

fn done() -> io::Result<Held> {
    Ok(Box::new(()))
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).open(path)
}

fn write_at_start(path: &Path) -> io::Result<File> {
    let file = open(path)?;
    file.write_all_at(b"EVIL", 0)?;
    Ok(file)
}

fn early(w: &World) -> io::Result<Held> {
    Ok(Box::new(open(&w.settings())?))
}

/// A mapping whose page is dirty already when the watch begins: what is written to it then changes no time.
fn early_mapping(w: &World) -> io::Result<Held> {
    let mapping = Mapping::of(&open(&w.settings())?)?;
    mapping.write(0, mapping.read(0));
    Ok(Box::new(mapping))
}

/// `system.posix_acl_access`, version 2: the owner, user 12345 with everything, group, mask, others.
fn acl() -> Vec<u8> {
    let entries: [(u16, u16, u32); 5] =
        [(0x01, 6, u32::MAX), (0x02, 7, 12345), (0x04, 4, u32::MAX), (0x10, 7, u32::MAX), (0x20, 4, u32::MAX)];
    let mut blob = 2_u32.to_le_bytes().to_vec();
    for (tag, rights, id) in entries {
        blob.extend(tag.to_le_bytes());
        blob.extend(rights.to_le_bytes());
        blob.extend(id.to_le_bytes());
    }
    blob
}

fn set_flag(path: &Path, flag: IFlags) -> io::Result<()> {
    let file = File::open(path)?;
    Ok(rustix::fs::ioctl_setflags(&file, rustix::fs::ioctl_getflags(&file)? | flag)?)
}

fn copy_dir(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            fs::write(to.join(entry.file_name()), "evil\n")?;
        }
    }
    Ok(())
}

/// All of them.
pub(crate) const CASES: &[Case] = &[
    on("write in place", |w, _| Ok(Box::new(write_at_start(&w.settings())?))),
    on("truncate to nothing", |w, _| Ok(Box::new(File::create(w.settings())?))),
    on("append", |w, _| {
        OpenOptions::new().append(true).open(w.settings())?.write_all(b"evil\n")?;
        done()
    }),
    on("rename another file over it", |w, _| {
        fs::rename(w.evil(), w.settings())?;
        done()
    }),
    on("delete", |w, _| {
        fs::remove_file(w.settings())?;
        done()
    }),
    on("delete and make anew", |w, _| {
        fs::remove_file(w.settings())?;
        fs::write(w.settings(), "evil\n")?;
        done()
    }),
    on("replace by a symlink", |w, _| {
        fs::remove_file(w.settings())?;
        symlink(w.evil(), w.settings())?;
        done()
    }),
    on("replace by a directory with a file in it", |w, _| {
        fs::remove_file(w.settings())?;
        fs::create_dir(w.settings())?;
        fs::write(w.settings().join("x"), "evil\n")?;
        done()
    }),
    on("replace by a FIFO", |w, _| {
        fs::remove_file(w.settings())?;
        rustix::fs::mknodat(CWD, w.settings(), FileType::Fifo, Mode::RWXU, 0)?;
        done()
    }),
    on("replace by a socket", |w, _| {
        fs::remove_file(w.tool())?;
        Ok(Box::new(UnixListener::bind(w.tool())?))
    }),
    on("give it a second name (hard link)", |w, _| {
        fs::hard_link(w.settings(), w.out.join("second"))?;
        // Seen by the number of names, which the look from outside forgives: so the second name is used.
        std::thread::sleep(std::time::Duration::from_millis(30));
        fs::write(w.out.join("second"), "evil\n")?;
        done()
    }),
    on("rename a hard link of another file over it", |w, _| {
        fs::hard_link(w.evil(), w.out.join("link"))?;
        fs::rename(w.out.join("link"), w.settings())?;
        done()
    }),
    on("write through an old second name", |w, _| {
        fs::write(w.out.join("second-name"), "evil\n")?;
        done()
    }),
    on("write through a mapping, then unmap", |w, _| {
        Mapping::of(&open(&w.settings())?)?.write(0, b'E');
        done()
    }),
    on("write through a mapping that stays", |w, _| {
        let mapping = Mapping::of(&open(&w.settings())?)?;
        mapping.write(0, b'E');
        Ok(Box::new(mapping))
    }),
    Case {
        name: "write through a mapping whose page was dirty before",
        needs_root: false,
        when: When::On,
        prepare: early_mapping,
        act: |_, held| {
            if let Some(mapping) = held.downcast_ref::<Mapping>() {
                mapping.write(0, b'E');
            }
            Ok(held)
        },
    },
    on("write, then set the times back", |w, _| {
        let before = fs::metadata(w.settings())?;
        let file = write_at_start(&w.settings())?;
        file.set_times(fs::FileTimes::new().set_modified(before.modified()?).set_accessed(before.accessed()?))?;
        done()
    }),
    on("chmod", |w, _| {
        fs::set_permissions(w.settings(), Permissions::from_mode(0o666))?;
        done()
    }),
    on("set the setuid bit", |w, _| {
        fs::set_permissions(w.tool(), Permissions::from_mode(0o4755))?;
        done()
    }),
    on("set the setgid bit of a directory", |w, _| {
        fs::set_permissions(w.home.join("tools/sub"), Permissions::from_mode(0o2755))?;
        done()
    }),
    on("open a directory for everybody", |w, _| {
        fs::set_permissions(w.home.join("tools"), Permissions::from_mode(0o777))?;
        done()
    }),
    on("take all rights from a protected directory", |w, _| {
        fs::set_permissions(w.home.join("tools"), Permissions::from_mode(0o000))?;
        done()
    }),
    on("take all rights from a file", |w, _| {
        fs::set_permissions(w.tool(), Permissions::from_mode(0o000))?;
        done()
    }),
    on("take the parent's rights, write, and give them back", |w, _| {
        let (file, agent) = (open(&w.settings())?, w.home.join("config/agent"));
        fs::set_permissions(&agent, Permissions::from_mode(0o000))?;
        file.write_all_at(b"EVIL", 0)?;
        std::thread::sleep(std::time::Duration::from_millis(30));
        fs::set_permissions(&agent, Permissions::from_mode(0o755))?;
        Ok(Box::new(file))
    }),
    on("take the right to write from the parent, and write", |w, _| {
        fs::set_permissions(w.home.join("config/agent"), Permissions::from_mode(0o555))?;
        Ok(Box::new(write_at_start(&w.settings())?))
    }),
    on("take the right to write from a protected directory, and write in it", |w, _| {
        fs::set_permissions(w.home.join("tools"), Permissions::from_mode(0o555))?;
        Ok(Box::new(write_at_start(&w.tool())?))
    }),
    on("add an extended attribute", |w, _| {
        rustix::fs::setxattr(w.settings(), "user.evil", b"1", XattrFlags::empty())?;
        done()
    }),
    on("remove an extended attribute", |w, _| {
        rustix::fs::removexattr(w.tool(), "user.mark")?;
        done()
    }),
    on("add an access control list", |w, _| {
        rustix::fs::setxattr(w.settings(), "system.posix_acl_access", &acl(), XattrFlags::empty())?;
        done()
    }),
    on("add a default access control list to a directory", |w, _| {
        rustix::fs::setxattr(w.home.join("tools"), "system.posix_acl_default", &acl(), XattrFlags::empty())?;
        done()
    }),
    on("make a file in a protected directory", |w, _| {
        fs::write(w.home.join("tools/new"), "evil\n")?;
        done()
    }),
    on("make a directory with a file in a protected one", |w, _| {
        fs::create_dir_all(w.home.join("tools/sub/new/deep"))?;
        fs::write(w.home.join("tools/sub/new/deep/x"), "evil\n")?;
        done()
    }),
    on("link an anonymous file into a protected directory", |w, _| {
        let flags = OFlags::TMPFILE | OFlags::RDWR;
        let file = rustix::fs::openat(CWD, &w.home, flags, Mode::RWXU)?;
        rustix::io::write(&file, b"evil\n")?;
        let from = format!("/proc/self/fd/{}", file.as_raw_fd());
        rustix::fs::linkat(CWD, from, CWD, w.home.join("tools/anonymous"), AtFlags::SYMLINK_FOLLOW)?;
        Ok(Box::new(file))
    }),
    on("make a file that was absent", |w, _| {
        fs::write(w.home.join("config/agent/absent.json"), "evil\n")?;
        done()
    }),
    on("make a file that was absent, with its directories", |w, _| {
        fs::create_dir_all(w.home.join("missing/agent"))?;
        fs::write(w.home.join("missing/agent/mcp.json"), "evil\n")?;
        done()
    }),
    on("make an absent parent a symlink to a prepared one", |w, _| {
        fs::create_dir_all(w.out.join("missing/agent"))?;
        fs::write(w.out.join("missing/agent/mcp.json"), "evil\n")?;
        symlink(w.out.join("missing"), w.home.join("missing"))?;
        done()
    }),
    on("rename the parent away", |w, _| {
        fs::rename(w.home.join("config/agent"), w.out.join("away"))?;
        done()
    }),
    on("rename the parent's parent away", |w, _| {
        fs::rename(w.home.join("config"), w.out.join("away"))?;
        done()
    }),
    on("replace the parent by a symlink", |w, _| {
        copy_dir(&w.home.join("config/agent"), &w.out.join("mine"))?;
        fs::rename(w.home.join("config/agent"), w.out.join("away"))?;
        symlink(w.out.join("mine"), w.home.join("config/agent"))?;
        done()
    }),
    on("exchange the parent for another directory", |w, _| {
        copy_dir(&w.home.join("config/agent"), &w.out.join("mine"))?;
        let (mine, agent) = (w.out.join("mine"), w.home.join("config/agent"));
        rustix::fs::renameat_with(CWD, mine, CWD, agent, RenameFlags::EXCHANGE)?;
        done()
    }),
    on("remove a protected directory", |w, _| {
        fs::remove_dir_all(w.home.join("tools"))?;
        done()
    }),
    on("rename a protected directory away", |w, _| {
        fs::rename(w.home.join("tools"), w.out.join("tools"))?;
        done()
    }),
    on("replace a protected subdirectory by a symlink", |w, _| {
        fs::rename(w.home.join("tools/sub"), w.out.join("sub"))?;
        fs::write(w.out.join("sub/b.txt"), "evil\n")?;
        symlink(w.out.join("sub"), w.home.join("tools/sub"))?;
        done()
    }),
    on("move it out and another one in", |w, _| {
        fs::rename(w.settings(), w.out.join("ours"))?;
        fs::rename(w.evil(), w.settings())?;
        done()
    }),
    on("exchange it for another file", |w, _| {
        rustix::fs::renameat_with(CWD, w.evil(), CWD, w.settings(), RenameFlags::EXCHANGE)?;
        done()
    }),
    on("copy_file_range", |w, _| {
        rustix::fs::copy_file_range(File::open(w.evil())?, None, open(&w.settings())?, None, 4)?;
        done()
    }),
    on("sendfile", |w, _| {
        rustix::fs::sendfile(open(&w.settings())?, File::open(w.evil())?, None, 4)?;
        done()
    }),
    on("splice", |w, _| {
        let (from, to) = rustix::pipe::pipe()?;
        rustix::io::write(&to, b"EVIL")?;
        rustix::pipe::splice(from, None, open(&w.settings())?, None, 4, rustix::pipe::SpliceFlags::empty())?;
        done()
    }),
    on("FICLONE", |w, _| {
        rustix::fs::ioctl_ficlone(open(&w.settings())?, File::open(w.evil())?)?;
        done()
    }),
    on("punch a hole", |w, _| {
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        rustix::fs::fallocate(open(&w.settings())?, flags, 0, 8)?;
        done()
    }),
    on("make it longer without data", |w, _| {
        open(&w.settings())?.set_len(1 << 40)?;
        done()
    }),
    on("write through io_uring", |w, _| {
        io_uring_write(&open(&w.settings())?, b"EVIL")?;
        done()
    }),
    Case {
        name: "write through a descriptor from before",
        needs_root: false,
        when: When::On,
        prepare: early,
        act: |_, held| {
            if let Some(file) = held.downcast_ref::<File>() {
                file.write_all_at(b"EVIL", 0)?;
            }
            Ok(held)
        },
    },
    on("write through /proc/PID/fd", |w, _| {
        let file = File::open(w.settings())?;
        fs::write(format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd()), "evil\n")?;
        done()
    }),
    on("change where a protected symlink leads", |w, _| {
        fs::remove_file(w.home.join("rc"))?;
        symlink("../out/evil", w.home.join("rc"))?;
        done()
    }),
    on("change what a protected symlink leads to", |w, _| {
        fs::write(w.home.join("dot/rc"), "evil\n")?;
        done()
    }),
    on("replace a symlink in a protected directory", |w, _| {
        symlink("/etc/passwd", w.out.join("link"))?;
        fs::rename(w.out.join("link"), w.home.join("tools/link"))?;
        done()
    }),
    on("change, change back, and change again", |w, _| {
        let mut file = open(&w.settings())?;
        let mut text = Vec::new();
        file.read_to_end(&mut text)?;
        for bytes in [&b"EVIL"[..], &text[..4], b"EVIL"] {
            file.seek(SeekFrom::Start(0))?;
            file.write_all(bytes)?;
        }
        Ok(Box::new(file))
    }),
    Case {
        name: "one change among more events than the queue holds",
        needs_root: false,
        when: When::Stalled,
        prepare: nothing,
        act: |w, _| {
            let max = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events")?;
            // Two events each.
            let files = max.trim().parse::<u32>().map_err(io::Error::other)? / 2 + 1000;
            for number in 0..files {
                let path = w.home.join(format!("flood-{number}"));
                fs::write(&path, "")?;
                fs::remove_file(&path)?;
            }
            Ok(Box::new(write_at_start(&w.settings())?))
        },
    },
    off("write while nobody watches, times set back", |w, _| {
        let before = fs::metadata(w.settings())?;
        let file = write_at_start(&w.settings())?;
        file.set_times(fs::FileTimes::new().set_modified(before.modified()?))?;
        done()
    }),
    off("make a file while nobody watches", |w, _| {
        fs::write(w.home.join("tools/new"), "evil\n")?;
        done()
    }),
    off("delete while nobody watches", |w, _| {
        fs::remove_file(w.tool())?;
        done()
    }),
    off("replace the parent by a symlink while nobody watches", |w, _| {
        fs::rename(w.home.join("config/agent"), w.out.join("away"))?;
        fs::write(w.out.join("away/settings.json"), "evil\n")?;
        symlink(w.out.join("away"), w.home.join("config/agent"))?;
        done()
    }),
    off("change modes and attributes while nobody watches", |w, _| {
        fs::set_permissions(w.settings(), Permissions::from_mode(0o666))?;
        rustix::fs::setxattr(w.tool(), "user.mark", b"theirs", XattrFlags::empty())?;
        done()
    }),
    root("chown a file", |w, _| {
        chown(w.settings(), Some(12345), Some(12345))?;
        done()
    }),
    root("chown a protected directory", |w, _| {
        chown(w.home.join("tools"), Some(12345), None)?;
        done()
    }),
    root("chattr +i after a write", |w, _| {
        write_at_start(&w.settings())?;
        set_flag(&w.settings(), IFlags::IMMUTABLE)?;
        done()
    }),
    root("chattr +a", |w, _| {
        set_flag(&w.tool(), IFlags::APPEND)?;
        done()
    }),
    root("make a file and chattr +i its directory", |w, _| {
        fs::write(w.home.join("tools/new"), "evil\n")?;
        set_flag(&w.home.join("tools"), IFlags::IMMUTABLE)?;
        done()
    }),
    root("give a program a file capability", |w, _| {
        // vfs_cap_data, revision 2, effective: CAP_SYS_ADMIN permitted.
        let capability = [1, 0, 0, 2, 0, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        rustix::fs::setxattr(w.tool(), "security.capability", &capability, XattrFlags::empty())?;
        done()
    }),
    root("add a trusted attribute", |w, _| {
        rustix::fs::setxattr(w.settings(), "trusted.evil", b"1", XattrFlags::empty())?;
        done()
    }),
    root("replace by a device", |w, _| {
        fs::remove_file(w.settings())?;
        let zero = rustix::fs::makedev(1, 5);
        rustix::fs::mknodat(CWD, w.settings(), FileType::CharacterDevice, Mode::RWXU, zero)?;
        done()
    }),
    root("bind mount over the file", |w, _| {
        rustix::mount::mount_bind(w.evil(), w.settings())?;
        done()
    }),
    root("bind mount over the parent", |w, _| {
        copy_dir(&w.home.join("config/agent"), &w.out.join("mine"))?;
        rustix::mount::mount_bind(w.out.join("mine"), w.home.join("config/agent"))?;
        done()
    }),
    root("bind mount over a protected directory", |w, _| {
        copy_dir(&w.home.join("tools"), &w.out.join("mine"))?;
        rustix::mount::mount_bind(w.out.join("mine"), w.home.join("tools"))?;
        done()
    }),
    root("mount over the parent's parent", |w, _| {
        let none = rustix::mount::MountFlags::empty();
        rustix::mount::mount("none", w.home.join("config"), "tmpfs", none, None::<&std::ffi::CStr>)?;
        done()
    }),
    root("mount twice over the file", |w, _| {
        rustix::mount::mount_bind(w.evil(), w.settings())?;
        rustix::mount::mount_bind(w.evil(), w.settings())?;
        done()
    }),
];

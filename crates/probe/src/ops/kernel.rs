//! Operations on the kernel's surface.

use super::{Done, Op, Words, done, print};
use crate::sys::kernel as sys;
use crate::sys::world::unshare;

/// The table.
pub(super) const OPS: &[(&str, Op)] = &[
    ("io-uring", |_| done(sys::io_uring_setup())),
    ("userfaultfd", |_| done(sys::userfaultfd())),
    ("bpf", |_| done(sys::bpf_map())),
    ("perf", |_| done(sys::perf_open())),
    ("unshare", |w| done(unshare(w.int(0)?))),
    ("clone", |w| done(sys::clone_with(w.int(0)?))),
    ("clone3", |w| done(sys::clone3_with(w.int(0)?))),
    ("mount-in-userns", mount_in_userns),
    ("mount", |w| done(sys::mount(w.get(0)?, w.get(1)?, 0))),
    ("bind", |w| done(sys::bind(w.get(0)?, w.get(1)?))),
    ("umount", |w| done(sys::umount(w.get(0)?))),
    ("fsopen", |w| done(sys::fsopen(w.get(0)?))),
    ("open-tree", |w| done(sys::open_tree(w.get(0)?))),
    ("chroot", |w| done(sys::chroot(w.get(0)?))),
    ("name-to-handle", |w| done(sys::name_to_handle(w.get(0)?))),
    ("save-handle", |w| done(std::fs::write(w.get(1)?, sys::name_to_handle(w.get(0)?)?))),
    ("open-handle", open_handle),
    ("fanotify", |_| done(sys::fanotify())),
    ("fanotify-permission", |_| done(sys::fanotify_permission())),
    ("personality", |w| done(sys::personality(w.number(0)?))),
    ("x32", |_| done(sys::x32_getpid())),
    ("i386", |_| done(sys::i386_getpid())),
    ("tiocsti", tiocsti),
    ("tioclinux", tioclinux),
    ("tty-size", |_| done(rustix::termios::tcgetwinsize(std::io::stdin()))),
    ("syslog", |_| print(&sys::syslog()?)),
    ("sethostname", |w| done(sys::sethostname(w.get(0)?))),
    ("memfd", |_| done(sys::memfd())),
    ("nothing", |_| Ok(())),
];

fn mount_in_userns(w: &Words<'_>) -> Done {
    unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNS)?;
    Ok(sys::mount("tmpfs", w.get(0)?, 0)?)
}

fn open_handle(w: &Words<'_>) -> Done {
    use std::io::Read as _;
    use std::os::fd::AsFd as _;
    let near = std::fs::File::open(w.get(0)?)?;
    let fd = sys::open_by_handle(near.as_fd(), &std::fs::read(w.get(1)?)?)?;
    let mut text = Vec::new();
    std::fs::File::from(fd).read_to_end(&mut text)?;
    print(&text)
}

/// Types the mark and a return for the owner; the second word gives extra high bits of the request.
fn tiocsti(w: &Words<'_>) -> Done {
    let fd = w.int(0)?;
    let high = w.number(1)?;
    for byte in w.mark.bytes().chain([b'\n']) {
        sys::tiocsti(fd, byte, high)?;
    }
    Ok(())
}

/// Is done when the terminal driver itself answers, be it that it is no virtual console.
fn tioclinux(w: &Words<'_>) -> Done {
    match sys::tioclinux(w.int(0)?, w.number(1)?) {
        Err(e) if e.raw_os_error() != Some(libc::ENOTTY) => Err(e.into()),
        _ => Ok(()),
    }
}

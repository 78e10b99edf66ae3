//! What a jail's root holds besides the policy's own places: the system's programs and the few files they need.
//!
//! An allowlist of the world: what is not named here or in the plan does not exist inside.

pub(crate) use mantlet_policy::layout::{DEVICES, ETC, MADE_ETC, SYSTEM, system};

/// Symlinks of /dev.
pub(crate) const DEVICE_LINKS: &[(&str, &str)] = &[
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
    ("/dev/ptmx", "pts/ptmx"),
    ("/var/run", "/run"),
    ("/etc/mtab", "/proc/self/mounts"),
];

/// Files of /proc that name things of the host and that programs do without: covered by /dev/null.
pub(crate) const PROC_COVERED: &[&str] = &["/proc/keys", "/proc/key-users", "/proc/timer_list", "/proc/kallsyms"];

/// Where PATH looks inside.
pub(crate) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The marker of a jail, and the place of programs that the owner hands in.
pub const MARKER: &str = "/run/mantlet/jail";

/// Where a whole agent's commands ask for jails of their own.
pub(crate) const SOCKET: &str = "/run/mantlet/exec.sock";

/// A command too long for one argument is put here (MAX_ARG_STRLEN is 128 KiB, execve(2)).
pub(crate) const COMMAND_FILE: &str = "/run/mantlet/command";

/// What stands over a denied file, and over a denied directory.
pub(crate) const DENIED_FILE: &str = "/run/mantlet/denied";
pub(crate) const DENIED_DIR: &str = "/run/mantlet/denied.d";

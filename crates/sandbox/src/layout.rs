//! What a jail's root holds besides the policy's own places: the system's programs and the few files they need.
//!
//! An allowlist of the world: what is not named here or in the plan does not exist inside.

use std::path::{Path, PathBuf};

/// Directories of programs and libraries, read-only. On merged systems some are symlinks and stay so.
pub(crate) const SYSTEM: &[&str] =
    &["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/nix/store", "/gnu/store"];

/// What programs need of /etc. Never ssl/private, never shadow, never another service's configuration.
pub(crate) const ETC: &[&str] = &[
    "alternatives",
    "bash.bashrc",
    "ca-certificates",
    "ca-certificates.conf",
    "crypto-policies",
    "debian_version",
    "fonts",
    "inputrc",
    "java-17-openjdk",
    "java-21-openjdk",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "localtime",
    "magic",
    "mime.types",
    "os-release",
    "perl",
    "pki/ca-trust",
    "pki/tls/certs",
    "pki/tls/cert.pem",
    "protocols",
    "python3",
    "python3.11",
    "services",
    "ssl/cert.pem",
    "ssl/certs",
    "ssl/openssl.cnf",
    "terminfo",
    "timezone",
    "xdg",
];

/// Files of /etc that are made rather than bound, in the order in which the plan makes them.
pub(crate) const MADE_ETC: [&str; 6] =
    ["/etc/passwd", "/etc/group", "/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/etc/nsswitch.conf"];

/// Everything of the system that every jail shows.
pub(crate) fn system() -> impl Iterator<Item = PathBuf> {
    let etc = ETC.iter().map(|name| Path::new("/etc").join(name));
    SYSTEM.iter().map(PathBuf::from).chain(etc)
}

/// Device nodes, bound from the host.
pub(crate) const DEVICES: &[&str] = &["null", "zero", "full", "random", "urandom", "tty"];

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

/// A command too long for one argument is put here (MAX_ARG_STRLEN is 128 KiB, execve(2)).
pub(crate) const COMMAND_FILE: &str = "/run/mantlet/command";

/// What stands over a denied file, and over a denied directory.
pub(crate) const DENIED_FILE: &str = "/run/mantlet/denied";
pub(crate) const DENIED_DIR: &str = "/run/mantlet/denied.d";

//! What of the system every jail shows, and so what every file tool may read.
//!
//! An allowlist of the world: what is not named here or by the policy does not exist for an agent.

use std::path::{Path, PathBuf};

/// Directories of programs and libraries, read-only. On merged systems some are symlinks and stay so.
pub const SYSTEM: &[&str] =
    &["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/nix/store", "/gnu/store"];

/// What programs need of /etc. Never ssl/private, never shadow, never another service's configuration.
pub const ETC: &[&str] = &[
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
pub const MADE_ETC: [&str; 6] =
    ["/etc/passwd", "/etc/group", "/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/etc/nsswitch.conf"];

/// Returns everything of the system that every jail shows.
pub fn system() -> impl Iterator<Item = PathBuf> {
    let etc = ETC.iter().map(|name| Path::new("/etc").join(name));
    SYSTEM.iter().map(PathBuf::from).chain(etc)
}

/// Device nodes, bound from the host.
pub const DEVICES: &[&str] = &["null", "zero", "full", "random", "urandom", "tty"];

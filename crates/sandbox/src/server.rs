//! What confines a process that serves ways out. It reads what jails send, and so is the first to fall: it can open
//! connections, which is its work, and nothing of the owner's.

use std::io;
use std::path::Path;

use crate::ids::RESERVED;
use crate::landlock_rules::{self, Use};
use crate::seccomp;
use crate::sys::{self, Bounding};

/// A uid that no jail has: what falls in here reaches no jail's processes, nor those of the owner.
const SERVER: u32 = RESERVED + 1;

/// Where a host keeps what names resolve by.
const RESOLVER: [&str; 6] =
    ["/etc/hosts", "/etc/resolv.conf", "/run/systemd/resolve", "/run/resolvconf", "/run/NetworkManager", "/mnt/wsl"];

/// Takes from this process what serving does not need. Answers what holds, for the report.
///
/// # Errors
/// What every kernel gives that can build a jail could not be had.
pub fn confine_server() -> io::Result<String> {
    let mut holds = Vec::new();
    sys::set_no_new_privs()?;
    if rustix::process::geteuid().is_root() {
        // In a user namespace that maps root alone there is no other uid.
        holds.push(if sys::set_ids(SERVER, SERVER).is_ok() { "a uid of its own" } else { "no uid of its own" });
    }
    let readable = RESOLVER.iter().map(|path| (Path::new(*path), Use::Read));
    // Another uid takes away what was asked for before.
    sys::die_with_parent()?;
    landlock_rules::restrict(readable).map_err(|e| io::Error::other(e.to_string()))?;
    sys::drop_capabilities(Bounding::MayStay)?;
    sys::install_seccomp(&seccomp::program_of_server())?;
    sys::set_not_dumpable()?;
    holds.extend(["no files but the resolver's", "no capabilities", "seccomp"]);
    Ok(holds.join(", "))
}

//! Which places a rule may name: workspaces, and what is opened beyond them.
//!
//! The attack here is an owner's slip, or an agent's advice: a workspace or a rule so wide that the jail holds nothing.

use std::io;
use std::path::{Component, Path, PathBuf};

use crate::types::Host;

/// Directories that belong to the system as a whole: they are no workspace themselves, nor is anything above them.
const SYSTEM: &[&str] = &[
    "/",
    "/home",
    "/root",
    "/usr",
    "/usr/local",
    "/var",
    "/var/lib",
    "/var/log",
    "/var/tmp",
    "/var/run",
    "/var/cache",
    "/var/spool",
    "/tmp",
    "/run",
    "/run/user",
    "/run/lock",
    "/opt",
    "/srv",
    "/mnt",
    "/media",
    "/snap",
    "/nix",
    "/nix/store",
    "/dev/shm",
    "/lost+found",
];

/// Directories in which no workspace can be: programs, settings and the kernel's own file systems.
const SYSTEM_TREES: &[&str] = &[
    "/etc",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/usr/bin",
    "/usr/sbin",
    "/usr/lib",
    "/usr/lib32",
    "/usr/lib64",
    "/usr/libexec",
    "/usr/share",
    "/usr/local/bin",
    "/usr/local/sbin",
    "/usr/local/lib",
    "/boot",
    "/proc",
    "/sys",
];

/// Trees that hold sockets, devices and kernel files. A socket can be connected through a read-only mount,
/// so that "read" of one would be a way out.
const LIVE_TREES: &[&str] = &["/proc", "/sys", "/dev", "/run", "/var/run"];

/// Directories where any program of the host leaves sockets: opened whole, they are a way out as well.
const SHARED: &[&str] = &["/tmp", "/var", "/var/tmp", "/var/lib", "/home", "/root"];

/// A refusal: what is wrong, and what to do.
pub(crate) type Refusal = (String, String);

/// Resolves a workspace and checks that it is one.
pub(crate) fn workspace(path: &Path, host: &dyn Host) -> Result<PathBuf, Refusal> {
    // `/.` makes realpath(3) fail with ENOTDIR on a file, in the same call.
    let real = host.canonical(&path.join(".")).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => ("does not exist".into(), "make the directory, or correct the path".into()),
        io::ErrorKind::NotADirectory => {
            ("is not a directory".into(), "name the directory that the agent works in".to_owned())
        }
        _ => {
            (format!("cannot be resolved: {error}"), "make every directory on the way to it searchable for you".into())
        }
    })?;
    match too_wide(&real, host) {
        Some(refusal) => Err(refusal),
        None => Ok(real),
    }
}

/// Says why a directory that exists holds more than a workspace may.
fn too_wide(real: &Path, host: &dyn Host) -> Option<Refusal> {
    let below = "give the agent a directory of its own below it".to_owned();
    if SYSTEM.iter().any(|system| real == Path::new(system)) {
        return Some((format!("is `{}`, which belongs to the whole system", show(real)), below));
    }
    if let Some(tree) = SYSTEM_TREES.iter().find(|tree| real.starts_with(tree)) {
        return Some((format!("lies in `{tree}`, which belongs to the system"), "use a directory in your home".into()));
    }
    if real == host.home() {
        return Some(("is your home directory, with all keys and settings in it".into(), below));
    }
    if real.parent() == Some(Path::new("/home")) || real.parent() == Some(Path::new("/run/user")) {
        return Some(("is a user's own directory".into(), below));
    }
    if host.home().starts_with(real) {
        return Some(("contains your home directory".into(), below));
    }
    if let Some(state) = host.state_dirs().iter().find(|state| state.starts_with(real)) {
        let hint = format!("use a directory beside it or inside it, such as `{}`", show(&state.join("workspace")));
        return Some((format!("contains `{}`, where an agent keeps its settings and credentials", show(state)), hint));
    }
    secret(real, host).map(|why| (why, "use a directory that holds no credentials".into()))
}

/// Checks a place that a `read` or `write` rule would open, as written and as it resolves now.
pub(crate) fn opened(path: &Path, host: &dyn Host) -> Result<(), Refusal> {
    opened_as(path, host)?;
    match host.canonical(path) {
        Ok(real) if real != path => {
            opened_as(&real, host).map_err(|(why, hint)| (format!("leads to `{}` and {why}", show(&real)), hint))
        }
        // What does not exist opens nothing; what the owner cannot search, the owner's jail cannot open.
        _ => Ok(()),
    }
}

fn opened_as(path: &Path, host: &dyn Host) -> Result<(), Refusal> {
    let narrow = "name only the directory or file that is needed".to_owned();
    if host.home().starts_with(path) {
        return Err(("contains your home directory".into(), narrow));
    }
    if let Some(state) = host.state_dirs().iter().find(|state| state.starts_with(path)) {
        return Err((format!("contains `{}`, where an agent keeps its settings and credentials", show(state)), narrow));
    }
    if path.parent() == Some(Path::new("/home")) {
        return Err(("is a user's whole home directory".into(), narrow));
    }
    if let Some(tree) = LIVE_TREES.iter().find(|tree| path.starts_with(tree)) {
        return Err((
            format!("lies in `{tree}`, whose sockets and devices lead out of the jail"),
            "leave it out; no rule can open it".into(),
        ));
    }
    if SHARED.iter().any(|shared| path == Path::new(shared)) {
        return Err(("is shared by every program of this machine".into(), narrow));
    }
    match secret(path, host) {
        Some(why) => Err((why, "leave it out; no rule can open credentials".into())),
        None => Ok(()),
    }
}

/// Checks a place that a `write` rule would open.
pub(crate) fn written(path: &Path, host: &dyn Host) -> Result<(), Refusal> {
    opened(path, host)?;
    let real = host.canonical(path).unwrap_or_else(|_| path.to_owned());
    for place in [path, &real] {
        if SYSTEM.iter().any(|system| place == Path::new(system))
            || SYSTEM_TREES.iter().any(|tree| place.starts_with(tree))
        {
            return Err(("belongs to the system".into(), "name a directory of your own".into()));
        }
    }
    Ok(())
}

fn secret(path: &Path, host: &dyn Host) -> Option<String> {
    let agents = host.secrets().iter().map(|secret| (secret, "an agent's credentials"));
    let vaults = host.vault().iter().map(|secret| (secret, "keys or secrets of the vault"));
    let (found, what) =
        agents.chain(vaults).find(|(secret, _)| secret.starts_with(path) || path.starts_with(secret))?;
    Some(match found == path {
        true => format!("holds {what}"),
        false => format!("overlaps `{}`, which holds {what}", show(found)),
    })
}

/// Makes a written path absolute and lexically normal, without asking the file system.
pub(crate) fn literal(text: &str, base: Option<&Path>, home: &Path) -> Result<PathBuf, String> {
    check(text)?;
    let (start, rest) = match (text.strip_prefix('~'), text.starts_with('/'), base) {
        (Some(""), _, _) => (home, ""),
        (Some(rest), _, _) if rest.starts_with('/') => (home, rest.trim_start_matches('/')),
        (Some(_), _, _) => return Err("`~name` is not expanded; write the whole path".into()),
        (None, true, _) => (Path::new("/"), text.trim_start_matches('/')),
        (None, false, Some(base)) => (base, text),
        (None, false, None) => return Err("not absolute; begin with `/` or `~/`".into()),
    };
    let mut path = start.to_owned();
    for component in Path::new(rest).components() {
        match component {
            Component::Normal(name) => path.push(name),
            Component::CurDir => {}
            _ => {
                return Err("`..` could lead anywhere through a symlink; write the path it stands for".into());
            }
        }
    }
    Ok(path)
}

/// Checks what no path of a policy may have.
pub(crate) fn check(text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Err("empty".into());
    }
    if text.contains('\0') {
        return Err("no path has a NUL in it".into());
    }
    if text.starts_with('$') {
        return Err("variables are not expanded; write `~/` for your home".into());
    }
    Ok(())
}

pub(crate) fn show(path: &Path) -> String {
    crate::error::escape(&path.to_string_lossy())
}

//! Where the policy comes from, whether its file can be trusted, and which agent of it is meant.
//!
//! The attack: whoever can write the policy, or swap a directory on the way to it, owns every jail.
//! Every directory and symlink on the way is opened by descriptor and judged before the next.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io::{self, Read as _};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Component, Path, PathBuf};

use mantlet_policy::{Agent, Host, Policy, PolicyErrors};
use rustix::fs::{CWD, FileType, Mode, OFlags};

/// The owner of the machine decides before the owner of the account.
const SYSTEM: &str = "/etc/mantlet/mantlet.toml";
const FILE: &str = "mantlet/mantlet.toml";

/// A policy is a page of text; a larger file is a mistake, or an attack on this process's memory.
const MAX_BYTES: u64 = 1 << 20;

/// As many symlinks as the kernel itself follows on one path.
const MAX_LINKS: usize = 40;

/// Why there is no policy to run under. Every variant is a refusal.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// The caller has no home.
    #[error("user {uid} has no home directory")]
    NoHome {
        /// The caller.
        uid: u32,
    },
    /// The home, or the list of homes, cannot be read.
    #[error("cannot resolve the home directory by {}: {source}", path.display())]
    Home {
        /// What was tried.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The file cannot be opened or read.
    #[error("cannot read the policy {}: {source}", path.display())]
    Read {
        /// The file, or the directory on the way.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// Somebody else can change what the file says.
    #[error("the policy {} is not used: {} {why}", file.display(), at.display())]
    Untrusted {
        /// The policy.
        file: PathBuf,
        /// The file, directory or symlink that can be changed.
        at: PathBuf,
        /// How.
        why: String,
        /// The fix.
        hint: String,
    },
    /// The agent itself could change its policy.
    #[error("the policy {} is not used: it lies in {}, which agent `{agent}` can write", file.display(), place.display())]
    AgentWritable {
        /// The policy.
        file: PathBuf,
        /// The workspace or write rule.
        place: PathBuf,
        /// The agent.
        agent: String,
    },
    /// The agent could see Mantlet's own state, and the daemon's socket in it.
    #[error("agent `{agent}` would see {}, which is Mantlet's own", state.display())]
    ShowsState {
        /// The state directory.
        state: PathBuf,
        /// The agent.
        agent: String,
    },
    /// The file is not text, or too long.
    #[error("the policy {} is not used: {why}", file.display())]
    NotText {
        /// The policy.
        file: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The file says something wrong.
    #[error("the policy is not valid\n{0}")]
    Invalid(#[from] PolicyErrors),
    /// No agent, or none for sure.
    #[error("{why}")]
    NoAgent {
        /// Which agent is missing or unclear.
        why: String,
        /// The fix.
        hint: String,
    },
}

impl SourceError {
    /// Returns what to do about it; a policy's own errors carry their hints with them.
    pub fn hint(&self) -> Option<String> {
        match self {
            SourceError::NoHome { .. } | SourceError::Home { .. } => Some("set HOME to your home directory".into()),
            SourceError::Read { .. } => Some("make the file readable for you, or name another with --policy".into()),
            SourceError::Untrusted { hint, .. } | SourceError::NoAgent { hint, .. } => Some(hint.clone()),
            SourceError::AgentWritable { .. } => {
                Some("move it to ~/.config/mantlet/mantlet.toml, or make the workspace smaller".into())
            }
            SourceError::ShowsState { .. } => {
                Some("open directories that do not hold it: its evidence and its daemon are no agent's business".into())
            }
            SourceError::NotText { .. } => Some("write it as UTF-8 text of at most 1 MiB".into()),
            SourceError::Invalid(_) => None,
        }
    }
}

/// A policy and the file it came from.
#[derive(Debug)]
pub struct Loaded {
    /// The policy.
    pub policy: Policy,
    /// The file, or none when the default applies.
    pub file: Option<PathBuf>,
    /// Its text; empty when the default applies.
    pub text: String,
}

/// Names the file that decides, in order: the given one, the machine's, the user's. The last may not exist.
///
/// # Errors
/// The current directory is gone while the given path is relative to it.
pub fn locate(given: Option<&Path>, host: &dyn Host) -> Result<PathBuf, SourceError> {
    if let Some(path) = given {
        return from_here(path).map_err(|source| SourceError::Read { path: path.to_owned(), source });
    }
    // Any answer but "not there" counts as there: an unreadable policy must not give way to a weaker one.
    match is_absent(Path::new(SYSTEM)) {
        true => Ok(user_file(host)),
        false => Ok(SYSTEM.into()),
    }
}

/// Makes a path absolute. The kernel names the current directory without symlinks, so that each `..` in front is its
/// parent; taken as words, it would lead through directories of the agent's.
fn from_here(path: &Path) -> io::Result<PathBuf> {
    if path.is_absolute() {
        return Ok(path.to_owned());
    }
    let mut here = std::env::current_dir()?;
    let mut rest = path;
    while let Some(Component::ParentDir | Component::CurDir) = rest.components().next() {
        if rest.starts_with("..") {
            here.pop();
        }
        let mut components = rest.components();
        components.next();
        rest = components.as_path();
    }
    Ok(here.join(rest))
}

/// Names the file of the calling user, whether it exists or not.
pub fn user_file(host: &dyn Host) -> PathBuf {
    let named = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    named.unwrap_or_else(|| host.home().join(".config")).join(FILE)
}

/// Loads the policy; `None` when no file was named and there is none.
///
/// # Errors
/// The file cannot be read, trusted or understood.
pub fn load(given: Option<&Path>, host: &dyn Host) -> Result<Option<Loaded>, SourceError> {
    load_at(locate(given, host)?, given.is_some(), host)
}

fn load_at(path: PathBuf, is_given: bool, host: &dyn Host) -> Result<Option<Loaded>, SourceError> {
    let opened = match open_trusted(&path, rustix::process::getuid().as_raw()) {
        Err(_) if !is_given && is_absent(&path) => return Ok(None),
        opened => opened?,
    };
    let text = read(opened.file, &path)?;
    let policy = mantlet_policy::parse(&text, &path, host)?;
    outside_of_agents(&path, &opened.way, &policy)?;
    state_unseen(&policy, host)?;
    Ok(Some(Loaded { policy, file: Some(path), text }))
}

/// Whether nothing has this name. A directory on the way that others can write matters once there is a file in it:
/// then the file is refused, so that deleting it cannot turn a narrow policy into the default unseen.
fn is_absent(path: &Path) -> bool {
    matches!(rustix::fs::lstat(path), Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR))
}

/// Loads the policy, or makes the default one: a builder with `workspace` and nothing else.
///
/// # Errors
/// As [`load`]; and a workspace that no policy may have.
pub fn policy_for(
    given: Option<&Path>,
    agent: Option<&str>,
    workspace: &Path,
    host: &dyn Host,
) -> Result<Loaded, SourceError> {
    match load(given, host)? {
        Some(loaded) => Ok(loaded),
        None => Ok(Loaded {
            policy: mantlet_policy::default_policy(agent.unwrap_or("main"), workspace, host)?,
            file: None,
            text: String::new(),
        }),
    }
}

/// Chooses the agent: the named one; else the only one of the client; else, when neither was named, the only one.
///
/// # Errors
/// There is none, or more than one.
pub fn select<'p>(policy: &'p Policy, agent: Option<&str>, client: Option<&str>) -> Result<&'p Agent, SourceError> {
    let names: Vec<&str> = policy.agents().iter().map(Agent::name).collect();
    let refused = |why: String, hint: String| Err(SourceError::NoAgent { why, hint });
    match (agent, client) {
        (Some(name), client) => match (policy.agent(name), client) {
            (None, _) => {
                let name = name.escape_debug();
                refused(
                    format!("the policy has no agent `{name}`"),
                    format!("add a section [agent.{name}], or use one of: {}", names.join(", ")),
                )
            }
            (Some(found), Some(client)) if found.client().is_some_and(|own| own != client) => {
                let own = found.client().unwrap_or_default();
                refused(
                    format!("agent `{}` runs in {own}, not in {}", found.name(), client.escape_debug()),
                    format!("correct `client` in [agent.{}], or name another agent", found.name()),
                )
            }
            (Some(found), _) => Ok(found),
        },
        (None, Some(client)) => policy.agent_for_client(client).map_or_else(
            || {
                let client = client.escape_debug();
                refused(
                    format!("the policy has not exactly one agent with client = \"{client}\""),
                    format!("name it with --agent, or write `client = \"{client}\"` in one section"),
                )
            },
            Ok,
        ),
        (None, None) => match policy.agents() {
            [only] => Ok(only),
            [] => refused("the policy has no agent".into(), "add a section such as [agent.main]".into()),
            _ => {
                refused("the policy has several agents".into(), format!("name one with --agent: {}", names.join(", ")))
            }
        },
    }
}

/// A file whose way was judged: the descriptor, and the real paths of the file and of every symlink that led to it.
struct Opened {
    file: OwnedFd,
    way: Vec<PathBuf>,
}

/// A walk from `/` to the policy.
struct Walk<'p> {
    /// The path as it was named, for messages.
    file: &'p Path,
    caller: u32,
    here: OwnedFd,
    real: PathBuf,
    above: Vec<OwnedFd>,
    pending: VecDeque<OsString>,
    way: Vec<PathBuf>,
}

const STEP: OFlags = OFlags::PATH.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Opens a file component by component, so that what is judged is what is used.
fn open_trusted(path: &Path, caller: u32) -> Result<Opened, SourceError> {
    let here = root().map_err(|errno| failed(Path::new("/"), errno))?;
    judge(&here, path, Path::new("/"), caller)?;
    let pending = components(path);
    let mut walk = Walk { file: path, caller, here, real: "/".into(), above: Vec::new(), pending, way: Vec::new() };
    loop {
        match walk.step()? {
            Some(file) => {
                return Ok(Opened { file, way: walk.way });
            }
            None if walk.pending.is_empty() => {
                return Err(SourceError::NotText { file: path.to_owned(), why: "it is a directory".into() });
            }
            None => {}
        }
    }
}

impl Walk<'_> {
    /// Takes the next component; the last one is the file.
    fn step(&mut self) -> Result<Option<OwnedFd>, SourceError> {
        let Some(name) = self.pending.pop_front() else {
            return Ok(None);
        };
        if name == ".." {
            if let Some(parent) = self.above.pop() {
                self.here = parent;
                self.real.pop();
            }
            return Ok(None);
        }
        let at = self.real.join(&name);
        let next = rustix::fs::openat(&self.here, name.as_os_str(), STEP, Mode::empty())
            .map_err(|errno| failed(&at, errno))?;
        let kind = judge(&next, self.file, &at, self.caller)?;
        match (kind, self.pending.is_empty()) {
            // Whatever follows a symlink is put before what is pending, so an empty list means the last name as given.
            (FileType::Symlink, true) => {
                Err(untrusted(self.file, &at, "is a symlink".into(), "name the file it points to with --policy".into()))
            }
            (FileType::Symlink, false) => self.follow(&next, at).map(|()| None),
            (FileType::RegularFile, true) => {
                let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
                let file = rustix::fs::openat(&self.here, name.as_os_str(), flags, Mode::empty())
                    .map_err(|errno| failed(&at, errno))?;
                // Judged again by the descriptor that is read: the name may have been given to another file meanwhile.
                judge(&file, self.file, &at, self.caller)?;
                self.way.push(at);
                Ok(Some(file))
            }
            (FileType::Directory, _) => {
                self.above.push(std::mem::replace(&mut self.here, next));
                self.real = at;
                Ok(None)
            }
            _ => Err(SourceError::NotText {
                file: self.file.to_owned(),
                why: format!("{} is not a regular file", at.display()),
            }),
        }
    }

    fn follow(&mut self, link: &OwnedFd, at: PathBuf) -> Result<(), SourceError> {
        let target = rustix::fs::readlinkat(link, "", Vec::new()).map_err(|errno| failed(&at, errno))?;
        let target = PathBuf::from(OsString::from_vec(target.into_bytes()));
        if target.is_absolute() {
            self.here = root().map_err(|errno| failed(&at, errno))?;
            self.real = "/".into();
            self.above.clear();
        }
        for name in components(&target).into_iter().rev() {
            self.pending.push_front(name);
        }
        self.way.push(at);
        match self.way.len() > MAX_LINKS {
            true => Err(failed(self.file, rustix::io::Errno::LOOP)),
            false => Ok(()),
        }
    }
}

fn root() -> rustix::io::Result<OwnedFd> {
    rustix::fs::openat(CWD, "/", STEP, Mode::empty())
}

fn components(path: &Path) -> VecDeque<OsString> {
    path.components()
        .filter_map(|component| match component {
            Component::Normal(name) => Some(name.to_owned()),
            Component::ParentDir => Some("..".into()),
            _ => None,
        })
        .collect()
}

fn failed(at: &Path, errno: rustix::io::Errno) -> SourceError {
    SourceError::Read { path: at.to_owned(), source: errno.into() }
}

fn untrusted(file: &Path, at: &Path, why: String, hint: String) -> SourceError {
    SourceError::Untrusted { file: file.to_owned(), at: at.to_owned(), why, hint }
}

/// Refuses what another user can change; says what kind of thing it is otherwise.
fn judge(fd: &OwnedFd, file: &Path, at: &Path, caller: u32) -> Result<FileType, SourceError> {
    let stat = rustix::fs::fstat(fd).map_err(|errno| failed(at, errno))?;
    let kind = FileType::from_raw_mode(stat.st_mode);
    if !is_owner_trusted(stat.st_uid, kind, caller) {
        let hint = match caller {
            // Never "chown root": it would take a user's home away from its user.
            0 => format!("keep the policy that root runs under in {SYSTEM}"),
            _ => format!("make it your own: sudo chown {caller} {}", at.display()),
        };
        return Err(untrusted(file, at, format!("belongs to user {}", stat.st_uid), hint));
    }
    let mode = Mode::from_raw_mode(stat.st_mode);
    // A symlink has no permissions of its own. In a sticky directory only an entry's owner can replace it,
    // and the entry is judged next. An ACL that lets others write shows in the group bits.
    let is_shared = mode.intersects(Mode::WGRP | Mode::WOTH);
    let is_sticky = kind == FileType::Directory && mode.contains(Mode::SVTX);
    if kind != FileType::Symlink && is_shared && !is_sticky {
        return Err(untrusted(
            file,
            at,
            "can be written by other users".into(),
            format!("chmod go-w {}", at.display()),
        ));
    }
    // The attack: another name of the file lies in a workspace, where the way to it is none of those judged here.
    if kind == FileType::RegularFile && stat.st_nlink > 1 {
        let hint = format!("give it a file of its own: cp -p {0} {0}.own && mv {0}.own {0}", at.display());
        return Err(untrusted(file, at, format!("has {} names (hard links)", stat.st_nlink), hint));
    }
    Ok(kind)
}

/// The id that the kernel shows for an owner outside this user namespace.
const UNMAPPED: u32 = 65534;

fn is_owner_trusted(owner: u32, kind: FileType, caller: u32) -> bool {
    // In a user namespace that does not map root, `/` and `/home` are root's and show as nobody's.
    // Directories only: the file itself must be the caller's or root's by its own id.
    owner == caller || owner == 0 || (owner == UNMAPPED && kind == FileType::Directory && !is_root_mapped())
}

fn is_root_mapped() -> bool {
    // The kernel shows the host's own namespace as one range over all ids. Unreadable counts as that: the strict answer.
    match std::fs::read_to_string("/proc/self/uid_map") {
        Ok(map) => map.lines().any(|line| line.split_whitespace().nth(1) == Some("0")),
        Err(_) => true,
    }
}

fn read(file: OwnedFd, path: &Path) -> Result<String, SourceError> {
    let mut bytes = Vec::new();
    let result = std::fs::File::from(file).take(MAX_BYTES + 1).read_to_end(&mut bytes);
    result.map_err(|source| SourceError::Read { path: path.to_owned(), source })?;
    let refused = |why: String| SourceError::NotText { file: path.to_owned(), why };
    if bytes.len() as u64 > MAX_BYTES {
        return Err(refused("it is longer than 1 MiB".into()));
    }
    String::from_utf8(bytes).map_err(|error| refused(format!("byte {} is not UTF-8", error.utf8_error().valid_up_to())))
}

/// Refuses a policy, or a symlink on the way to it, that an agent under it could write.
fn outside_of_agents(path: &Path, way: &[PathBuf], policy: &Policy) -> Result<(), SourceError> {
    for agent in policy.agents() {
        let written = agent.files().write().iter().filter_map(|rule| rule.path());
        let real = written.clone().filter_map(|place| std::fs::canonicalize(place).ok());
        let places = std::iter::once(agent.workspace().to_owned()).chain(written.map(Path::to_owned)).chain(real);
        for place in places {
            if path.starts_with(&place) || way.iter().any(|step| step.starts_with(&place)) {
                return Err(SourceError::AgentWritable {
                    file: path.to_owned(),
                    place,
                    agent: agent.name().to_owned(),
                });
            }
        }
    }
    Ok(())
}

/// Refuses to show an agent the state directory: whoever connects to the daemon has any name dialled, and the ledger tells
/// what the owner's other agents did.
fn state_unseen(policy: &Policy, host: &dyn Host) -> Result<(), SourceError> {
    let state = crate::journal::place(host.home());
    let state = std::fs::canonicalize(&state).unwrap_or(state);
    for agent in policy.agents() {
        let opened = mantlet_policy::opened(agent, |path| std::fs::canonicalize(path));
        if opened.iter().any(|place| state.starts_with(&place.source) || place.source.starts_with(&state)) {
            return Err(SourceError::ShowsState { state, agent: agent.name().to_owned() });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    /// A throwaway directory, its home and a workspace.
    struct Top(PathBuf);

    impl Top {
        fn new(name: &str) -> Self {
            let top = std::env::temp_dir().join(format!("mantlet-source-{name}-{}", std::process::id()));
            fs::create_dir_all(top.join("home/ws")).unwrap();
            fs::create_dir_all(top.join("home/.config/mantlet")).unwrap();
            for directory in ["", "home", "home/.config", "home/.config/mantlet"] {
                chmod(&top.join(directory), 0o755);
            }
            Top(top)
        }
        fn host(&self) -> crate::RealHost {
            crate::RealHost::at(&self.0.join("home"), |_| None).unwrap()
        }
        fn write(&self, at: &str) -> PathBuf {
            let text =
                format!("version = 1\n[agent.main]\nrole = \"builder\"\nworkspace = {:?}\n", self.0.join("home/ws"));
            fs::write(self.0.join(at), text).unwrap();
            chmod(&self.0.join(at), 0o644);
            self.0.join(at)
        }
    }

    impl Drop for Top {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    fn chmod(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    fn refusal(top: &Top, path: &Path) -> String {
        load(Some(path), &top.host()).unwrap_err().to_string()
    }

    #[test]
    fn a_file_with_another_name_is_refused() {
        let top = Top::new("names");
        let path = top.write("home/.config/mantlet/mantlet.toml");
        fs::hard_link(&path, top.0.join("home/ws/notes")).unwrap();
        assert!(refusal(&top, &path).contains("has 2 names (hard links)"));
        fs::remove_file(top.0.join("home/ws/notes")).unwrap();
        assert!(load(Some(&path), &top.host()).is_ok());
    }

    #[test]
    fn a_file_of_ones_own_is_used() {
        let top = Top::new("own");
        let path = top.write("home/.config/mantlet/mantlet.toml");
        let loaded = load(Some(&path), &top.host()).unwrap().unwrap();
        assert_eq!(loaded.policy.agents().len(), 1);
        assert_eq!(loaded.file, Some(path));
    }

    #[test]
    fn a_file_that_others_can_write_is_refused_at_every_level() {
        let top = Top::new("shared");
        let path = top.write("home/.config/mantlet/mantlet.toml");
        for (at, closed, open) in [
            ("home/.config/mantlet/mantlet.toml", 0o644, 0o664),
            ("home/.config", 0o755, 0o775),
            ("home", 0o755, 0o777),
        ] {
            chmod(&top.0.join(at), open);
            assert!(refusal(&top, &path).contains("can be written by other users"), "{at}");
            chmod(&top.0.join(at), closed);
            assert!(load(Some(&path), &top.host()).is_ok(), "{at}");
        }
    }

    #[test]
    fn a_sticky_directory_is_as_safe_as_its_entries() {
        let top = Top::new("sticky");
        let path = top.write("home/.config/mantlet/mantlet.toml");
        chmod(&top.0.join("home"), 0o1777);
        assert!(load(Some(&path), &top.host()).is_ok());
    }

    #[test]
    fn a_file_of_another_user_is_refused() {
        let top = Top::new("other");
        let path = top.write("home/mantlet.toml");
        let caller = rustix::process::getuid().as_raw();
        assert!(open_trusted(&path, caller).is_ok());
        // The same way judged for a caller who owns none of it; root's files are everybody's.
        let judged = open_trusted(&path, 54321);
        assert_eq!(judged.is_err(), caller != 0);
        assert!(!is_owner_trusted(54321, FileType::RegularFile, caller));
        assert!(!is_owner_trusted(UNMAPPED, FileType::RegularFile, caller));
    }

    #[test]
    fn a_symlink_is_followed_on_the_way_and_refused_at_the_end() {
        let top = Top::new("link");
        let path = top.write("home/.config/mantlet/mantlet.toml");
        symlink(&path, top.0.join("home/last.toml")).unwrap();
        symlink(".config/../.config", top.0.join("home/conf")).unwrap();
        assert!(refusal(&top, &top.0.join("home/last.toml")).contains("is a symlink"));
        assert!(load(Some(&top.0.join("home/conf/mantlet/mantlet.toml")), &top.host()).is_ok());
        symlink("loop", top.0.join("home/loop")).unwrap();
        assert!(load(Some(&top.0.join("home/loop/x")), &top.host()).is_err());
    }

    #[test]
    fn a_policy_that_the_agent_can_write_is_refused() {
        let top = Top::new("agent");
        let inside = top.write("home/ws/mantlet.toml");
        assert!(refusal(&top, &inside).contains("agent `main` can write"));
        // A link in the workspace that leads to a safe file is as good as writing the file.
        top.write("home/.config/mantlet/mantlet.toml");
        symlink("../.config", top.0.join("home/ws/conf")).unwrap();
        assert!(refusal(&top, &top.0.join("home/ws/conf/mantlet/mantlet.toml")).contains("agent `main` can write"));
    }

    #[test]
    fn a_policy_that_shows_the_state_directory_is_refused() {
        let top = Top::new("state");
        let path = top.write("home/.config/mantlet/mantlet.toml");
        fs::create_dir_all(top.0.join("home/.local/state/mantlet/ledger")).unwrap();
        fs::create_dir_all(top.0.join("home/.local/share")).unwrap();
        symlink(".local/state", top.0.join("home/other")).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        let read = |place: &str| fs::write(&path, format!("{text}files.read = [\"~/{place}\"]\n")).unwrap();
        for place in [".local", ".local/state", ".local/state/mantlet", ".local/state/mantlet/ledger", "other"] {
            read(place);
            assert!(refusal(&top, &path).contains("which is Mantlet's own"), "{place}");
        }
        read(".local/share");
        assert!(load(Some(&path), &top.host()).is_ok());
    }

    #[test]
    fn what_is_not_a_small_text_file_is_refused() {
        let top = Top::new("text");
        let path = top.0.join("home/big.toml");
        fs::write(&path, vec![b'#'; (MAX_BYTES + 1) as usize]).unwrap();
        chmod(&path, 0o644);
        assert!(refusal(&top, &path).contains("1 MiB"));
        fs::write(&path, b"version = 1 # \xff").unwrap();
        assert!(refusal(&top, &path).contains("byte 14 is not UTF-8"));
        assert!(refusal(&top, &top.0.join("home")).contains("directory"));
        assert!(refusal(&top, &top.0.join("nowhere")).contains("cannot read"));
        assert!(refusal(&top, Path::new("/dev/null")).contains("not"));
    }

    #[test]
    fn the_agent_is_named_or_the_only_one() {
        let top = Top::new("select");
        let ws = top.0.join("home/ws");
        let section =
            |name: &str, client: &str| format!("[agent.{name}]\nrole = \"builder\"\nworkspace = {ws:?}\n{client}\n");
        let parse =
            |text: &str| mantlet_policy::parse(&format!("version = 1\n{text}"), Path::new("p"), &top.host()).unwrap();
        let claude = "client = \"claude\"";
        let one = parse(&section("a", claude));
        assert_eq!(select(&one, None, None).unwrap().name(), "a");
        assert_eq!(select(&one, None, Some("claude")).unwrap().name(), "a");
        assert!(select(&one, None, Some("openclaw")).is_err());
        assert!(select(&one, Some("b"), None).is_err());
        assert!(select(&one, Some("a"), Some("openclaw")).is_err());
        let two = parse(&(section("a", claude) + &section("b", claude)));
        assert!(select(&two, None, None).is_err() && select(&two, None, Some("claude")).is_err());
        assert_eq!(select(&two, Some("b"), Some("claude")).unwrap().name(), "b");
    }

    #[test]
    fn only_a_file_that_nobody_named_may_be_missing() {
        let top = Top::new("missing");
        let path = top.0.join("home/.config/mantlet/mantlet.toml");
        assert!(load_at(path.clone(), false, &top.host()).unwrap().is_none());
        assert!(load_at(path.clone(), true, &top.host()).is_err());
        chmod(&top.0.join("home"), 0o777);
        assert!(load_at(path.clone(), false, &top.host()).unwrap().is_none());
        chmod(&top.0.join("home"), 0o755);
        fs::create_dir(&path).unwrap();
        assert!(load_at(path, false, &top.host()).is_err());
    }
}

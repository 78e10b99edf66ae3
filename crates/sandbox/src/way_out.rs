//! What a call has of the way out and in, compiled from the policy; and the policy's file, followed while the jail runs.

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read as _};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use mantlet_clients::Authentication;
use mantlet_policy::Agent;
use rustix::fs::{Mode, OFlags};

use crate::channel::Begin;
use crate::host::RealHost;
use crate::plan::{Place, Plan, Refusal};
use crate::request::Request;
use crate::source::{self, Loaded};

/// The ports that nobody in a jail can listen on: they are taken whole.
const LOW: u16 = 1024;

/// The way out of one call, and the way in.
#[derive(Debug)]
pub(crate) struct WayOut {
    /// Ports below 1024 that something is allowed on.
    pub(crate) low: Vec<u16>,
    /// Ports, as a report shows them.
    pub(crate) shown: Vec<String>,
    /// What of it nothing inside is judged, or only the name.
    pub(crate) is_by_name_only: bool,
    /// The host's listeners for what is published, bound before anything starts.
    pub(crate) doors: Vec<OwnedFd>,
    pub(crate) published: Vec<SocketAddr>,
    /// For the serving process.
    pub(crate) begin: Begin,
    pub(crate) text: String,
    /// The program that serves where no daemon does; without it nobody may.
    pub(crate) server: Option<PathBuf>,
    pub(crate) followed: Followed,
    /// The gateway's own configuration, where something is published beyond this host.
    pub(crate) gateway: Option<PathBuf>,
}

/// The policy's file.
#[derive(Debug, Clone)]
pub(crate) struct Followed {
    file: PathBuf,
    agent: String,
    host: RealHost,
    stamp: Stamp,
}

/// What of a file tells that it may have changed.
type Stamp = Option<(u64, u64, i64, i64, i64, i64)>;

/// A policy that was changed.
pub(crate) struct Changed {
    pub(crate) text: String,
    pub(crate) hash: String,
    pub(crate) low: Vec<u16>,
}

/// What the way out is compiled from.
pub(crate) struct Sources<'a> {
    pub(crate) request: &'a Request,
    pub(crate) agent: &'a Agent,
    pub(crate) loaded: &'a Loaded,
    pub(crate) host: &'a RealHost,
    /// Words between `mantlet allow` and `--agent`.
    pub(crate) words: String,
    /// Where the client keeps its configuration.
    pub(crate) gateway: Option<PathBuf>,
}

/// Compiles the way out; nothing when the policy opens none.
///
/// # Errors
/// A port of the host that is taken, or no program to serve.
pub(crate) fn compile(sources: Sources<'_>) -> Result<Option<WayOut>, Refusal> {
    let Sources { request, agent, loaded, host, words, gateway } = sources;
    let Some(file) = loaded.file.clone() else { return Ok(None) };
    let egress = agent.egress();
    let published = if request.whole.is_some() { agent.publish().addresses() } else { &[] };
    if egress.is_closed() && published.is_empty() && !request.is_learning {
        return Ok(None);
    }
    let is_dry = request.whole.is_some_and(|whole| whole.is_dry);
    let opened = published.iter().filter(|_| !is_dry).map(|address| door(*address));
    let is_exposed = published.iter().any(|address| !address.ip().is_loopback());
    let ports = egress.destination_ports();
    let shown = ports.iter().map(|port| format!("{port} {}", egress.protocol(*port).word())).collect();
    Ok(Some(WayOut {
        low: low(&ports),
        shown,
        is_by_name_only: ports.iter().any(|port| egress.protocol(*port) != mantlet_policy::Protocol::Http),
        doors: opened.collect::<Result<_, _>>()?,
        published: published.to_vec(),
        begin: Begin {
            agent: agent.name().to_owned(),
            source: words,
            file: file.to_string_lossy().into_owned(),
            home: mantlet_policy::Host::home(host).to_string_lossy().into_owned(),
        },
        text: loaded.text.clone(),
        server: server(),
        followed: Followed::new(file, agent.name(), host),
        gateway: gateway.filter(|_| is_exposed),
    }))
}

fn low(ports: &[u16]) -> Vec<u16> {
    ports.iter().copied().filter(|port| *port < LOW).collect()
}

/// Binds what is published.
fn door(address: SocketAddr) -> Result<OwnedFd, Refusal> {
    let is_taken =
        |bound: &io::Result<TcpListener>| bound.as_ref().is_err_and(|e| e.kind() == io::ErrorKind::AddrInUse);
    let mut bound = TcpListener::bind(address);
    // The monitor of a run that has just ended holds its doors a moment longer than its client lives: who starts it again at
    // once, as a service manager does, is not to fail.
    for _ in 0..60 {
        if !is_taken(&bound) {
            break;
        }
        thread::sleep(Duration::from_millis(50));
        bound = TcpListener::bind(address);
    }
    let listener = bound.map_err(|e| {
        Refusal::new(format!("cannot publish {address}: {e}"))
            .hint("end what listens there, perhaps an agent without a jail, or publish another port")
    })?;
    Ok(listener.into())
}

/// The program beside this one.
fn server() -> Option<PathBuf> {
    let own = std::env::current_exe().ok()?;
    Some(own.with_file_name("mantlet")).filter(|server| server.is_file())
}

impl WayOut {
    /// Refuses a jail that could replace the program which serves it.
    ///
    /// The attack: mantlet is installed in the workspace, and a server is started when the jail first asks for something.
    /// What the jail has put in its place by then runs outside, with all rights of the owner.
    ///
    /// # Errors
    /// Such a place.
    pub(crate) fn is_out_of_reach(&self, places: &[Place]) -> Result<(), Refusal> {
        let Some(named) = &self.server else { return Ok(()) };
        let real = std::fs::canonicalize(named).map_err(|e| Refusal::new(format!("cannot find {named:?}: {e}")))?;
        let is_in = |place: &&Place| [named, &real].iter().any(|path| path.starts_with(&place.source));
        match places.iter().filter(|place| place.is_writable).find(is_in) {
            None => Ok(()),
            Some(place) => {
                let what = format!("the program that serves the way out, {named:?}, lies in {:?}", place.target);
                Err(Refusal::new(format!("{what}, which the agent can write"))
                    .hint("install mantlet outside of what agents write, for example in /usr/local/bin"))
            }
        }
    }
}

fn stamp(file: &Path) -> Stamp {
    let meta = std::fs::metadata(file).ok()?;
    Some((meta.dev(), meta.ino(), meta.mtime(), meta.mtime_nsec(), meta.ctime(), meta.ctime_nsec()))
}

/// Whether a gateway asks who comes in, with the words and the environment that it was started with.
///
/// # Errors
/// Why it does not, or why nobody can tell.
pub(crate) fn authenticates(file: &Path, plan: &Plan) -> Result<(), String> {
    let text = settings(file).map_err(|e| format!("its settings cannot be read: {}", e.kind()))?;
    let words: Vec<String> = plan.argv.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    let variable = |name: &str| {
        let set = |line: &CString| line.to_str().ok()?.strip_prefix(name)?.strip_prefix('=').map(str::to_owned);
        plan.env.iter().find_map(set)
    };
    match mantlet_clients::authentication(&text, &words, &variable) {
        Authentication::Authenticates => Ok(()),
        Authentication::None(why) => Err(format!("the gateway has no authentication: {why}")),
        Authentication::Unknown(why) => Err(format!("nobody can tell whether the gateway authenticates: {why}")),
    }
}

/// The attack: settings that the agent has replaced (G-25) by a FIFO, for which the monitor would wait, or by what never ends.
fn settings(file: &Path) -> io::Result<String> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let mut text = String::new();
    File::from(rustix::fs::open(file, flags, Mode::empty())?).take(1 << 20).read_to_string(&mut text)?;
    Ok(text)
}

impl Followed {
    /// Nothing is known yet of the file as it was read, which may be a while ago: the first look reads it in any case.
    fn new(file: PathBuf, agent: &str, host: &RealHost) -> Followed {
        Followed { file, agent: agent.to_owned(), host: host.clone(), stamp: None }
    }

    /// Looks whether the policy may have changed. `Err`: it is not valid now, or there is none; the old one stays.
    pub(crate) fn look(&mut self) -> Option<Result<Changed, String>> {
        let now = stamp(&self.file);
        if now == self.stamp {
            return None;
        }
        self.stamp = now;
        let loaded = match source::load(Some(&self.file), &self.host) {
            Ok(Some(loaded)) => loaded,
            Ok(None) => return Some(Err("it is gone".into())),
            Err(e) => return Some(Err(e.to_string())),
        };
        Some(match loaded.policy.agent(&self.agent) {
            None => Err(format!("it has no agent `{}` any more", self.agent)),
            Some(agent) => Ok(Changed {
                low: low(&agent.egress().destination_ports()),
                hash: loaded.policy.hash().to_owned(),
                text: loaded.text,
            }),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The attack of a moment: the owner takes something out of the policy while a call that has read it is on its way.
    #[test]
    fn a_policy_that_changed_before_it_was_followed_is_read() {
        let home = std::env::temp_dir().join(format!("mantlet-followed-{}", std::process::id()));
        std::fs::create_dir_all(home.join("work")).unwrap();
        let file = home.join("mantlet.toml");
        let text = format!("version = 1\n[agent.main]\nrole = \"builder\"\nworkspace = {:?}\n", home.join("work"));
        std::fs::write(&file, &text).unwrap();
        std::fs::set_permissions(&home, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
        let mut followed = Followed::new(file, "main", &RealHost::at(&home, |_| None).unwrap());
        assert_eq!(followed.look().unwrap().ok().unwrap().text, text);
        assert!(followed.look().is_none());
        std::fs::remove_dir_all(&home).unwrap();
    }

    #[test]
    fn a_door_that_is_being_let_go_is_waited_for_and_a_kept_one_refused() {
        let held = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = held.local_addr().unwrap();
        let holder = thread::spawn(move || {
            thread::sleep(Duration::from_millis(300));
            drop(held);
        });
        let kept = door(address).unwrap();
        holder.join().unwrap();
        assert!(door(address).unwrap_err().to_string().contains("cannot publish 127.0.0.1"));
        drop(kept);
    }

    #[test]
    fn settings_that_are_no_plain_file_hold_nobody_up() {
        let fifo = std::env::temp_dir().join(format!("mantlet-settings-{}", std::process::id()));
        rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, Mode::RUSR | Mode::WUSR).unwrap();
        assert_eq!(settings(&fifo).unwrap(), "");
        std::fs::remove_file(&fifo).unwrap();
        assert!(settings(Path::new("/dev/zero")).unwrap().len() == 1 << 20);
    }
}

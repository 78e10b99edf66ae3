//! Serving one jail: what its monitor says becomes the room's server, and what happens there goes back to the monitor.

use std::io;
use std::net::{TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use mantlet_egress::{Control, Door, Event, Rules, Server, Settings, Sockets};
use mantlet_sandbox::channel::{self, Begin, Channel, SocketKind, Word};

use crate::told;

/// Serves the jail of the monitor at the other end of standard input, and returns when that is over.
pub fn serve_one() {
    let Ok(socket) = rustix::io::dup(rustix::stdio::stdin()) else { return };
    let channel = Arc::new(Channel::new(socket));
    raise_descriptors();
    match mantlet_sandbox::confine_server() {
        Ok(how) => serve(&channel, &format!("served by a process of its own ({how})")),
        Err(e) => channel.unable(&format!("the process that serves it could not be confined: {e}")),
    }
}

/// Raises the limit of open files: a connection takes two, and a jail may have thousands of them.
pub fn raise_descriptors() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // A limit that cannot be raised bounds the connections, which are refused then.
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).ok();
}

/// Serves a jail until its monitor says that it is dead, or is gone.
pub(crate) fn serve(channel: &Arc<Channel>, how: &str) {
    let mut jail: Option<Jail> = None;
    loop {
        let done = match (channel.receive(), &mut jail) {
            (Ok(Some(Word::Begin(begin, text))), None) => match Jail::begin(channel, begin, &text) {
                Ok(begun) => {
                    jail = Some(begun);
                    channel.serving(how);
                    Ok(())
                }
                Err(why) => Err(why),
            },
            (Ok(Some(Word::Sockets(sockets))), Some(jail)) => jail.add(sockets),
            (Ok(Some(Word::Reload(text))), Some(jail)) => jail.reload(&text),
            (Ok(Some(Word::Exposed(exposed))), Some(jail)) => {
                *jail.exposed.lock().unwrap_or_else(PoisonError::into_inner) = exposed;
                Ok(())
            }
            (Ok(Some(Word::End) | None), _) => break,
            (Ok(Some(_)), _) => Err("the monitor's words came in the wrong order".to_owned()),
            (Err(e), _) => Err(e.to_string()),
        };
        if let Err(why) = done {
            channel.unable(&why);
            break;
        }
    }
    if let Some(jail) = jail {
        jail.end();
    }
    channel.over();
}

/// One jail, served by a thread of its own.
struct Jail {
    begin: Begin,
    control: Control,
    exposed: Arc<Mutex<Result<(), String>>>,
    thread: JoinHandle<io::Result<()>>,
}

impl Jail {
    fn begin(channel: &Arc<Channel>, begin: Begin, text: &str) -> Result<Jail, String> {
        let rules = rules(&begin, text)?;
        let exposed = Arc::new(Mutex::new(Err("nobody has said yet whether the gateway authenticates".to_owned())));
        let events = Arc::clone(channel);
        let record = move |event: Event| events.tell(&told(event));
        let (asks, gate) = (Arc::clone(channel), Arc::clone(&exposed));
        let owner = channel.owner().map_err(|e| format!("nobody says whom this serves: {e}"))?;
        let settings = Settings {
            // Not this process's own uid: the servers of other jails have the same one.
            owner: Some(owner),
            more: Some(Arc::new(move |_| asks.more())),
            exposed: Some(Arc::new(move || gate.lock().unwrap_or_else(PoisonError::into_inner).clone())),
            ..Settings::default()
        };
        let (server, control) = Server::new(rules, settings, Arc::new(record));
        let thread = thread::Builder::new().name("jail".into()).spawn(move || server.run(Sockets::default()));
        let thread = thread.map_err(|e| format!("no thread can be started: {e}"))?;
        Ok(Jail { begin, control, exposed, thread })
    }

    fn add(&self, sockets: channel::Sockets) -> Result<(), String> {
        let mut sorted = Sockets::default();
        for (kind, socket) in sockets {
            match kind {
                SocketKind::DnsUdp => sorted.dns_udp.push(UdpSocket::from(socket)),
                SocketKind::DnsTcp => sorted.dns_tcp.push(TcpListener::from(socket)),
                SocketKind::Capture => sorted.capture.push(TcpListener::from(socket)),
                SocketKind::Proxy => sorted.proxy.push(TcpListener::from(socket)),
                SocketKind::Loose => sorted.inward.push(socket),
                SocketKind::Door => {
                    let listener = TcpListener::from(socket);
                    let port = listener.local_addr().map_err(|e| e.to_string())?.port();
                    sorted.doors.push(Door { listener, port });
                }
                SocketKind::Namespace => return Err("a namespace is not to be served".into()),
            }
        }
        if self.control.add(sorted) { Ok(()) } else { Err("the server has ended".into()) }
    }

    /// Puts a policy in force that the monitor has read. It parsed there, so that one which does not here is no policy.
    fn reload(&self, text: &str) -> Result<(), String> {
        self.control.reload(rules(&self.begin, text)?);
        Ok(())
    }

    /// Cuts what is open, and waits until it was told.
    fn end(self) {
        drop(self.control);
        // It ends with its control; a panic in it aborts the process.
        drop(self.thread.join());
    }
}

fn rules(begin: &Begin, text: &str) -> Result<Rules, String> {
    let host = OwnersHost { home: PathBuf::from(&begin.home) };
    let policy = mantlet_policy::parse(text, Path::new(&begin.file), &host).map_err(|e| e.to_string())?;
    let agent = policy.agent(&begin.agent).ok_or_else(|| format!("the policy has no agent `{}`", begin.agent))?;
    Rules::compile(agent, &begin.source).map_err(|e| e.to_string())
}

/// The owner's machine, as far as names of hosts depend on it: not at all. Paths are the monitor's to judge, which has
/// judged them; this process sees none.
struct OwnersHost {
    home: PathBuf,
}

impl mantlet_policy::Host for OwnersHost {
    fn home(&self) -> &Path {
        &self.home
    }

    fn state_dirs(&self) -> &[PathBuf] {
        &[]
    }

    fn canonical(&self, path: &Path) -> io::Result<PathBuf> {
        Ok(path.components().collect())
    }
}

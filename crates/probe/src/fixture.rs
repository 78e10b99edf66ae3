//! What is planted in a world before an attack: files, listeners, processes, keys, descriptors.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io::{self, BufRead as _, Write as _};
use std::net::{TcpListener, UdpSocket};
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::fs::{Mode, OFlags};

use crate::corpus::{FdHow, FdStep, FileStep, IpcKind, IpcStep, KeyStep, ListenStep, ProcessStep, Ring, Step};
use crate::sys::{ipc, keys};
use crate::world::PROBE;

/// Where a terminal's keystrokes are written after the command on it has ended.
pub(crate) const KEYSTROKES: &str = "/run/mantlet-keystrokes";
/// The descriptor under which a sleeping process holds its file.
const HELD: i32 = 7;

/// Everything planted, and the words that stand for it in commands.
pub(crate) struct Planted {
    words: BTreeMap<String, String>,
    /// The environment that commands are started with.
    pub env: Vec<(String, String)>,
    /// Processes, by name.
    pub processes: BTreeMap<String, Child>,
    /// What listeners were told.
    pub heard: Arc<Mutex<Vec<u8>>>,
    /// Descriptors that commands inherit; kept open.
    inherited: Vec<OwnedFd>,
    /// Whether the command is started on a terminal.
    pub has_terminal: bool,
    /// A keyring key that outlives this world if it is not revoked.
    lasting: Vec<i64>,
}

impl Planted {
    /// Starts with the words every case may use.
    pub(crate) fn new(words: BTreeMap<String, String>, env: Vec<(String, String)>) -> Planted {
        Planted {
            words,
            env,
            processes: BTreeMap::new(),
            heard: Arc::default(),
            inherited: Vec::new(),
            has_terminal: false,
            lasting: Vec::new(),
        }
    }

    /// Replaces `{word}` by what it stands for.
    pub(crate) fn fill(&self, text: &str) -> String {
        let mut out = text.to_owned();
        for (word, value) in &self.words {
            if out.contains(word.as_str()) {
                out = out.replace(word.as_str(), value);
            }
        }
        out
    }

    /// Plants one thing.
    ///
    /// # Errors
    /// Whatever the kernel says.
    pub(crate) fn plant(&mut self, step: &Step) -> io::Result<()> {
        match step {
            Step::File(f) => self.file(f),
            Step::Dir(d) => fs::create_dir_all(self.fill(d)),
            Step::Sh(line) => self.shell(line),
            Step::Env(e) => {
                let value = self.fill(&e.value);
                self.env.push((e.name.clone(), value));
                Ok(())
            }
            Step::Listen(l) => self.listen(l),
            Step::Process(p) => self.process(p),
            Step::Key(k) => self.key(k),
            Step::Ipc(i) => self.ipc(i),
            Step::Fd(f) => self.descriptor(f),
            Step::Terminal(_) => {
                self.has_terminal = true;
                Ok(())
            }
        }
    }

    /// Takes away what a world's end does not.
    pub(crate) fn clear(&mut self) {
        for key in self.lasting.drain(..) {
            // The key expires by itself within a minute, so a failure here leaves nothing behind.
            drop(keys::revoke(key));
        }
    }

    fn file(&self, step: &FileStep) -> io::Result<()> {
        let path = self.fill(&step.path);
        if let Some(parent) = Path::new(&path).parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(&path, self.fill(&step.text))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(step.mode))
    }

    fn shell(&self, line: &str) -> io::Result<()> {
        let line = self.fill(line);
        let mut command = Command::new("/bin/sh");
        command.args(["-e", "-c", &line]).env_clear().envs(self.env.iter().cloned()).stdin(Stdio::null());
        command.current_dir(self.fill("{ws}"));
        let out = command.output()?;
        if out.status.success() {
            return Ok(());
        }
        Err(io::Error::other(format!("`{line}`: {}: {}", out.status, String::from_utf8_lossy(&out.stderr))))
    }

    fn listen(&self, step: &ListenStep) -> io::Result<()> {
        let (at, says) = (self.fill(&step.at), self.fill(&step.says).into_bytes());
        let (kind, place) = at.split_once(':').unwrap_or(("", ""));
        let heard = Arc::clone(&self.heard);
        match kind {
            "unix" | "abstract" => {
                let listener = if kind == "unix" {
                    make_parent(place)?;
                    UnixListener::bind(place)?
                } else {
                    UnixListener::bind_addr(&std::os::unix::net::SocketAddr::from_abstract_name(place)?)?
                };
                std::thread::spawn(move || serve(listener.incoming(), &says, &heard));
            }
            "tcp" => {
                let listener = TcpListener::bind(place)?;
                std::thread::spawn(move || serve(listener.incoming(), &says, &heard));
            }
            "udp" => {
                let socket = UdpSocket::bind(place)?;
                std::thread::spawn(move || {
                    let mut buf = [0u8; 4096];
                    while let Ok((n, from)) = socket.recv_from(&mut buf) {
                        hear(&heard, &buf[..n]);
                        drop(socket.send_to(&says, from));
                    }
                });
            }
            "dgram" => {
                make_parent(place)?;
                let socket = UnixDatagram::bind(place)?;
                std::thread::spawn(move || {
                    let mut buf = [0u8; 4096];
                    while let Ok(n) = socket.recv(&mut buf) {
                        hear(&heard, &buf[..n]);
                    }
                });
            }
            _ => return Err(io::Error::other(format!("`{at}` is no place to listen"))),
        }
        Ok(())
    }

    fn process(&mut self, step: &ProcessStep) -> io::Result<()> {
        let mut command = Command::new(PROBE);
        command.arg("sleeper").args(step.words.iter().map(|w| self.fill(w))).env_clear();
        command.envs(step.env.iter().map(|(k, v)| (k.clone(), self.fill(v))));
        if let Some(path) = &step.holds {
            command.env("PROBE_HOLDS", self.fill(path));
        }
        command.current_dir(self.fill(step.cwd.as_deref().unwrap_or("{home}")));
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        if let Some(out) = child.stdout.take() {
            io::BufReader::new(out).read_line(&mut line)?;
        }
        if line != "ready\n" {
            return Err(io::Error::other("the owner's process did not get ready"));
        }
        self.words.insert(format!("{{pid:{}}}", step.name), child.id().to_string());
        self.processes.insert(step.name.clone(), child);
        Ok(())
    }

    fn key(&mut self, step: &KeyStep) -> io::Result<()> {
        let ring = match step.ring {
            Ring::Session => {
                keys::join_session()?;
                keys::SESSION
            }
            Ring::User => keys::USER,
            Ring::Process => keys::PROCESS,
        };
        let key = keys::add(ring, &self.fill(&step.name), self.fill(&step.text).as_bytes())?;
        // Root's user keyring is the real one: a key there must not outlive this minute even if this process is killed now.
        keys::expire_after(key, 60)?;
        keys::open_to_owner(key)?;
        self.words.insert("{key}".to_owned(), key.to_string());
        self.lasting.push(key);
        Ok(())
    }

    fn ipc(&self, step: &IpcStep) -> io::Result<()> {
        let text = self.fill(&step.text);
        let number = || step.key.parse::<i32>().map_err(io::Error::other);
        match step.kind {
            IpcKind::Shm => ipc::shm_make(number()?, text.as_bytes()),
            IpcKind::Msg => ipc::msg_send(number()?, text.as_bytes()),
            IpcKind::Sem => ipc::sem_make(number()?, text.parse().map_err(io::Error::other)?),
            IpcKind::Mq => ipc::mq_send(&step.key, text.as_bytes()),
        }
    }

    fn descriptor(&mut self, step: &FdStep) -> io::Result<()> {
        let path = self.fill(&step.path);
        let open = |flags| Ok::<_, io::Error>(rustix::fs::open(&path, flags | OFlags::CLOEXEC, Mode::empty())?);
        let fd: OwnedFd = match step.how {
            FdHow::Read => open(OFlags::RDONLY)?,
            FdHow::Append => open(OFlags::WRONLY | OFlags::APPEND)?,
            FdHow::Dir => open(OFlags::RDONLY | OFlags::DIRECTORY)?,
            FdHow::Path => open(OFlags::PATH)?,
            FdHow::Unix => UnixStream::connect(&path)?.into(),
            FdHow::Memfd => {
                let memfd = crate::sys::kernel::memfd()?;
                let mut file = fs::File::from(memfd);
                file.write_all(&fs::read(&path)?)?;
                file.into()
            }
        };
        let numbered = rustix::io::fcntl_dupfd_cloexec(&fd, step.number)?;
        if numbered.as_raw_fd() != step.number {
            return Err(io::Error::other(format!("descriptor {} is taken", step.number)));
        }
        rustix::io::fcntl_setfd(numbered.as_fd(), rustix::io::FdFlags::empty())?;
        self.inherited.push(numbered);
        Ok(())
    }
}

fn make_parent(place: &str) -> io::Result<()> {
    Path::new(place).parent().map_or(Ok(()), fs::create_dir_all)
}

fn hear(heard: &Mutex<Vec<u8>>, bytes: &[u8]) {
    if let Ok(mut all) = heard.lock() {
        all.extend_from_slice(bytes);
    }
}

/// Answers every caller, and remembers what each said first.
fn serve<S: io::Read + io::Write>(callers: impl Iterator<Item = io::Result<S>>, says: &[u8], heard: &Mutex<Vec<u8>>) {
    for mut caller in callers.flatten() {
        if caller.write_all(says).is_err() {
            continue;
        }
        let mut buf = [0u8; 4096];
        if let Ok(n) = caller.read(&mut buf) {
            hear(heard, &buf[..n]);
        }
    }
}

/// Is a process of the owner's: holds what it was told to, says so, sleeps.
pub(crate) fn sleep_as_fixture() -> ExitCode {
    let held = std::env::var_os("PROBE_HOLDS").map(|path| -> io::Result<OwnedFd> {
        let fd = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        Ok(rustix::io::fcntl_dupfd_cloexec(&fd, HELD)?)
    });
    if matches!(held, Some(Err(_))) {
        return ExitCode::FAILURE;
    }
    // On a kernel without Yama there is nothing to allow.
    drop(crate::sys::world::allow_tracers());
    if io::stdout().write_all(b"ready\n").is_err() {
        return ExitCode::FAILURE;
    }
    std::thread::sleep(Duration::from_secs(120));
    drop(held);
    ExitCode::SUCCESS
}

/// Takes standard input as controlling terminal, runs a program on it, and notes what its owner would then seem to have typed.
pub(crate) fn on_terminal(words: &[OsString]) -> io::Error {
    match on_terminal_inner(words) {
        Ok(code) => {
            // The command's own exit code is passed on; there is nothing left to unwind.
            std::process::exit(code)
        }
        Err(e) => e,
    }
}

fn on_terminal_inner(words: &[OsString]) -> io::Result<i32> {
    crate::sys::world::take_terminal()?;
    let (program, rest) = words.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    let status = Command::new(program).args(rest).status()?;
    let stdin = io::stdin();
    rustix::fs::fcntl_setfl(&stdin, OFlags::NONBLOCK)?;
    let mut typed = Vec::new();
    let mut buf = [0u8; 4096];
    // WouldBlock is the normal end: nobody typed anything more.
    while let Ok(n) = rustix::io::read(&stdin, &mut buf) {
        if n == 0 {
            break;
        }
        typed.extend_from_slice(&buf[..n]);
    }
    fs::write(KEYSTROKES, typed)?;
    Ok(status.code().unwrap_or(1))
}

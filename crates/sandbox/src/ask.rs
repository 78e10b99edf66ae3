//! How a process in a whole agent's jail asks for a jail of its own: the request as bytes, and the asking side.
//!
//! A request names a command, its environment, where it starts and what it is called: never a policy, an agent, a
//! workspace or a place. Those are the supervisor's. Both sides are written for a peer that lies.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use crate::client::{self, Peer};
use crate::init::Stdio;
use crate::layout;
use crate::plan::Refusal;
use crate::report::Outcome;
use crate::request::{Access, Command, Kind, Request, TerminalSize};
use crate::streams;
use crate::wire::{self, Tag};

/// The longest request: a command of any length a client sends, and its environment.
pub(crate) const MOST_REQUEST: usize = 4 << 20;
/// The most records in one: words, variables.
const MOST_RECORDS: usize = 100_000;

/// What a jail asks for.
#[derive(Debug, Default)]
pub(crate) struct Asking {
    /// Command, environment, labels, timeout and terminal. Nothing else of it is ever sent.
    pub(crate) request: Request,
    /// The current directory of the asker.
    pub(crate) here: Option<PathBuf>,
}

/// The kinds of records. Each is this byte, a length of four bytes, and as many bytes.
#[derive(Clone, Copy)]
#[repr(u8)]
enum Key {
    Word = 1,
    Line,
    Files,
    Variable,
    Here,
    Cwd,
    Workspace,
    Timeout,
    Terminal,
    Session,
    Run,
    Report,
    Service,
}

const KEYS: [Key; 13] = [
    Key::Word,
    Key::Line,
    Key::Files,
    Key::Variable,
    Key::Here,
    Key::Cwd,
    Key::Workspace,
    Key::Timeout,
    Key::Terminal,
    Key::Session,
    Key::Run,
    Key::Report,
    Key::Service,
];

/// Writes a request as bytes.
pub(crate) fn encode(request: &Request, here: Option<&Path>) -> Vec<u8> {
    let mut out = Vec::new();
    let mut add = |key: Key, bytes: &[u8]| {
        out.push(key as u8);
        out.extend_from_slice(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes());
        out.extend_from_slice(bytes);
    };
    match &request.command {
        Command::Argv(words) => words.iter().for_each(|word| add(Key::Word, word.as_bytes())),
        Command::Shell(line) => add(Key::Line, line.as_bytes()),
        Command::Files(access, words) => {
            add(Key::Files, if *access == Access::Read { b"read" } else { b"write" });
            words.iter().for_each(|word| add(Key::Word, word.as_bytes()));
        }
    }
    for (name, value) in &request.env {
        let mut pair = name.clone();
        pair.push("=");
        pair.push(value);
        add(Key::Variable, pair.as_bytes());
    }
    let texts = [(Key::Session, &request.session), (Key::Run, &request.run)];
    texts.iter().for_each(|(key, text)| text.iter().for_each(|text| add(*key, text.as_bytes())));
    let paths = [(Key::Here, here), (Key::Cwd, request.cwd.as_deref()), (Key::Workspace, request.workspace.as_deref())];
    paths.iter().for_each(|(key, path)| path.iter().for_each(|path| add(*key, path.as_os_str().as_bytes())));
    if let Some(timeout) = request.timeout {
        add(Key::Timeout, &u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX).to_le_bytes());
    }
    if let Some(size) = request.terminal {
        let [a, b, c, d] = size.to_payload();
        add(Key::Terminal, &[a, b, c, d, request.terminal_streams]);
    }
    if request.report.is_some() {
        add(Key::Report, b"");
    }
    if request.kind == Kind::Service {
        add(Key::Service, b"");
    }
    out
}

/// Reads a request. What is not one is said in a few words of our own, never in the sender's.
pub(crate) fn decode(mut bytes: &[u8]) -> Result<Asking, &'static str> {
    let (mut asking, mut words, mut line, mut files) = (Asking::default(), Vec::new(), None, None);
    let request = &mut asking.request;
    for _ in 0..=MOST_RECORDS {
        let Some((key, rest)) = bytes.split_first() else {
            request.command = match (line, files) {
                (None, Some(access)) => Command::Files(access, words),
                (Some(line), None) if words.is_empty() => Command::Shell(line),
                (None, None) if !words.is_empty() => Command::Argv(words),
                _ => return Err("it names no command, or more than one"),
            };
            return Ok(asking);
        };
        let key = KEYS.into_iter().find(|known| *known as u8 == *key).ok_or("a record of an unknown kind")?;
        let (size, rest) = rest.split_first_chunk::<4>().ok_or("a record is cut off")?;
        let size = usize::try_from(u32::from_le_bytes(*size)).map_err(|_| "a record is too long")?;
        let (value, rest) = rest.split_at_checked(size).ok_or("a record is cut off")?;
        bytes = rest;
        if value.contains(&0) && !matches!(key, Key::Timeout | Key::Terminal) {
            return Err("a record holds a NUL byte");
        }
        let text = || OsString::from_vec(value.to_vec());
        match key {
            Key::Word => words.push(text()),
            Key::Line => once(&mut line, text())?,
            Key::Files => once(&mut files, access(value)?)?,
            Key::Variable => request.env.push(variable(value)?),
            Key::Here => once(&mut asking.here, PathBuf::from(text()))?,
            Key::Cwd => once(&mut request.cwd, PathBuf::from(text()))?,
            Key::Workspace => once(&mut request.workspace, PathBuf::from(text()))?,
            Key::Timeout => {
                let millis = value.try_into().map_err(|_| "a timeout is not one")?;
                once(&mut request.timeout, Duration::from_millis(u64::from_le_bytes(millis)))?;
            }
            Key::Terminal => {
                let (streams, size) = value.split_last().ok_or("a terminal has no size")?;
                request.terminal_streams = *streams;
                once(&mut request.terminal, terminal(size)?)?;
            }
            Key::Session => once(&mut request.session, text())?,
            Key::Run => once(&mut request.run, text())?,
            // Where it goes is the asker's matter.
            Key::Report => once(&mut request.report, PathBuf::new())?,
            Key::Service => request.kind = Kind::Service,
        }
    }
    Err("too many records")
}

fn once<T>(place: &mut Option<T>, value: T) -> Result<(), &'static str> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err("a record that may stand once stands twice"),
    }
}

fn access(value: &[u8]) -> Result<Access, &'static str> {
    match value {
        b"read" => Ok(Access::Read),
        b"write" => Ok(Access::Write),
        _ => Err("file operations are of no known kind"),
    }
}

fn variable(value: &[u8]) -> Result<(OsString, OsString), &'static str> {
    let at = value.iter().position(|b| *b == b'=').filter(|at| *at > 0).ok_or("a variable has no name")?;
    let word = |bytes: &[u8]| OsStr::from_bytes(bytes).to_owned();
    Ok((word(&value[..at]), word(&value[at + 1..])))
}

fn terminal(value: &[u8]) -> Result<TerminalSize, &'static str> {
    TerminalSize::of_payload(value).filter(|s| s.rows > 0 && s.columns > 0).ok_or("a terminal has no size")
}

/// How long a supervisor may take to begin a call: it runs so many at a time.
const PATIENCE: Duration = Duration::from_secs(60);

/// Asks the supervisor of the jail that this process is in, and carries the call's bytes.
///
/// # Errors
/// What a jail may not ask for; that there is no supervisor; or that it takes no more calls.
pub(crate) fn inside(request: &Request) -> Result<Outcome, Refusal> {
    let mut request = request.clone();
    let marker = std::fs::read_to_string(layout::MARKER).unwrap_or_default();
    may_ask(&request, &marker)?;
    if !Path::new(layout::SOCKET).exists() {
        return Err(Refusal::new("this is a jail already: commands inside run without a second one"));
    }
    // The supervisor's own would be the owner's: these are the asker's.
    let own = ["TERM", "LANG", "TZ"].into_iter().filter_map(|name| Some((name.into(), std::env::var_os(name)?)));
    request.env.splice(0..0, own);
    let (streams, stdio) = streams::streams(&request).map_err(Refusal::new)?;
    let (fds, terminal) = descriptors(&mut request, &streams, stdio)?;
    let here = std::env::current_dir().ok();
    let socket = send(&encode(&request, here.as_deref()), &fds)?;
    drop(fds);
    if let Some(outcome) = begun(&socket)? {
        return Ok(outcome);
    }
    client::carry(&socket, streams, Peer::Supervisor { terminal })
        .map_err(|e| Refusal::new(format!("the supervisor of this jail does not answer: {e}")))
}

/// What decides over a call is the supervisor's; a request that asks for another is refused before it is sent.
fn may_ask(request: &Request, marker: &str) -> Result<(), Refusal> {
    let mut lines = marker.lines();
    let (agent, client) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    let refuse = |what: &str| {
        Err(Refusal::new(format!("{what} inside the jail of a whole agent"))
            .hint("the policy and the agent are those of `mantlet run`, outside"))
    };
    if request.whole.is_some() {
        return Err(Refusal::new("`mantlet run` does not nest: this is a jail already")
            .hint("run the command itself, or `mantlet exec` for one with a jail of its own"));
    }
    if request.policy.is_some() {
        return refuse("--policy cannot be given");
    }
    if !request.programs.is_empty() {
        return refuse("--with cannot be given");
    }
    if request.agent.as_deref().is_some_and(|asked| asked != agent) {
        return refuse(&format!("no other agent than `{agent}` can be asked for"));
    }
    if request.client.as_deref().is_some_and(|asked| asked != client) {
        return refuse("no other client can be asked for");
    }
    Ok(())
}

/// The three descriptors that are sent: pipes of our own, or nothing. A terminal is not: its bytes go through a socket.
fn descriptors(
    request: &mut Request,
    streams: &streams::Streams,
    stdio: [Stdio; 3],
) -> std::io::Result<([OwnedFd; 3], Option<OwnedFd>)> {
    request.terminal =
        streams.window().map(|size| TerminalSize { rows: size.ws_row.max(1), columns: size.ws_col.max(1) });
    let mut pair = None;
    if streams.needs_terminal() {
        let (family, kind) = (AddressFamily::UNIX, SocketType::STREAM);
        pair = Some(rustix::net::socketpair(family, kind, SocketFlags::CLOEXEC, None)?);
        request.terminal_streams = if streams.is_cooked_outside { 0b1000 } else { 0 };
    }
    let mut fds = Vec::with_capacity(3);
    for (number, stdio) in stdio.into_iter().enumerate() {
        fds.push(match (stdio, &pair) {
            (Stdio::Pipe(fd), _) => fd,
            (Stdio::Terminal, Some((_, other))) => {
                request.terminal_streams |= 1 << number;
                other.try_clone()?
            }
            _ => rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?,
        });
    }
    let fds = fds.try_into().map_err(|_| std::io::Error::other("three descriptors are not three"))?;
    Ok((fds, pair.map(|(own, _)| own)))
}

/// Connects, and sends all of a request.
fn send(bytes: &[u8], fds: &[OwnedFd; 3]) -> Result<OwnedFd, Refusal> {
    if bytes.len() > MOST_REQUEST {
        return Err(Refusal::new(format!(
            "the command and its environment are longer than {} MiB",
            MOST_REQUEST >> 20
        )));
    }
    let failed = |e: std::io::Error| Refusal::new(format!("the supervisor of this jail cannot be reached: {e}"));
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
        .map_err(|e| failed(e.into()))?;
    let address = SocketAddrUnix::new(layout::SOCKET).map_err(|e| failed(e.into()))?;
    rustix::net::connect(&socket, &address).map_err(|e| failed(e.into()))?;
    let size = u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes();
    let [a, b, c] = fds;
    wire::send(socket.as_fd(), Tag::Ask, &size, &[a.as_fd(), b.as_fd(), c.as_fd()]).map_err(failed)?;
    for part in bytes.chunks(wire::MAX) {
        // A supervisor that has refused already says why.
        if wire::send(socket.as_fd(), Tag::Part, part, &[]).is_err() {
            break;
        }
    }
    Ok(socket)
}

/// Waits until the call begins, or is refused.
fn begun(socket: &OwnedFd) -> Result<Option<Outcome>, Refusal> {
    let wait = Timespec { tv_sec: PATIENCE.as_secs().cast_signed(), tv_nsec: 0 };
    if !poll(&mut [PollFd::new(socket, PollFlags::IN)], Some(&wait)).is_ok_and(|ready| ready > 0) {
        return Err(Refusal::new("the supervisor of this jail takes no more calls: so many are running already")
            .hint("end some of the commands that run in the background"));
    }
    let refused = || Refusal::new("the supervisor of this jail refused the call without a word");
    match wire::receive(socket.as_fd()) {
        Ok(Some(message)) if message.tag == Tag::Accepted => Ok(None),
        Ok(Some(message)) => {
            client::outcome_of(message).map_err(|_| refused()).and_then(|o| o.ok_or_else(refused)).map(Some)
        }
        Ok(None) | Err(_) => Err(refused()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full() -> Request {
        Request {
            command: Command::Argv(vec!["sh".into(), "".into(), OsStr::from_bytes(b"\xff\n").to_owned()]),
            env: vec![("A".into(), "b=c".into()), ("EMPTY".into(), "".into())],
            cwd: Some("/x".into()),
            workspace: Some("/w".into()),
            timeout: Some(Duration::from_millis(1500)),
            terminal: Some(TerminalSize { rows: 24, columns: 80 }),
            terminal_streams: 0b1011,
            session: Some("s".into()),
            run: Some("r".into()),
            report: Some("/somewhere".into()),
            kind: Kind::Service,
            agent: Some("other".into()),
            policy: Some("/policy".into()),
            ..Request::default()
        }
    }

    #[test]
    fn a_request_comes_back_as_it_was_but_for_what_is_not_the_askers() {
        let asked = decode(&encode(&full(), Some(Path::new("/here")))).unwrap();
        let wanted = Request { agent: None, policy: None, report: Some(PathBuf::new()), ..full() };
        assert_eq!(format!("{:?}", asked.request), format!("{wanted:?}"));
        assert_eq!(asked.here, Some("/here".into()));
        for command in [Command::Shell("a; b".into()), Command::Files(Access::Write, vec!["x".into()])] {
            let request = Request { command, ..Request::default() };
            let back = decode(&encode(&request, None)).unwrap();
            assert_eq!(format!("{:?}", back.request), format!("{request:?}"));
        }
    }

    #[test]
    fn what_is_cut_off_doubled_or_unknown_is_refused() {
        let whole = encode(&full(), None);
        let is_whole = |end: usize| decode(&whole[..end]).is_ok();
        // Between two records it is a request, inside one it is not.
        assert!((0..whole.len()).filter(|end| is_whole(*end)).count() <= 16);
        let record = |key: u8, value: &[u8]| {
            let mut bytes = vec![key];
            bytes.extend_from_slice(&(value.len() as u32).to_le_bytes());
            bytes.extend_from_slice(value);
            bytes
        };
        let command = record(1, b"true");
        assert!(decode(&command).is_ok());
        for wrong in [
            Vec::new(),
            record(2, b"a; b").repeat(2),
            [command.clone(), record(2, b"line")].concat(),
            [command.clone(), record(0, b"")].concat(),
            [command.clone(), record(14, b"policy")].concat(),
            [command.clone(), record(255, b"")].concat(),
            [command.clone(), record(1, b"a\0b")].concat(),
            [command.clone(), record(4, b"=x")].concat(),
            [command.clone(), record(4, b"x")].concat(),
            [command.clone(), record(3, b"all")].concat(),
            [command.clone(), record(6, b"/a"), record(6, b"/b")].concat(),
            [command.clone(), record(8, b"123")].concat(),
            [command.clone(), record(9, &[0, 0, 1, 0, 7])].concat(),
            [command.clone(), vec![1, 255, 255, 255, 255, b'x']].concat(),
        ] {
            assert!(decode(&wrong).is_err(), "{wrong:?}");
        }
        assert!(decode(&command.repeat(MOST_RECORDS + 1)).is_err());
    }

    /// Garbage of every kind ends in an answer.
    #[test]
    fn random_bytes_never_end_the_reader() {
        let mut seed = 0x2545_f491_4f6c_dd1d_u64;
        let mut next = || {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed
        };
        let whole = encode(&full(), None);
        for _ in 0..20_000 {
            let mut bytes = whole.clone();
            for _ in 0..next() % 8 {
                let at = (next() as usize) % bytes.len();
                bytes[at] = next() as u8;
            }
            drop(decode(&bytes));
        }
    }

    #[test]
    fn only_the_own_agent_can_be_asked_for() {
        let own = "main\nclaude\n";
        assert!(may_ask(&Request { agent: Some("main".into()), ..Request::default() }, own).is_ok());
        assert!(may_ask(&Request { client: Some("claude".into()), ..Request::default() }, own).is_ok());
        for wrong in [
            Request { agent: Some("other".into()), ..Request::default() },
            Request { client: Some("codex".into()), ..Request::default() },
            Request { policy: Some("/p".into()), ..Request::default() },
            Request { programs: vec!["/p".into()], ..Request::default() },
            Request { whole: Some(crate::Whole::default()), ..Request::default() },
        ] {
            assert!(may_ask(&wrong, own).is_err(), "{wrong:?}");
        }
    }
}

//! `mantlet egress proxy`: the way out on the host's own loopback, for a client that runs in no jail.
//!
//! It is cooperative: a program that does not use it is not confined. What uses it is decided by the same code as in a
//! jail. Every program of the host reaches its port, so it asks for a login; and no rule leads back to that port.

mod evidence;
mod password;

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use clap::Args;
use mantlet_egress::{Control, Event, Login, Rules, Server, Settings, Sockets};
use mantlet_ledger::{Writer, ledger_dir, posix_word};
use mantlet_policy::Agent;
use mantlet_sandbox::{Loaded, RealHost, SourceError};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::Signal;

use super::source_words;
use crate::policy_cmd::{is_in_jail, print, tell, with_hint};
use evidence::Evidence;

/// Serve an agent's way out to a client that runs in no jail
///
/// A proxy on a loopback port: HTTP requests by whole URL, CONNECT, and SOCKS 5 by name. It asks for the agent's name and a
/// password that stays the same over restarts. Cooperative: a program that does not use it is not confined; that is what
/// `mantlet run` is for. The policy file is read anew every second; one that is not valid changes nothing and is told.
#[derive(Debug, Args)]
pub(super) struct ProxyArgs {
    /// The agent; may be left out when there is only one
    #[arg(long, value_name = "NAME")]
    agent: Option<String>,
    /// The policy file, instead of /etc/mantlet/mantlet.toml or ~/.config/mantlet/mantlet.toml
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// Where to listen: a loopback address and a port
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:3128", value_parser = loopback)]
    listen: SocketAddr,
    /// Print the URL with the password in it, and end: for a client's configuration
    #[arg(long)]
    print_url: bool,
    /// Make another password first; what still has the old one is refused
    #[arg(long)]
    new_password: bool,
}

/// How often the policy is read.
const PERIOD: Duration = Duration::from_secs(1);

fn loopback(text: &str) -> Result<SocketAddr, String> {
    let address: SocketAddr = text.parse().map_err(|_| "write for example 127.0.0.1:3128".to_owned())?;
    match (address.ip().is_loopback(), address.port()) {
        // Everybody in the network would be the agent, with one password sent in the clear.
        (false, _) => Err("not a loopback address; it serves this host only".into()),
        (true, 0) => Err("port 0 is another port at each start, which no client could be told".into()),
        (true, _) => Ok(address),
    }
}

/// Runs `mantlet egress proxy`.
pub(super) fn run(args: &ProxyArgs) -> anyhow::Result<ExitCode> {
    if is_in_jail() {
        bail!("a jail has its own way out\nhint: run this outside");
    }
    let host = RealHost::new()?;
    let source = Source { args, host };
    let file = mantlet_sandbox::locate(args.policy.as_deref(), &source.host).map_err(told)?;
    let now = source.load(&file).map_err(|why| anyhow::anyhow!(why))?;
    let state = ledger_dir(std::env::var_os("XDG_STATE_HOME").as_deref(), mantlet_policy::Host::home(&source.host));
    // Opened first: it judges the directory that the password goes to as well.
    let ledger = Writer::open(&state, &[&now.workspace])?;
    let place = state.parent().context("the ledger's directory has nothing above it")?;
    let password = password::get(place, &now.agent, args.new_password)?;
    if args.print_url {
        return print(&format!("http://{}:{password}@{}\n", now.agent, args.listen));
    }
    // Before any thread is there, so that all have it.
    let signals = mantlet_sandbox::signal_fd(&[Signal::INT, Signal::TERM, Signal::HUP].map(Signal::as_raw))?;
    mantlet_daemon::raise_descriptors();
    let evidence = Arc::new(Evidence::new(ledger, &now.agent, &now.hash));
    let (control, thread) = serve(args.listen, &now, password, &evidence)?;
    announce(args, &now.agent)?;
    let ended = attend(&source, &file, now, &control, &thread, &evidence, &signals);
    drop(control);
    let server = thread.join().map_err(|_| anyhow::anyhow!("the server broke"))?;
    ended.and(server.context("the sockets cannot be used")).and(evidence.close()).map(|()| ExitCode::SUCCESS)
}

/// What the policy says now.
struct Now {
    agent: String,
    workspace: PathBuf,
    hash: String,
    text: String,
    rules: Rules,
}

/// Where the policy comes from, at the start and each second.
struct Source<'a> {
    args: &'a ProxyArgs,
    host: RealHost,
}

impl Source<'_> {
    /// Reads the file with every check, whoever has touched what since.
    fn load(&self, file: &std::path::Path) -> Result<Now, String> {
        let loaded = mantlet_sandbox::load(Some(file), &self.host).map_err(|error| with_hint(&error))?;
        let Some(loaded) = loaded else { return Err(format!("there is no policy {}", file.display())) };
        let agent = mantlet_sandbox::select(&loaded.policy, self.args.agent.as_deref(), None);
        let agent = agent.map_err(|error| with_hint(&error))?;
        let rules = self.compile(&loaded, agent).map_err(|error| error.to_string())?;
        Ok(Now {
            agent: agent.name().to_owned(),
            workspace: agent.workspace().to_owned(),
            hash: loaded.policy.hash().to_owned(),
            rules,
            text: loaded.text,
        })
    }

    fn compile(&self, loaded: &Loaded, agent: &Agent) -> Result<Rules, mantlet_egress::CompileError> {
        Rules::compile(agent, &source_words(self.args.policy.as_deref(), loaded, agent))
    }
}

fn told(error: SourceError) -> anyhow::Error {
    anyhow::anyhow!(with_hint(&error))
}

/// Starts the server on a thread of its own.
fn serve(
    listen: SocketAddr,
    now: &Now,
    password: String,
    evidence: &Arc<Evidence>,
) -> anyhow::Result<(Control, JoinHandle<std::io::Result<()>>)> {
    let listener = TcpListener::bind(listen)
        .with_context(|| format!("cannot listen at {listen}\nhint: choose another port with --listen"))?;
    let login = Login::new(now.agent.clone(), password).context("the agent's name cannot be a login")?;
    let settings = Settings { own: vec![listen], login: Some(login), ..Settings::default() };
    let events = Arc::clone(evidence);
    let record = move |event: Event| events.record(event);
    let (server, control) = Server::new(now.rules.clone(), settings, Arc::new(record));
    let sockets = Sockets { proxy: vec![listener], ..Sockets::default() };
    let thread = thread::Builder::new().name("proxy".into()).spawn(move || server.run(sockets));
    Ok((control, thread.context("no thread can be started")?))
}

fn announce(args: &ProxyArgs, agent: &str) -> anyhow::Result<()> {
    let policy = args.policy.as_deref().map(|file| format!(" --policy {}", posix_word(file))).unwrap_or_default();
    tell(&format!(
        "the way out of agent {agent} is served at {}\n\
         cooperative: a program that does not use it is not confined\n\
         its URL for a client: mantlet egress proxy --agent {agent}{policy} --listen {} --print-url",
        args.listen, args.listen
    ))
}

/// Reads the policy and writes what is due, until a signal comes or the server has ended.
fn attend(
    source: &Source<'_>,
    file: &std::path::Path,
    mut now: Now,
    control: &Control,
    thread: &JoinHandle<std::io::Result<()>>,
    evidence: &Evidence,
    signals: &std::os::fd::OwnedFd,
) -> anyhow::Result<()> {
    let mut complaint = None;
    let mut due = Instant::now() + PERIOD;
    loop {
        let left = due.saturating_duration_since(Instant::now());
        let left = Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: left.subsec_nanos().into() };
        match rustix::event::poll(&mut [PollFd::new(signals, PollFlags::IN)], Some(&left)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => {}
            Ok(_) => return Ok(()),
            Err(error) => return Err(error).context("cannot wait"),
        }
        due = Instant::now() + PERIOD;
        // What cannot be written down does not pass.
        evidence.tick()?;
        if thread.is_finished() {
            return Ok(());
        }
        match source.load(file) {
            Ok(read) if read.agent != now.agent => {
                let why = format!(
                    "the policy's only agent is `{}` now, and this is the proxy of `{}`",
                    read.agent, now.agent
                );
                complain(&mut complaint, why, file, evidence)?;
            }
            Ok(read) => {
                complaint = None;
                if read.text != now.text {
                    control.reload(read.rules.clone());
                    evidence.reloaded(&read.hash, file)?;
                    tell("the policy was changed, and is in force")?;
                }
                now = read;
            }
            Err(why) => complain(&mut complaint, why, file, evidence)?,
        }
    }
}

/// Says once that the policy is not used.
fn complain(
    before: &mut Option<String>,
    why: String,
    file: &std::path::Path,
    evidence: &Evidence,
) -> anyhow::Result<()> {
    if before.as_ref() != Some(&why) {
        evidence.not_reloaded(&why, file)?;
        tell(&format!("the policy is not used as it is now, and the one before it stays in force: {why}"))?;
        *before = Some(why);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_loopback_is_listened_on() {
        for text in ["127.0.0.1:3128", "127.3.2.1:1", "[::1]:3128"] {
            assert!(loopback(text).is_ok(), "{text}");
        }
        for text in [
            "0.0.0.0:3128",
            "[::]:3128",
            "192.168.1.2:3128",
            "[::ffff:10.0.0.1]:1",
            "127.0.0.1:0",
            "localhost:1",
            "127.0.0.1",
            "",
        ] {
            assert!(loopback(text).is_err(), "{text}");
        }
    }
}

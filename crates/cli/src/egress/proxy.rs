//! `mantlet egress proxy`: the way out on the host's own loopback, for a client that runs in no jail.
//!
//! It is cooperative: a program that does not use it is not confined. What uses it is decided by the same code as in a
//! jail. Every program of the host reaches its port, so it asks for a login; and no rule leads back to that port.

mod evidence;
mod password;
mod served;

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use clap::Args;
use mantlet_egress::{Login, Rules};
use mantlet_ledger::{Writer, ledger_dir, posix_word};
use mantlet_policy::Agent;
use mantlet_sandbox::halt::Notice;
use mantlet_sandbox::{Loaded, RealHost, SourceError};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::Signal;

use super::source_words;
use crate::policy_cmd::{is_in_jail, print, tell, with_hint};
use evidence::Evidence;
use served::Served;

/// Serve an agent's way out to a client that runs in no jail
///
/// A proxy on a loopback port: HTTP requests by whole URL, CONNECT, and SOCKS 5 by name. It asks for the agent's name and a
/// password that stays the same over restarts. Cooperative: a program that does not use it is not confined; that is what
/// `mantlet run` is for. The policy file is read anew every second; one that is not valid changes nothing and is told.
/// `mantlet halt` cuts what is open and refuses what comes, until `mantlet resume`.
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
    let login = Login::new(now.agent.clone(), password).context("the agent's name cannot be a login")?;
    let mut served = Served::new(args.listen, login, &evidence)?;
    announce(args, &now.agent)?;
    let notice = Notice::new(place);
    let ended = Attending { source: &source, file: &file, evidence: &evidence, signals: &signals, notice: &notice }
        .attend(now, &mut served);
    ended.and(served.stop()).and(evidence.close()).map(|()| ExitCode::SUCCESS)
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

fn announce(args: &ProxyArgs, agent: &str) -> anyhow::Result<()> {
    let policy = args.policy.as_deref().map(|file| format!(" --policy {}", posix_word(file))).unwrap_or_default();
    tell(&format!(
        "the way out of agent {agent} is served at {}\n\
         cooperative: a program that does not use it is not confined\n\
         its URL for a client: mantlet egress proxy --agent {agent}{policy} --listen {} --print-url",
        args.listen, args.listen
    ))
}

/// What is attended to while the proxy serves.
struct Attending<'a> {
    source: &'a Source<'a>,
    file: &'a std::path::Path,
    evidence: &'a Evidence,
    signals: &'a OwnedFd,
    notice: &'a Notice,
}

impl Attending<'_> {
    /// Reads the policy, writes what is due and heeds the kill switch, until a signal comes or the server has ended.
    fn attend(&self, mut now: Now, served: &mut Served) -> anyhow::Result<()> {
        let mut complaint = None;
        let mut due = Instant::now() + PERIOD;
        loop {
            self.heed(&now, served)?;
            if Instant::now() >= due {
                due = Instant::now() + PERIOD;
                // What cannot be written down does not pass.
                self.evidence.tick()?;
                if served.is_over() {
                    return Ok(());
                }
                self.read(&mut now, served, &mut complaint)?;
            }
            let left = due.saturating_duration_since(Instant::now());
            let left = self.notice.period().map_or(left, |period| left.min(period));
            if self.wait(left, served)? {
                return Ok(());
            }
        }
    }

    /// Stops when everything is halted, and goes on when it is not.
    fn heed(&self, now: &Now, served: &mut Served) -> anyhow::Result<()> {
        match (self.notice.look(), served.is_stopped()) {
            (Some(halted), false) => {
                served.stop()?;
                tell(&format!("{halted}: what was open is cut, and nothing is served before: mantlet resume"))
            }
            (None, true) => served.start(now.rules.clone()),
            _ => Ok(()),
        }
    }

    /// Waits for so long, or until something happens. Answers whether it is to end.
    fn wait(&self, left: Duration, served: &Served) -> anyhow::Result<bool> {
        let left = Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: left.subsec_nanos().into() };
        let mut fds = vec![PollFd::new(self.signals, PollFlags::IN)];
        fds.extend(self.notice.fd().map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
        fds.extend(served.waiting().map(|listener| PollFd::from_borrowed_fd(listener, PollFlags::IN)));
        match rustix::event::poll(&mut fds, Some(&left)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error).context("cannot wait"),
        }
        let is_signalled = !fds[0].revents().is_empty();
        drop(fds);
        served.turn_away();
        Ok(is_signalled)
    }

    fn read(&self, now: &mut Now, served: &Served, complaint: &mut Option<String>) -> anyhow::Result<()> {
        let Attending { source, file, evidence, .. } = self;
        match source.load(file) {
            Ok(read) if read.agent != now.agent => {
                let why = format!(
                    "the policy's only agent is `{}` now, and this is the proxy of `{}`",
                    read.agent, now.agent
                );
                complain(complaint, why, file, evidence)?;
            }
            Ok(read) => {
                *complaint = None;
                if read.text != now.text {
                    served.reload(read.rules.clone());
                    evidence.reloaded(&read.hash, file)?;
                    tell("the policy was changed, and is in force")?;
                }
                *now = read;
            }
            Err(why) => complain(complaint, why, file, evidence)?,
        }
        Ok(())
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

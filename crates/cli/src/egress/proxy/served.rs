//! The proxy's server on a thread of its own, which the kill switch stops and starts.
//!
//! Its port stays taken while it is stopped: whoever else listened there would be sent the password by every client.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use anyhow::{Context as _, anyhow};
use mantlet_egress::{Control, Event, Login, Rules, Server, Settings, Sockets};

use super::evidence::Evidence;

/// A proxy's port, and what serves it.
pub(super) struct Served {
    listen: SocketAddr,
    listener: TcpListener,
    login: Login,
    evidence: Arc<Evidence>,
    running: Option<(Control, JoinHandle<std::io::Result<()>>)>,
}

impl Served {
    /// Takes the port. Nothing is served yet.
    pub(super) fn new(listen: SocketAddr, login: Login, evidence: &Arc<Evidence>) -> anyhow::Result<Served> {
        let listener = TcpListener::bind(listen)
            .with_context(|| format!("cannot listen at {listen}\nhint: choose another port with --listen"))?;
        listener.set_nonblocking(true).context("the sockets cannot be used")?;
        Ok(Served { listen, listener, login, evidence: Arc::clone(evidence), running: None })
    }

    pub(super) fn start(&mut self, rules: Rules) -> anyhow::Result<()> {
        let listener = self.listener.try_clone().context("the sockets cannot be used")?;
        let settings = Settings { own: vec![self.listen], login: Some(self.login.clone()), ..Settings::default() };
        let events = Arc::clone(&self.evidence);
        let record = move |event: Event| events.record(event);
        let (server, control) = Server::new(rules, settings, Arc::new(record));
        let sockets = Sockets { proxy: vec![listener], ..Sockets::default() };
        let thread = thread::Builder::new().name("proxy".into()).spawn(move || server.run(sockets));
        self.running = Some((control, thread.context("no thread can be started")?));
        Ok(())
    }

    /// Cuts what is open, and waits until it was told.
    pub(super) fn stop(&mut self) -> anyhow::Result<()> {
        let Some((control, thread)) = self.running.take() else { return Ok(()) };
        drop(control);
        let ended = thread.join().map_err(|_| anyhow!("the server broke"))?;
        ended.context("the sockets cannot be used")
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.running.is_none()
    }

    /// Whether the server has ended by itself.
    pub(super) fn is_over(&self) -> bool {
        self.running.as_ref().is_some_and(|(_, thread)| thread.is_finished())
    }

    pub(super) fn reload(&self, rules: Rules) {
        if let Some((control, _)) = &self.running {
            control.reload(rules);
        }
    }

    /// What somebody may knock at while nothing is served.
    pub(super) fn waiting(&self) -> Option<BorrowedFd<'_>> {
        self.running.is_none().then(|| self.listener.as_fd())
    }

    /// Closes what has come while nothing is served: nobody is left to wait for an answer.
    pub(super) fn turn_away(&self) {
        while self.running.is_none() && self.listener.accept().is_ok() {}
    }
}

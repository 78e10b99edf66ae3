//! The server that answers a jail's look-ups, over UDP and TCP. Nothing of a query leaves.

use std::collections::HashSet;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use crate::decision::Reason;
use crate::dns::wire::{self, Known};
use crate::event::Way;
use crate::name::{Endpoint, HostName};
use crate::shared::Shared;

/// As many TCP clients at a time, and how long each has for a message.
const MOST_CLIENTS: usize = 32;
const PATIENCE: Duration = Duration::from_secs(5);
/// As many refused names as are told: a jail that asks for a million fills no log.
const MOST_TOLD: usize = 1024;

pub(crate) struct Stub {
    shared: Arc<Shared>,
    told: Mutex<HashSet<HostName>>,
}

impl Stub {
    pub(crate) fn new(shared: Arc<Shared>) -> Arc<Self> {
        Arc::new(Stub { shared, told: Mutex::default() })
    }

    /// The answer, and the name that it gives addresses of.
    fn judge(&self, query: &[u8]) -> Option<(Vec<u8>, Option<HostName>)> {
        let rules = self.shared.now();
        let mut known = None;
        let answered = wire::answer(query, |name| match rules.knows(name).and_then(|_| self.shared.pair(name)) {
            Some(pair) => {
                known = Some(name.clone());
                Known::At(pair.v4, pair.v6)
            }
            None => Known::No,
        })?;
        if let Some(name) = answered.refused {
            let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
            if told.len() < MOST_TOLD && told.insert(name.clone()) {
                let denial = rules.deny(&Endpoint { name, port: 443 }, Reason::NoRule);
                self.shared.refused(Way::Dns, denial);
            }
        }
        Some((answered.message, known))
    }

    /// Answers a query. Where an address leads to must be listened on before it is told: otherwise it would lead to a
    /// server of the jail's own.
    async fn answer(&self, query: &[u8]) -> Option<Vec<u8>> {
        let (answer, known) = self.judge(query)?;
        match known {
            Some(name) if !self.shared.listen_for(&name).await => {
                wire::answer(query, |_| Known::No).map(|answered| answered.message)
            }
            _ => Some(answer),
        }
    }

    pub(crate) async fn serve_udp(self: Arc<Self>, socket: UdpSocket) {
        let mut bytes = vec![0; wire::MOST + 1];
        loop {
            let Ok((count, client)) = socket.recv_from(&mut bytes).await else {
                // An error of an earlier answer (a client that is gone); never a reason to stop, nor to spin.
                sleep(Duration::from_millis(1)).await;
                continue;
            };
            if let Some(answer) = self.answer(bytes.get(..count).unwrap_or_default()).await {
                // A full queue drops the answer, as a network would; the client asks again.
                drop(socket.try_send_to(&answer, client));
            }
        }
    }

    pub(crate) async fn serve_tcp(self: Arc<Self>, listener: TcpListener) {
        let slots = Arc::new(Semaphore::new(MOST_CLIENTS));
        loop {
            let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
            match listener.accept().await {
                Ok((stream, _)) => {
                    let stub = Arc::clone(&self);
                    tokio::spawn(async move {
                        // However it ends, the client is gone.
                        drop(stub.converse(stream).await);
                        drop(slot);
                    });
                }
                Err(_) => sleep(Duration::from_millis(50)).await,
            }
        }
    }

    async fn converse(&self, mut stream: TcpStream) -> io::Result<()> {
        let mut bytes = Vec::new();
        loop {
            let length = usize::from(timeout(PATIENCE, stream.read_u16()).await??);
            if length > wire::MOST {
                return Ok(());
            }
            bytes.resize(length, 0);
            timeout(PATIENCE, stream.read_exact(&mut bytes)).await??;
            let Some(answer) = self.answer(&bytes).await else { return Ok(()) };
            let length = u16::try_from(answer.len()).unwrap_or(0);
            timeout(PATIENCE, stream.write_all(&[&length.to_be_bytes(), answer.as_slice()].concat())).await??;
        }
    }
}

//! Connections to the addresses that stand for names: the address says the name, the port says how it is judged.

use std::net::SocketAddr;
use std::sync::Arc;

use mantlet_policy::Protocol;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::conn::{Conn, FIRST};
use crate::decision::{Allowed, Denial, Reason};
use crate::event::{Event, Way};
use crate::hello::{self, HelloError};
use crate::http::forward::{self, Towards};
use crate::name::{Endpoint, HostName, canonical};
use crate::shared::{Admitted, Shared};
use crate::tunnel::{Totals, carry};

/// A fatal alert, `access_denied` (RFC 8446, 6.2): TLS clients show it by name.
const ALERT: &[u8] = &[21, 3, 3, 0, 2, 2, 49];

/// Serves one connection that was opened to an address inside the jail.
pub(crate) async fn serve(shared: Arc<Shared>, stream: TcpStream) {
    let Ok(opened) = stream.local_addr() else { return };
    let client = Conn::accepted(stream);
    let Some(name) = shared.name_at(opened.ip()) else {
        let what = SocketAddr::new(canonical(opened.ip()), opened.port()).to_string();
        let denial = shared.now().deny_unnamed(what, Reason::Address);
        return match opened.port() {
            80 => forward::refuse(&shared, client, Way::Direct, denial).await,
            _ => {
                shared.refused(Way::Direct, denial);
                client.reset();
            }
        };
    };
    let endpoint = Endpoint { name, port: opened.port() };
    shared.listening.touch(&endpoint);
    match shared.decide(&endpoint) {
        Ok(allowed) => named(&shared, client, allowed, Way::Direct).await,
        Err(denial) => refuse(&shared, client, Way::Direct, denial, endpoint.port).await,
    }
}

/// Refuses in the language of the port, as far as it has one.
async fn refuse(shared: &Shared, client: Conn, way: Way, denial: Denial, port: u16) {
    match Protocol::of_port(port) {
        Protocol::Http => forward::refuse(shared, client, way, denial).await,
        Protocol::Tls => {
            shared.refused(way, denial);
            client.farewell(ALERT).await;
        }
        Protocol::Tcp => {
            shared.refused(way, denial);
            client.reset();
        }
    }
}

/// Serves a connection whose destination is known and allowed by name; what comes inside must agree with it.
pub(crate) async fn named(shared: &Shared, client: Conn, allowed: Allowed, way: Way) {
    match allowed.protocol {
        Protocol::Tls => tls(shared, client, allowed, way).await,
        Protocol::Tcp => opaque(shared, client, allowed, way).await,
        Protocol::Http => {
            // Without a proxy in between nobody asks for CONNECT.
            drop(forward::serve(shared, client, Towards::Host(allowed.endpoint, way)).await);
        }
    }
}

async fn tls(shared: &Shared, mut client: Conn, allowed: Allowed, way: Way) {
    let endpoint = &allowed.endpoint;
    let reason = match timeout(FIRST, server_name(&mut client)).await {
        Ok(Ok(Some(name))) if name == endpoint.name => return opaque(shared, client, allowed, way).await,
        Ok(Ok(Some(name))) => {
            let asked = Endpoint { name, port: endpoint.port };
            Reason::Mismatch { opened: endpoint.to_string(), asked: asked.to_string() }
        }
        // Gone before it said anything: a port scan, or a client that thought better of it.
        Ok(Ok(None)) => return,
        Ok(Err(error)) => Reason::Malformed(error.to_string()),
        // Opened ahead of need, as browsers do.
        Err(_) if client.ahead.is_empty() => return,
        Err(_) => Reason::Malformed("no TLS ClientHello in ten seconds".into()),
    };
    shared.refused(way, shared.deny(endpoint, reason));
    client.farewell(ALERT).await;
}

async fn server_name(client: &mut Conn) -> Result<Option<HostName>, HelloError> {
    loop {
        if let Some(name) = hello::server_name(&client.ahead)? {
            return Ok(Some(name));
        }
        match client.fill().await {
            Ok(0) | Err(_) => return Ok(None),
            Ok(_) => {}
        }
    }
}

/// Dials and carries bytes: what is inside is not seen.
async fn opaque(shared: &Shared, client: Conn, allowed: Allowed, way: Way) {
    let (port, protocol) = (allowed.endpoint.port, allowed.protocol);
    let Admitted { allowed, meter } = match shared.admit(allowed) {
        Ok(admitted) => admitted,
        Err(denial) => return told(shared, client, way, denial, protocol, port).await,
    };
    let (server, address) = match shared.dial(&allowed).await {
        Ok(dialled) => dialled,
        Err(denial) => return told(shared, client, way, denial, protocol, port).await,
    };
    let (Totals { up, down }, end) = carry(shared.withdrawn(&allowed), &meter, client, server).await;
    if let Err(reason) = end {
        shared.refused(way, shared.deny(&allowed.endpoint, reason));
    }
    shared.events.record(Event::Passed { way, allowed, address, up, down });
}

async fn told(shared: &Shared, client: Conn, way: Way, denial: Denial, protocol: Protocol, port: u16) {
    match protocol {
        Protocol::Tls => refuse(shared, client, way, denial, 443).await,
        _ => refuse(shared, client, way, denial, port).await,
    }
}

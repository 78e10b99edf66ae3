//! Requests of one client, judged and passed on one by one; each is written anew, to a connection of our own.

use std::net::SocketAddr;

use mantlet_policy::Protocol;
use tokio::time::timeout;

use crate::budget::{Direction, Meter};
use crate::conn::{Conn, FIRST, IDLE};
use crate::decision::{Allowed, Denial, Given, Reason};
use crate::event::{Event, Way};
use crate::http::exchange::{Ended, Trouble, exchange};
use crate::http::head::{Aim, HeadError, RequestHead};
use crate::http::web;
use crate::name::{Endpoint, Target};
use crate::rules::Rules;
use crate::shared::{Admitted, Shared};
use crate::tunnel::{Totals, carry};

/// Where the requests of a client may go.
#[derive(Debug, Clone)]
pub(crate) enum Towards {
    /// To the host whose address the connection was opened to, and no other.
    Host(Endpoint, Way),
    /// To any allowed host: the client knows that it speaks to a proxy.
    Any,
}

/// A connection to a server, kept for the next request to the same host.
struct Upstream {
    conn: Conn,
    address: SocketAddr,
    allowed: Allowed,
}

/// Serves requests until one side ends; CONNECT is handed back to the caller.
pub(crate) async fn serve(shared: &Shared, mut client: Conn, towards: Towards) -> Option<(Conn, Endpoint)> {
    let mut upstream: Option<Upstream> = None;
    let mut patience = FIRST;
    loop {
        let head = match timeout(patience, next(&mut client, &towards)).await {
            Ok(Ok(Some(head))) => head,
            Ok(Ok(None)) => return None,
            Ok(Err(error)) => {
                let reason = Reason::Malformed(error.to_string());
                refuse(shared, client, towards.way(), shared.now().deny_unnamed("a request", reason)).await;
                return None;
            }
            // Nothing was asked: a connection opened ahead of need, or kept.
            Err(_) if client.ahead.is_empty() => return None,
            Err(_) => {
                let reason = Reason::Malformed("no whole request in ten seconds".into());
                refuse(shared, client, towards.way(), shared.now().deny_unnamed("a request", reason)).await;
                return None;
            }
        };
        if !is_known(shared, &head, &towards) {
            refuse(shared, client, towards.way(), shared.now().deny_unnamed("a request", Reason::Login)).await;
            return None;
        }
        if head.aim == Aim::Connect && matches!(towards, Towards::Any) {
            return match endpoint_of(shared, &head, &towards) {
                Ok(endpoint) => Some((client, endpoint)),
                Err(denial) => {
                    refuse(shared, client, Way::Connect, denial).await;
                    None
                }
            };
        }
        (client, upstream) = one(shared, client, upstream, head, &towards).await?;
        patience = IDLE;
    }
}

impl Towards {
    fn way(&self) -> Way {
        match self {
            Towards::Host(_, way) => *way,
            Towards::Any => Way::Absolute,
        }
    }
}

/// Whether a client of the explicit proxy may use it: where a login is asked for, each request brings it.
fn is_known(shared: &Shared, head: &RequestHead, towards: &Towards) -> bool {
    match (towards, &shared.settings.login) {
        (Towards::Host(..), _) | (Towards::Any, None) => true,
        (Towards::Any, Some(login)) => head.proxy_authorization.as_ref().is_some_and(|value| login.is_header(value)),
    }
}

/// Reads the next head; nothing at the end of the connection.
async fn next(client: &mut Conn, towards: &Towards) -> Result<Option<RequestHead>, HeadError> {
    let usual = match towards {
        Towards::Host(endpoint, _) => endpoint.port,
        Towards::Any => 80,
    };
    loop {
        if let Some((head, length)) = RequestHead::parse(&client.ahead, usual)? {
            client.used(length);
            return Ok(Some(head));
        }
        match client.fill().await {
            Ok(0) | Err(_) => return Ok(None),
            Ok(_) => {}
        }
    }
}

/// Judges one request and carries it out. Both connections come back when more may follow.
async fn one(
    shared: &Shared,
    client: Conn,
    upstream: Option<Upstream>,
    mut head: RequestHead,
    towards: &Towards,
) -> Option<(Conn, Option<Upstream>)> {
    let way = towards.way();
    let Admitted { allowed, meter } = match judge(shared, &mut head, towards) {
        Ok(admitted) => admitted,
        Err(denial) => {
            refuse(shared, client, way, denial).await;
            return None;
        }
    };
    let upstream = match connected(shared, upstream, &allowed, &head).await {
        Ok(upstream) => upstream,
        Err(denial) => {
            refuse(shared, client, way, denial).await;
            return None;
        }
    };
    let Upstream { conn: server, address, .. } = upstream;
    let told = |totals: Totals| {
        let Totals { up, down } = totals;
        shared.events.record(Event::Passed { way, allowed: allowed.clone(), address, up, down });
    };
    let mut both = (client, server);
    let mut totals = Totals::default();
    let ended = tokio::select! {
        ended = exchange(&mut both.0, &mut both.1, &head, &meter, &mut totals) => ended,
        () = shared.withdrawn(&allowed) => Err(Trouble::Late(Reason::Withdrawn)),
    };
    let (client, server) = both;
    match ended {
        Ok(Ended::Kept) => {
            told(totals);
            Some((client, Some(Upstream { conn: server, address, allowed })))
        }
        Ok(Ended::ServerCloses) => {
            told(totals);
            Some((client, None))
        }
        Ok(Ended::Closed) => {
            told(totals);
            client.farewell(b"").await;
            None
        }
        Ok(Ended::Switched) => {
            told(switched(shared, &allowed, &meter, client, server, totals).await);
            None
        }
        Err(Trouble::Early(reason)) => {
            told(totals);
            refuse(shared, client, way, shared.deny(&allowed.endpoint, reason)).await;
            None
        }
        Err(Trouble::Late(reason)) => {
            told(totals);
            shared.refused(way, shared.deny(&allowed.endpoint, reason));
            client.reset();
            None
        }
    }
}

async fn switched(
    shared: &Shared,
    allowed: &Allowed,
    meter: &Meter,
    client: Conn,
    server: Conn,
    before: Totals,
) -> Totals {
    let (totals, end) = carry(shared.withdrawn(allowed), meter, client, server).await;
    if let Err(reason) = end {
        shared.refused(Way::Direct, shared.deny(&allowed.endpoint, reason));
    }
    Totals { up: before.up + totals.up, down: before.down + totals.down }
}

/// The endpoint that a request asks for, when it may ask for one here.
fn endpoint_of(shared: &Shared, head: &RequestHead, towards: &Towards) -> Result<Endpoint, Denial> {
    let rules = shared.now();
    let port = head.authority.port;
    let asked = match &head.authority.target {
        Target::Name(name) => Endpoint { name: name.clone(), port },
        Target::Address(address) => match shared.name_at(*address) {
            Some(name) => Endpoint { name, port },
            None => return Err(rules.deny_unnamed(format!("{address} port {port}"), Reason::Address)),
        },
    };
    match (towards, &head.aim) {
        (Towards::Host(opened, _), Aim::Origin | Aim::Absolute) if *opened != asked => {
            let reason = Reason::Mismatch { opened: opened.to_string(), asked: asked.to_string() };
            Err(rules.deny(opened, reason))
        }
        (Towards::Host(opened, _), Aim::Connect) => {
            Err(rules.deny(opened, Reason::Request("CONNECT is for the proxy, and this is none".into())))
        }
        (Towards::Any, Aim::Origin) => {
            Err(rules.deny_unnamed("a request", Reason::Malformed("a proxy takes whole URLs, and CONNECT".into())))
        }
        _ => Ok(asked),
    }
}

fn judge(shared: &Shared, head: &mut RequestHead, towards: &Towards) -> Result<Admitted, Denial> {
    let endpoint = endpoint_of(shared, head, towards)?;
    let allowed = shared.decide(&endpoint)?;
    let rules = shared.now();
    let denied = |reason| rules.deny(&endpoint, reason);
    if let Some(bits) = judge_request(&rules, &allowed, head).map_err(denied)? {
        shared.budgets.read(&endpoint.name, bits).map_err(denied)?;
    }
    // A server is told the name that was judged, whatever the client wrote for it.
    head.authority.target = Target::Name(endpoint.name.clone());
    shared.admit(allowed)
}

/// Judges a request to an allowed host. Returns how much of it looks random, where that counts.
pub(crate) fn judge_request(rules: &Rules, allowed: &Allowed, head: &mut RequestHead) -> Result<Option<u32>, Reason> {
    let endpoint = &allowed.endpoint;
    if allowed.protocol != Protocol::Http {
        let protocol = allowed.protocol.word();
        return Err(Reason::Request(format!("port {} of this policy is {protocol}", endpoint.port)));
    }
    web::ruled(head, rules.http_rules(endpoint)).map_err(Reason::Request)?;
    match allowed.given {
        Given::ForReading => web::reading(head).map(Some).map_err(Reason::Request),
        Given::ByName | Given::ByWildcard => Ok(None),
    }
}

/// The connection of the request before, when it leads to the same host and still lives; else a new one.
async fn connected(
    shared: &Shared,
    kept: Option<Upstream>,
    allowed: &Allowed,
    head: &RequestHead,
) -> Result<Upstream, Denial> {
    if let Some(mut upstream) = kept
        && upstream.allowed == *allowed
        && head.length == crate::http::head::Length::Bytes(0)
        && is_quiet(&mut upstream.conn)
    {
        return Ok(upstream);
    }
    let (conn, address) = shared.dial(allowed).await?;
    Ok(Upstream { conn, address, allowed: allowed.clone() })
}

/// Whether a server has sent nothing, not even its end. What it says before it is asked would be the answer to the next
/// request, whose client may be told anything by it.
fn is_quiet(conn: &mut Conn) -> bool {
    let mut byte = [0];
    let is_silent =
        matches!(conn.stream.try_read(&mut byte), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock);
    is_silent && conn.ahead.is_empty()
}

/// Tells the client and the ledger why not, and closes.
pub(crate) async fn refuse(shared: &Shared, client: Conn, way: Way, denial: Denial) {
    let text = format!("{denial}\n");
    let (status, words) = denial.status();
    let asks = if status == 407 { "Proxy-Authenticate: Basic realm=\"mantlet\"\r\n" } else { "" };
    let message = format!(
        "HTTP/1.1 {status} {words}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\nX-Mantlet: refused\r\n{asks}Connection: close\r\n\r\n{text}",
        text.len()
    );
    shared.refused(way, denial);
    client.farewell(message.as_bytes()).await;
}

/// Counts bytes in both places.
pub(crate) fn count(meter: &Meter, totals: &mut u64, direction: Direction, bytes: usize) -> Result<(), Reason> {
    *totals += bytes as u64;
    meter.add(direction, bytes as u64)
}

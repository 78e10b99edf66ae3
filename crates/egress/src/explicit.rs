//! The explicit proxy, for clients that want one: CONNECT, whole URLs, SOCKS 5 by name. The same rules, one listener.

use std::sync::Arc;

use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::capture::named;
use crate::conn::{Conn, FIRST};
use crate::decision::{Allowed, Denial, Reason};
use crate::event::Way;
use crate::http::forward::{self, Towards};
use crate::name::{Endpoint, Target};
use crate::shared::Shared;
use crate::socks::{self, Reply, SocksError};

/// Serves one connection to the proxy's own port.
pub(crate) async fn serve(shared: Arc<Shared>, stream: TcpStream) {
    let mut client = Conn::accepted(stream);
    match timeout(FIRST, client.fill()).await {
        Ok(Ok(1..)) => {}
        Ok(Ok(0) | Err(_)) | Err(_) => return,
    }
    // No method of HTTP begins with this byte.
    if client.ahead.first() == Some(&5) {
        return by_socks(&shared, client).await;
    }
    let Some((mut client, endpoint)) = forward::serve(&shared, client, Towards::Any).await else { return };
    let allowed = match shared.decide(&endpoint) {
        Ok(allowed) => allowed,
        Err(denial) => return forward::refuse(&shared, client, Way::Connect, denial).await,
    };
    if client.write(b"HTTP/1.1 200 Connection established\r\n\r\n").await.is_ok() {
        named(&shared, client, allowed, Way::Connect).await;
    }
}

async fn by_socks(shared: &Shared, mut client: Conn) {
    let (message, denial) = match timeout(FIRST, asked(shared, &mut client)).await {
        Ok(Ok(Some(allowed))) => {
            if client.write(&socks::reply(Reply::Succeeded)).await.is_ok() {
                named(shared, client, allowed, Way::Socks).await;
            }
            return;
        }
        Ok(Ok(None)) | Err(_) => return,
        Ok(Err(refusal)) => refusal,
    };
    shared.refused(Way::Socks, denial);
    client.farewell(&message).await;
}

/// Reads greeting and request, and decides; nothing when the client has gone.
async fn asked(shared: &Shared, client: &mut Conn) -> Result<Option<Allowed>, (Vec<u8>, Denial)> {
    let malformed = |error: SocksError, message: Vec<u8>| {
        let reason = Reason::Malformed(error.to_string());
        (message, shared.now().deny_unnamed("a SOCKS request", reason))
    };
    let method = if shared.settings.login.is_some() { socks::PASSWORD } else { socks::FREE };
    let length = loop {
        if let Some(length) = socks::greeting(&client.ahead, method).map_err(|error| malformed(error, vec![5, 0xff]))? {
            break length;
        }
        let Ok(1..) = client.fill().await else { return Ok(None) };
    };
    client.used(length);
    if client.write(&[5, method]).await.is_err() {
        return Ok(None);
    }
    if let Some(login) = &shared.settings.login {
        let (length, is_right) = loop {
            let read = socks::login(&client.ahead).map_err(|error| malformed(error, vec![1, 1]))?;
            if let Some((user, password, length)) = read {
                break (length, login.is_pair(user, password));
            }
            let Ok(1..) = client.fill().await else { return Ok(None) };
        };
        if !is_right {
            return Err((vec![1, 1], shared.now().deny_unnamed("a SOCKS request", Reason::Login)));
        }
        client.used(length);
        if client.write(&[1, 0]).await.is_err() {
            return Ok(None);
        }
    }
    let (target, port, length) = loop {
        let read = socks::request(&client.ahead).map_err(|error| {
            let reply = if error == SocksError::Command { Reply::NoCommand } else { Reply::Failed };
            malformed(error, socks::reply(reply).to_vec())
        })?;
        if let Some(read) = read {
            break read;
        }
        let Ok(1..) = client.fill().await else { return Ok(None) };
    };
    client.used(length);
    let refused = |denial: Denial| (socks::reply(Reply::NotAllowed).to_vec(), denial);
    let name = match target {
        Target::Name(name) => name,
        Target::Address(address) => shared
            .name_at(address)
            .ok_or_else(|| refused(shared.now().deny_unnamed(format!("{address} port {port}"), Reason::Address)))?,
    };
    shared.decide(&Endpoint { name, port }).map(Some).map_err(refused)
}

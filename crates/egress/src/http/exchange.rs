//! One request and its response, between two connections. Body and response move at the same time: a server may answer
//! before it has heard everything, and a client may wait for `100 Continue`.

use std::io;
use std::pin::pin;

use tokio::io::AsyncWriteExt as _;
use tokio::net::tcp::WriteHalf;

use crate::budget::{Direction, Meter};
use crate::conn::{Conn, Source, timed};
use crate::decision::Reason;
use crate::http::chunks::{Chunks, From as Sender, Step};
use crate::http::forward::count;
use crate::http::head::{Length, RequestHead, ResponseHead};
use crate::tunnel::Totals;

/// How an exchange ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// Both sides wait for more.
    Kept,
    /// The client waits for more, the server does not.
    ServerCloses,
    /// The client is told that this was the last.
    Closed,
    /// Both speak another protocol from here on.
    Switched,
}

/// What went wrong, and whether the client can still be told.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// Before the first byte of a response.
    Early(Reason),
    /// In the middle of one.
    Late(Reason),
}

/// As many interim responses as a server may send.
const MOST_INTERIM: usize = 16;

/// Passes one request on and its response back.
pub(crate) async fn exchange(
    client: &mut Conn,
    server: &mut Conn,
    head: &RequestHead,
    meter: &Meter,
    totals: &mut Totals,
) -> Result<Ended, Trouble> {
    let written = head.write();
    let Totals { up: total_up, down: total_down } = totals;
    count(meter, total_up, Direction::Up, written.len()).map_err(Trouble::Early)?;
    server.write(&written).await.map_err(|error| Trouble::Early(gone(&error)))?;
    let (mut from_client, mut to_client) = client.split();
    let (mut from_server, mut to_server) = server.split();
    let mut has_begun = false;
    let outcome = {
        let sending = async {
            let mut body = Body { meter, total: total_up, direction: Direction::Up };
            body.pass(&mut from_client, &mut to_server, head.length, head.length, Sender::Client).await
        };
        let receiving = answer(&mut from_server, &mut to_client, head, meter, total_down, &mut has_begun);
        let (mut sending, mut receiving) = (pin!(sending), pin!(receiving));
        let mut is_sent = false;
        loop {
            tokio::select! {
                sent = &mut sending, if !is_sent => match sent {
                    Ok(()) => is_sent = true,
                    Err(reason) => break Err(reason),
                },
                received = &mut receiving => break received.map(|ended| (ended, is_sent)),
            }
        }
    };
    match outcome {
        Ok((Ended::Switched, true)) => Ok(Ended::Switched),
        // What is left of the body would be read as the next request.
        Ok((_, false)) => Ok(Ended::Closed),
        Ok((ended, true)) => Ok(ended),
        Err(reason) if has_begun => Err(Trouble::Late(reason)),
        Err(reason) => Err(Trouble::Early(reason)),
    }
}

fn gone(error: &io::Error) -> Reason {
    Reason::Unreachable(format!("the connection broke: {}", error.kind()))
}

/// Reads the response and passes it to the client.
async fn answer(
    from: &mut Source<'_>,
    to: &mut WriteHalf<'_>,
    request: &RequestHead,
    meter: &Meter,
    total: &mut u64,
    has_begun: &mut bool,
) -> Result<Ended, Reason> {
    for _ in 0..MOST_INTERIM {
        let head = response_head(from, &request.method).await?;
        if head.status == 101 {
            let is_asked = request.is_websocket && head.upgrade.as_deref() == Some("websocket");
            if !is_asked {
                return Err(Reason::Unreachable("the server switched to a protocol that nobody asked for".into()));
            }
            *has_begun = true;
            send(to, &head.write(None, None), meter, total).await?;
            return Ok(Ended::Switched);
        }
        if head.status < 200 {
            // An old client would take it for the response.
            if !request.is_old {
                *has_begun = true;
                send(to, &head.write(None, None), meter, total).await?;
            }
            continue;
        }
        let sent_as = match (head.length, request.is_old) {
            (Length::Chunked, true) => Length::UntilClose,
            (length, _) => length,
        };
        let stays = request.is_kept && sent_as != Length::UntilClose && !request.is_old;
        let has_body = request.method != "HEAD" && !matches!(head.status, 204 | 304);
        *has_begun = true;
        let written = head.write(has_body.then_some(sent_as), (!stays).then_some("close"));
        send(to, &written, meter, total).await?;
        let mut body = Body { meter, total, direction: Direction::Down };
        body.pass(from, to, head.length, sent_as, Sender::Server).await?;
        // Bytes behind the response belong to nothing that was asked.
        return Ok(match (stays, head.is_kept && from.ahead.is_empty() && !request.is_websocket) {
            (false, _) => Ended::Closed,
            (true, true) => Ended::Kept,
            (true, false) => Ended::ServerCloses,
        });
    }
    Err(Reason::Unreachable("the server sent interim responses without end".into()))
}

async fn response_head(from: &mut Source<'_>, method: &str) -> Result<ResponseHead, Reason> {
    loop {
        let read = ResponseHead::parse(from.ahead, method);
        let read = read.map_err(|error| Reason::Unreachable(format!("its response is malformed: {error}")))?;
        if let Some((head, length)) = read {
            from.ahead.drain(..length);
            return Ok(head);
        }
        match from.fill().await {
            Ok(0) => return Err(Reason::Unreachable("the server closed without a response".into())),
            Ok(_) => {}
            Err(error) => return Err(gone(&error)),
        }
    }
}

async fn send(to: &mut WriteHalf<'_>, bytes: &[u8], meter: &Meter, total: &mut u64) -> Result<(), Reason> {
    count(meter, total, Direction::Down, bytes.len())?;
    timed(to.write_all(bytes)).await.map_err(|error| gone(&error))
}

/// A body on its way, counted.
struct Body<'m> {
    meter: &'m Meter,
    total: &'m mut u64,
    direction: Direction,
}

impl Body<'_> {
    async fn pass(
        &mut self,
        from: &mut Source<'_>,
        to: &mut WriteHalf<'_>,
        length: Length,
        sent_as: Length,
        sender: Sender,
    ) -> Result<(), Reason> {
        match length {
            Length::Bytes(bytes) => self.counted(from, to, bytes).await,
            Length::UntilClose => self.counted(from, to, u64::MAX).await,
            Length::Chunked => self.chunked(from, to, sent_as, sender).await,
        }
    }

    /// `u64::MAX` bytes are all until the sender closes.
    async fn counted(&mut self, from: &mut Source<'_>, to: &mut WriteHalf<'_>, bytes: u64) -> Result<(), Reason> {
        let mut left = bytes;
        while left > 0 {
            if from.ahead.is_empty() && !self.more(from, bytes == u64::MAX).await? {
                return Ok(());
            }
            let here = usize::try_from(left).unwrap_or(usize::MAX).min(from.ahead.len());
            self.write(to, from.ahead.get(..here).unwrap_or_default(), here).await?;
            from.ahead.drain(..here);
            left = if left == u64::MAX { left } else { left - here as u64 };
        }
        Ok(())
    }

    async fn chunked(
        &mut self,
        from: &mut Source<'_>,
        to: &mut WriteHalf<'_>,
        sent_as: Length,
        sender: Sender,
    ) -> Result<(), Reason> {
        let mut chunks = Chunks::new(sender);
        let mut out = Vec::new();
        loop {
            let step = chunks.step(from.ahead).map_err(|error| Reason::Malformed(error.to_string()))?;
            match step {
                Step::End => break,
                Step::Skip(count) => drop(from.ahead.drain(..count)),
                Step::Data(count) => {
                    let bytes = from.ahead.get(..count).unwrap_or_default();
                    if sent_as == Length::Chunked {
                        out.extend_from_slice(format!("{count:x}\r\n").as_bytes());
                    }
                    out.extend_from_slice(bytes);
                    if sent_as == Length::Chunked {
                        out.extend_from_slice(b"\r\n");
                    }
                    self.write(to, &out, count).await?;
                    out.clear();
                    from.ahead.drain(..count);
                }
            }
            if from.ahead.is_empty() && chunks.step(&[]) != Ok(Step::End) {
                self.more(from, false).await?;
            }
        }
        match sent_as {
            Length::Chunked => self.write(to, b"0\r\n\r\n", 0).await,
            Length::Bytes(_) | Length::UntilClose => Ok(()),
        }
    }

    /// Reads more; false at an end that is allowed here.
    async fn more(&mut self, from: &mut Source<'_>, may_end: bool) -> Result<bool, Reason> {
        match from.fill().await {
            Ok(0) if may_end => Ok(false),
            Ok(0) => Err(Reason::Unreachable("the connection ended in the middle of a body".into())),
            Ok(_) => Ok(true),
            Err(error) => Err(gone(&error)),
        }
    }

    async fn write(&mut self, to: &mut WriteHalf<'_>, bytes: &[u8], counted: usize) -> Result<(), Reason> {
        count(self.meter, self.total, self.direction, counted)?;
        timed(to.write_all(bytes)).await.map_err(|error| gone(&error))
    }
}

//! The heads of HTTP/1 messages: read once, strictly, and written anew. Pure.
//!
//! The attack is a head that two parsers cut differently: a second length, a folded line, a bare CR or LF, a space before
//! the colon, a host in two places. Nothing is repaired: what could be read in two ways is refused, and what is passed on
//! is written from what was read, never copied.

use crate::name::{Authority, AuthorityError, Target};

/// As long as a head may be.
pub const MOST: usize = 32 * 1024;
/// As many fields as it may have.
const MOST_FIELDS: usize = 100;

/// What is wrong with a head.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HeadError {
    /// More bytes or fields than any client sends.
    #[error("the head of the message is too long")]
    TooLong,
    /// Not a line of HTTP/1.
    #[error("the first line is no line of HTTP/1.0 or HTTP/1.1")]
    FirstLine,
    /// A field that is malformed, folded, or ends in a bare CR or LF.
    #[error("a header field is malformed")]
    Field,
    /// No `Host`, or several.
    #[error("there must be exactly one Host header")]
    Host,
    /// A host that is none.
    #[error("the host is none: {0}")]
    Authority(#[from] AuthorityError),
    /// The URL names one host, `Host` another.
    #[error("the URL and the Host header name different hosts")]
    TwoHosts,
    /// Two lengths, a length that is no number, another coding than chunked.
    #[error("the length of the body can be read in two ways")]
    Length,
    /// `Connection` names a field that must arrive.
    #[error("the Connection header names a field that is not its to remove")]
    Connection,
    /// Another protocol than WebSocket.
    #[error("an upgrade to another protocol than WebSocket")]
    Upgrade,
    /// A method that is not passed on.
    #[error("the method {0} is not passed on")]
    Method(String),
}

/// How a body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    /// After so many bytes.
    Bytes(u64),
    /// After the last chunk.
    Chunked,
    /// When the sender closes: responses only.
    UntilClose,
}

/// What a request is aimed at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Aim {
    /// `/path`, with the host in `Host`.
    Origin,
    /// `http://host/path`.
    Absolute,
    /// `CONNECT host:port`.
    Connect,
}

/// One field: the name as it was written, the value without space around it.
pub type Field = (String, Vec<u8>);

/// The head of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestHead {
    /// The method, in capitals.
    pub method: String,
    /// How the target is written.
    pub aim: Aim,
    /// The host that it asks for.
    pub authority: Authority,
    /// Path and query, `/` at least; empty for CONNECT.
    pub path: String,
    /// Whether it is HTTP/1.0.
    pub is_old: bool,
    /// The fields that are passed on: without hop-by-hop ones, `Host` and lengths.
    pub fields: Vec<Field>,
    /// What the client says to the proxy about itself. Never passed on.
    pub proxy_authorization: Option<Vec<u8>>,
    /// How the body ends.
    pub length: Length,
    /// Whether it asks to become a WebSocket.
    pub is_websocket: bool,
    /// Whether the client wants to go on afterwards.
    pub is_kept: bool,
}

/// The head of a response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResponseHead {
    /// The status.
    pub status: u16,
    /// The words behind it.
    pub reason: String,
    /// The fields that are passed on.
    pub fields: Vec<Field>,
    /// How the body ends.
    pub length: Length,
    /// Whether the server waits for more requests.
    pub is_kept: bool,
    /// The protocol that it switches to.
    pub upgrade: Option<String>,
}

/// Returns the length of the head at the beginning of `bytes`; nothing while its end is missing.
///
/// # Errors
/// It is too long, or has a bare CR or LF, or another byte that no head has.
fn extent(bytes: &[u8]) -> Result<Option<usize>, HeadError> {
    let seen = bytes.get(..MOST).unwrap_or(bytes);
    for (at, byte) in seen.iter().enumerate() {
        match byte {
            b'\n' if at == 0 || seen.get(at - 1) != Some(&b'\r') => return Err(HeadError::Field),
            b'\n' if at >= 3 && seen.get(at - 3..at) == Some(b"\r\n\r") => return Ok(Some(at + 1)),
            b'\r' if seen.get(at + 1).is_some_and(|next| *next != b'\n') => return Err(HeadError::Field),
            0..=8 | 11 | 12 | 14..=31 | 127 => return Err(HeadError::Field),
            _ => {}
        }
    }
    match bytes.len() >= MOST {
        true => Err(HeadError::TooLong),
        false => Ok(None),
    }
}

fn is_token(bytes: &[u8]) -> bool {
    let is_part = |b: &u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b);
    !bytes.is_empty() && bytes.iter().all(is_part)
}

/// The lines of a head, without their ends.
fn lines(head: &[u8]) -> impl Iterator<Item = &[u8]> {
    head.strip_suffix(b"\r\n\r\n")
        .unwrap_or(head)
        .split(|b| *b == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
}

fn fields<'h>(lines: impl Iterator<Item = &'h [u8]>) -> Result<Vec<Field>, HeadError> {
    let mut fields = Vec::new();
    for line in lines {
        if fields.len() >= MOST_FIELDS {
            return Err(HeadError::TooLong);
        }
        let colon = line.iter().position(|b| *b == b':').ok_or(HeadError::Field)?;
        let (name, value) = line.split_at(colon);
        // A folded line begins with a space, and has none of a name; so has `Name :`.
        if !is_token(name) {
            return Err(HeadError::Field);
        }
        let value = value.get(1..).unwrap_or_default().trim_ascii();
        let name = String::from_utf8(name.to_vec()).map_err(|_| HeadError::Field)?;
        fields.push((name, value.to_vec()));
    }
    Ok(fields)
}

fn all<'f>(fields: &'f [Field], name: &str) -> impl Iterator<Item = &'f [u8]> {
    fields.iter().filter(move |(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_slice())
}

/// The words of a list, in lower case.
fn words(fields: &[Field], name: &str) -> Vec<String> {
    let text = all(fields, name).map(|value| String::from_utf8_lossy(value).to_ascii_lowercase());
    text.flat_map(|text| text.split(',').map(|word| word.trim().to_owned()).collect::<Vec<_>>())
        .filter(|word| !word.is_empty())
        .collect()
}

/// Reads the length of a body; nothing when the head says none.
fn length(fields: &[Field]) -> Result<Option<Length>, HeadError> {
    let codings: Vec<&[u8]> = all(fields, "transfer-encoding").collect();
    let lengths: Vec<&[u8]> = all(fields, "content-length").collect();
    match (codings.as_slice(), lengths.as_slice()) {
        ([], []) => Ok(None),
        ([coding], []) if coding.eq_ignore_ascii_case(b"chunked") => Ok(Some(Length::Chunked)),
        ([], [digits]) if !digits.is_empty() && digits.len() <= 18 && digits.iter().all(u8::is_ascii_digit) => {
            let text = std::str::from_utf8(digits).map_err(|_| HeadError::Length)?;
            text.parse().map(|bytes| Some(Length::Bytes(bytes))).map_err(|_| HeadError::Length)
        }
        _ => Err(HeadError::Length),
    }
}

/// Fields that say something to the next hop only, and ones that would make a proxy upstream of a server.
const HOP_BY_HOP: &[&str] = &[
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authorization",
    "proxy-authenticate",
    "te",
    "trailer",
    "transfer-encoding",
    "content-length",
    "upgrade",
    "host",
    "http2-settings",
    "alt-svc",
    "alt-used",
    "x-upstream-https-proxy",
];
/// What `Connection` may name besides itself; anything else would take a field away from the server.
const MAY_BE_NAMED: &[&str] =
    &["close", "keep-alive", "te", "upgrade", "http2-settings", "proxy-connection", "trailer"];

fn passed_on(fields: Vec<Field>) -> Vec<Field> {
    fields.into_iter().filter(|(name, _)| !HOP_BY_HOP.iter().any(|hop| name.eq_ignore_ascii_case(hop))).collect()
}

impl RequestHead {
    /// Reads a request's head and says how long it is; nothing while bytes are missing. `usual` is the port that a host
    /// without one means.
    ///
    /// # Errors
    /// It can be read in more than one way, or asks for what is not passed on.
    pub fn parse(bytes: &[u8], usual: u16) -> Result<Option<(Self, usize)>, HeadError> {
        let Some(end) = extent(bytes)? else { return Ok(None) };
        let mut lines = lines(bytes.get(..end).unwrap_or_default());
        let first = lines.next().unwrap_or_default();
        let fields = fields(lines)?;
        let mut words_of = first.split(|b| *b == b' ');
        let (Some(method), Some(target), Some(version), None) =
            (words_of.next(), words_of.next(), words_of.next(), words_of.next())
        else {
            return Err(HeadError::FirstLine);
        };
        let is_old = match version {
            b"HTTP/1.1" => false,
            b"HTTP/1.0" => true,
            _ => return Err(HeadError::FirstLine),
        };
        if method.is_empty() || method.len() > 16 || !method.iter().all(u8::is_ascii_uppercase) {
            return Err(HeadError::FirstLine);
        }
        let method = String::from_utf8(method.to_vec()).map_err(|_| HeadError::FirstLine)?;
        let hosts: Vec<&[u8]> = all(&fields, "host").collect();
        let [host] = hosts.as_slice() else { return Err(HeadError::Host) };
        let (aim, authority, path) = aim(&method, target, host, usual)?;
        let connection = words(&fields, "connection");
        if connection.iter().any(|word| !MAY_BE_NAMED.contains(&word.as_str())) {
            return Err(HeadError::Connection);
        }
        let is_websocket = upgrade(&fields, &connection, &method, is_old)?;
        let length = length(&fields)?.unwrap_or(Length::Bytes(0));
        if (is_old && length == Length::Chunked) || (is_websocket && length != Length::Bytes(0)) {
            return Err(HeadError::Length);
        }
        let says = |word: &str| {
            connection.iter().any(|w| w == word) || words(&fields, "proxy-connection").iter().any(|w| w == word)
        };
        let is_kept = if is_old { says("keep-alive") } else { !says("close") };
        let mut logins = all(&fields, "proxy-authorization").map(<[u8]>::to_vec);
        let proxy_authorization = logins.next().filter(|_| logins.next().is_none());
        drop(logins);
        let fields = passed_on(fields);
        let head = RequestHead {
            method,
            aim,
            authority,
            path,
            is_old,
            fields,
            proxy_authorization,
            length,
            is_websocket,
            is_kept,
        };
        Ok(Some((head, end)))
    }

    /// Returns the path without the query: what may be written down.
    pub fn path_alone(&self) -> &str {
        self.path.split('?').next().unwrap_or_default()
    }

    /// Writes the head for the server.
    pub fn write(&self) -> Vec<u8> {
        let host = match (&self.authority.target, self.authority.port) {
            (Target::Name(name), 80) => name.to_string(),
            (Target::Name(name), port) => format!("{name}:{port}"),
            (Target::Address(address), port) => format!("{address}:{port}"),
        };
        let version = if self.is_old { "HTTP/1.0" } else { "HTTP/1.1" };
        let mut out = format!("{} {} {version}\r\nHost: {host}\r\n", self.method, self.path).into_bytes();
        write_fields(&mut out, &self.fields, self.has_body().then_some(self.length));
        out.extend_from_slice(match (self.is_websocket, self.is_old) {
            (true, _) => b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n".as_slice(),
            (false, true) => b"Connection: close\r\n\r\n",
            (false, false) => b"\r\n",
        });
        out
    }

    /// Whether a length is written: of an empty body only where servers ask for it.
    fn has_body(&self) -> bool {
        self.length != Length::Bytes(0) || matches!(self.method.as_str(), "POST" | "PUT" | "PATCH")
    }
}

fn aim(method: &str, target: &[u8], host: &[u8], usual: u16) -> Result<(Aim, Authority, String), HeadError> {
    let of_host = || Authority::parse(host, Some(usual));
    if method == "CONNECT" {
        // The port is part of what is asked for, never a default.
        let authority = Authority::parse(target, None)?;
        return match Authority::parse(host, Some(authority.port))? == authority {
            true => Ok((Aim::Connect, authority, String::new())),
            false => Err(HeadError::TwoHosts),
        };
    }
    if matches!(method, "TRACE" | "TRACK" | "PRI") {
        return Err(HeadError::Method(method.to_owned()));
    }
    let is_plain = |b: &u8| b.is_ascii_graphic() && !matches!(b, b'#' | b'\\' | b'"' | b'<' | b'>' | b'^' | b'`');
    if !target.iter().all(is_plain) {
        return Err(HeadError::FirstLine);
    }
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).map_err(|_| HeadError::FirstLine);
    if target.first() == Some(&b'/') || (method == "OPTIONS" && target == b"*") {
        return Ok((Aim::Origin, of_host()?, text(target)?));
    }
    let scheme = target.get(..7).filter(|scheme| scheme.eq_ignore_ascii_case(b"http://"));
    let rest = scheme.and_then(|_| target.get(7..)).ok_or(HeadError::FirstLine)?;
    let cut = rest.iter().position(|b| matches!(b, b'/' | b'?')).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(cut);
    let authority = Authority::parse(authority, Some(80))?;
    if Authority::parse(host, Some(80))? != authority {
        return Err(HeadError::TwoHosts);
    }
    let path = match path.first() {
        Some(b'/') => text(path)?,
        _ => format!("/{}", text(path)?),
    };
    Ok((Aim::Absolute, authority, path))
}

/// Whether this asks to become a WebSocket; other protocols, h2c before all, would be requests that nobody reads.
fn upgrade(fields: &[Field], connection: &[String], method: &str, is_old: bool) -> Result<bool, HeadError> {
    let named = words(fields, "upgrade");
    let is_asked = connection.iter().any(|word| word == "upgrade");
    if all(fields, "http2-settings").next().is_some() || connection.iter().any(|word| word == "http2-settings") {
        return Err(HeadError::Upgrade);
    }
    match named.as_slice() {
        [] => Ok(false),
        [only] if only == "websocket" && is_asked && method == "GET" && !is_old => Ok(true),
        _ => Err(HeadError::Upgrade),
    }
}

impl ResponseHead {
    /// Reads a response's head and says how long it is; nothing while bytes are missing. `method` is what was asked:
    /// whether there is a body depends on it.
    ///
    /// # Errors
    /// It can be read in more than one way.
    pub fn parse(bytes: &[u8], method: &str) -> Result<Option<(Self, usize)>, HeadError> {
        let Some(end) = extent(bytes)? else { return Ok(None) };
        let mut lines = lines(bytes.get(..end).unwrap_or_default());
        let first = lines.next().unwrap_or_default();
        let fields = fields(lines)?;
        let (version, rest) = first.split_at_checked(9).ok_or(HeadError::FirstLine)?;
        let is_old = match version {
            b"HTTP/1.1 " => false,
            b"HTTP/1.0 " => true,
            _ => return Err(HeadError::FirstLine),
        };
        let (digits, words_behind) = rest.split_at_checked(3).ok_or(HeadError::FirstLine)?;
        let status = std::str::from_utf8(digits).ok().and_then(|text| text.parse::<u16>().ok());
        let status = status.filter(|status| (100..600).contains(status)).ok_or(HeadError::FirstLine)?;
        let reason = match words_behind {
            [] => String::new(),
            [b' ', reason @ ..] => String::from_utf8_lossy(reason).into_owned(),
            _ => return Err(HeadError::FirstLine),
        };
        let connection = words(&fields, "connection");
        let upgrade = words(&fields, "upgrade").into_iter().next().filter(|_| status == 101);
        let said = length(&fields)?;
        let is_bodyless = method == "HEAD" || status < 200 || matches!(status, 204 | 304);
        let length = match (is_bodyless, said) {
            (true, _) => Length::Bytes(0),
            (false, Some(length)) => length,
            (false, None) => Length::UntilClose,
        };
        let says = |word: &str| connection.iter().any(|w| w == word);
        let is_kept = length != Length::UntilClose && if is_old { says("keep-alive") } else { !says("close") };
        let mut passed = passed_on(fields.clone());
        // What `Connection` names is meant for us; the length of a body that is not sent is meant for the client.
        passed.retain(|(name, _)| !connection.iter().any(|word| name.eq_ignore_ascii_case(word)));
        if is_bodyless && status >= 200 {
            passed.extend(fields.into_iter().filter(|(name, _)| name.eq_ignore_ascii_case("content-length")));
        }
        Ok(Some((ResponseHead { status, reason, fields: passed, length, is_kept, upgrade }, end)))
    }

    /// Writes the head for the client; `sent` is how the body is sent on, if there may be one.
    pub fn write(&self, sent: Option<Length>, will_close: Option<&str>) -> Vec<u8> {
        let mut out = format!("HTTP/1.1 {} ", self.status).into_bytes();
        out.extend(self.reason.bytes().map(|b| if b.is_ascii_graphic() || b == b' ' { b } else { b'?' }));
        out.extend_from_slice(b"\r\n");
        write_fields(&mut out, &self.fields, sent);
        match (&self.upgrade, will_close) {
            (Some(_), _) => out.extend_from_slice(b"Connection: Upgrade\r\nUpgrade: websocket\r\n"),
            (None, Some(words)) => out.extend_from_slice(format!("Connection: {words}\r\n").as_bytes()),
            (None, None) => {}
        }
        out.extend_from_slice(b"\r\n");
        out
    }
}

fn write_fields(out: &mut Vec<u8>, fields: &[Field], sent: Option<Length>) {
    for (name, value) in fields {
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value);
        out.extend_from_slice(b"\r\n");
    }
    match sent {
        Some(Length::Bytes(bytes)) => out.extend_from_slice(format!("Content-Length: {bytes}\r\n").as_bytes()),
        Some(Length::Chunked) => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
        Some(Length::UntilClose) | None => {}
    }
}

#[cfg(test)]
#[path = "head_tests.rs"]
mod tests;

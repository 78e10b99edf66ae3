//! The dialogue with a mail server (RFC 5321, 3207, 4954), as little of it as submission of one message needs.
//!
//! Our own, for what it must not do: read without a bound, go on after its time, say anything before the connection is
//! encrypted, or believe what came in before that (CVE-2011-0411).

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use mantlet_policy::MailSecurity;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use rustls_platform_verifier::BuilderVerifierExt;
use zeroize::Zeroizing;

use super::SendError;
use super::http::network;
use super::secret::Secret;

/// As much as a server says in one delivery, with its certificates.
const MOST: usize = 256 << 10;
/// As long as a line of a reply is (RFC 5321 says 512), and as many lines as one has.
const MOST_LINE: usize = 2048;
const MOST_LINES: usize = 100;

/// Where it is, and how it is encrypted.
pub(super) struct Server {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) security: MailSecurity,
}

/// Gives one message to a server.
pub(super) fn deliver(
    server: &Server,
    login: Option<(&str, &Secret)>,
    (from, to): (&str, &[String]),
    message: &[u8],
    until: Instant,
) -> Result<(), SendError> {
    let mut wire = Wire::connect(server, until)?;
    if server.security == MailSecurity::Tls {
        wire = wire.encrypted(&server.host)?;
    }
    wire.expect(220, "the connection")?;
    let mut offers = wire.hello()?;
    if server.security == MailSecurity::StartTls {
        // Not "where it offers that": an attacker on the way would take the offer out.
        if !offers.iter().any(|offer| offer == "STARTTLS") {
            return Err(SendError::MailServer("offers no STARTTLS"));
        }
        wire.say("STARTTLS", 220, "STARTTLS")?;
        wire = wire.encrypted(&server.host)?;
        offers = wire.hello()?;
    }
    if let Some((user, word)) = login {
        wire.login(&offers, user, word)?;
    }
    wire.say(&format!("MAIL FROM:<{from}>"), 250, "MAIL FROM")?;
    for address in to {
        wire.say(&format!("RCPT TO:<{address}>"), 250, "RCPT TO")?;
    }
    wire.say("DATA", 354, "DATA")?;
    wire.write(&stuffed(message))?;
    wire.expect(250, "the message")?;
    // It has the message: how it takes the farewell changes nothing.
    wire.write(b"QUIT\r\n").ok();
    Ok(())
}

/// The message with its end. A line of its own that is a dot would be that end.
fn stuffed(message: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(message.len() + 16);
    for line in message.split(|b| *b == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.starts_with(b".") {
            out.push(b'.');
        }
        out.extend_from_slice(line);
        out.extend_from_slice(b"\r\n");
    }
    if out.ends_with(b"\r\n\r\n") {
        out.truncate(out.len() - 2);
    }
    out.extend_from_slice(b".\r\n");
    out
}

/// A socket that ends at a time, and after so many bytes.
struct Bounded {
    socket: TcpStream,
    until: Instant,
    left: usize,
}

impl Bounded {
    fn remaining(&self) -> io::Result<Duration> {
        let left = self.until.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
    }
}

impl Read for Bounded {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.socket.set_read_timeout(Some(self.remaining()?))?;
        let most = buffer.len().min(self.left);
        if most == 0 {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let count = self.socket.read(&mut buffer[..most])?;
        self.left -= count;
        Ok(count)
    }
}

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.socket.set_write_timeout(Some(self.remaining()?))?;
        self.socket.write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.socket.flush()
    }
}

enum Stream {
    Open(Bounded),
    Encrypted(Box<StreamOwned<ClientConnection, Bounded>>),
}

struct Wire {
    stream: Stream,
    /// What was read and not used yet.
    ahead: Vec<u8>,
}

fn broken(error: io::Error) -> SendError {
    SendError::Network(network(&error))
}

impl Wire {
    fn connect(server: &Server, until: Instant) -> Result<Wire, SendError> {
        let addresses = (server.host.as_str(), server.port).to_socket_addrs();
        let addresses = addresses.map_err(|_| SendError::Network("the server's name was not found".into()))?;
        let mut last = SendError::Network("the server's name has no address".into());
        for address in addresses {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            match TcpStream::connect_timeout(&address, left) {
                Ok(socket) => {
                    let stream = Stream::Open(Bounded { socket, until, left: MOST });
                    return Ok(Wire { stream, ahead: Vec::new() });
                }
                Err(error) => last = broken(error),
            }
        }
        Err(last)
    }

    /// From here on encrypted, with the server that the policy names.
    fn encrypted(self, host: &str) -> Result<Wire, SendError> {
        let Stream::Open(mut socket) = self.stream else {
            return Err(SendError::MailServer("is encrypted already"));
        };
        // Said by whoever is on the way, to be taken for the server's first words in private.
        if !self.ahead.is_empty() {
            return Err(SendError::MailServer("spoke out of turn before STARTTLS"));
        }
        let tls = |error: rustls::Error| SendError::Network(format!("no encrypted connection: {error}"));
        let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .and_then(BuilderVerifierExt::with_platform_verifier)
            .map_err(tls)?
            .with_no_client_auth();
        let name = ServerName::try_from(host.to_owned());
        let name = name.map_err(|_| SendError::MailServer("has a name that no certificate can have"))?;
        let mut connection = ClientConnection::new(Arc::new(config), name).map_err(tls)?;
        while connection.is_handshaking() {
            connection.complete_io(&mut socket).map_err(broken)?;
        }
        let stream = Stream::Encrypted(Box::new(StreamOwned::new(connection, socket)));
        Ok(Wire { stream, ahead: Vec::new() })
    }

    fn hello(&mut self) -> Result<Vec<String>, SendError> {
        // An address literal: the name of this machine is nobody's business.
        let lines = self.say("EHLO [127.0.0.1]", 250, "EHLO")?;
        Ok(lines.into_iter().map(|line| line.trim().to_ascii_uppercase()).collect())
    }

    fn login(&mut self, offers: &[String], user: &str, word: &Secret) -> Result<(), SendError> {
        let mechanisms = offers.iter().find_map(|offer| offer.strip_prefix("AUTH "));
        let offered = |name: &str| mechanisms.is_some_and(|all| all.split_whitespace().any(|one| one == name));
        let coded = |text: &str| Zeroizing::new(BASE64.encode(text));
        if offered("PLAIN") {
            let both = Zeroizing::new(format!("\0{user}\0{}", word.expose()));
            let line = Zeroizing::new(format!("AUTH PLAIN {}", *coded(&both)));
            return self.say(&line, 235, "AUTH").map(drop);
        }
        if offered("LOGIN") {
            self.say("AUTH LOGIN", 334, "AUTH")?;
            self.say(&coded(user), 334, "AUTH")?;
            return self.say(&coded(word.expose()), 235, "AUTH").map(drop);
        }
        Err(SendError::MailServer("offers no login by password (AUTH PLAIN or LOGIN)"))
    }

    fn say(&mut self, line: &str, wanted: u16, step: &'static str) -> Result<Vec<String>, SendError> {
        // What is in it was checked before; a line break here would be a command of somebody else's.
        if line.contains(['\r', '\n']) {
            return Err(SendError::MailServer("was to be told two lines in one"));
        }
        self.write(&Zeroizing::new(format!("{line}\r\n").into_bytes()))?;
        self.expect(wanted, step)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), SendError> {
        if !self.ahead.is_empty() {
            return Err(SendError::MailServer("spoke out of turn"));
        }
        let stream: &mut dyn Write = match &mut self.stream {
            Stream::Open(open) => open,
            Stream::Encrypted(encrypted) => encrypted,
        };
        stream.write_all(bytes).and_then(|()| stream.flush()).map_err(broken)
    }

    /// Reads a reply; returns the texts of its lines.
    fn expect(&mut self, wanted: u16, step: &'static str) -> Result<Vec<String>, SendError> {
        let mut texts = Vec::new();
        loop {
            let line = self.line()?;
            let code = line.get(..3).filter(|code| code.bytes().all(|b| b.is_ascii_digit()));
            let code = code.and_then(|code| code.parse::<u16>().ok());
            let code = code.ok_or(SendError::MailServer("does not speak SMTP"))?;
            let is_last = line.as_bytes().get(3) != Some(&b'-');
            texts.push(line.get(4..).unwrap_or_default().to_owned());
            match is_last {
                // RCPT has 251 besides, for a message that is passed on.
                true if code == wanted || (wanted == 250 && code == 251) => return Ok(texts),
                true => return Err(SendError::Mail { code, step }),
                false if texts.len() >= MOST_LINES => return Err(SendError::MailServer("answers without an end")),
                false => {}
            }
        }
    }

    fn line(&mut self) -> Result<String, SendError> {
        loop {
            if let Some(end) = self.ahead.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = self.ahead.drain(..=end).collect();
                return Ok(String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']).to_owned());
            }
            if self.ahead.len() > MOST_LINE {
                return Err(SendError::MailServer("answers without an end"));
            }
            let mut buffer = [0; 1024];
            let count = match &mut self.stream {
                Stream::Open(open) => open.read(&mut buffer),
                Stream::Encrypted(encrypted) => encrypted.read(&mut buffer),
            };
            match count.map_err(broken)? {
                0 => return Err(SendError::Network("the server closed the connection".into())),
                count => self.ahead.extend_from_slice(&buffer[..count]),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dot_on_its_own_ends_no_message() {
        assert_eq!(stuffed(b"a\r\n.\r\nMAIL FROM:<x>\r\n"), b"a\r\n..\r\nMAIL FROM:<x>\r\n.\r\n");
        assert_eq!(stuffed(b"a\n.b\n.\n"), b"a\r\n..b\r\n..\r\n.\r\n");
        assert_eq!(stuffed(b"a"), b"a\r\n.\r\n");
    }
}

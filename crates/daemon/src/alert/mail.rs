//! A mail, written by a library that knows headers, and given to a server or to sendmail.

use std::time::{Duration, Instant, SystemTime};

use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::message::{Mailbox, Message};
use mantlet_policy::{Email, MailVia};
use sha2::{Digest as _, Sha256};

use super::program::Program;
use super::secret::{Secret, Sources};
use super::smtp::{self, Server};
use super::{Alert, SendError};

/// One mail, ready to be given away as often as needed.
pub(super) enum Mail<'e> {
    Program(Program),
    Server { email: &'e Email, server: Server, login: Option<(&'e str, Secret)>, message: Vec<u8> },
}

impl<'e> Mail<'e> {
    pub(super) fn new(to: &'e Email, alert: &Alert, host: &str, sources: &Sources<'_>) -> Result<Self, SendError> {
        let message = message(to, alert, host)?;
        match &to.via {
            MailVia::Program(path) => {
                Program::sendmail(path, &to.from, &to.to, message, sources.reachable).map(Mail::Program)
            }
            MailVia::Server { host, port, security, login } => {
                let server = Server { host: host.clone(), port: *port, security: *security };
                let read = |(user, from): &'e (String, _)| sources.read(from).map(|word| (user.as_str(), word));
                Ok(Mail::Server { email: to, server, login: login.as_ref().map(read).transpose()?, message })
            }
        }
    }

    pub(super) fn send(&self, timeout: Duration) -> Result<(), SendError> {
        match self {
            Mail::Program(program) => program.run(timeout),
            Mail::Server { email, server, login, message } => {
                let until = Instant::now() + timeout;
                let login = login.as_ref().map(|(user, word)| (*user, word));
                let sent = smtp::deliver(server, login, (&email.from, &email.to), message, until);
                // Whatever broke at the end of the time broke because of it.
                match sent {
                    Err(SendError::Network(_)) if Instant::now() >= until => Err(SendError::Timeout(timeout)),
                    other => other,
                }
            }
        }
    }
}

fn message(to: &Email, alert: &Alert, host: &str) -> Result<Vec<u8>, SendError> {
    let failed = |why: &dyn std::fmt::Display| SendError::Message(mantlet_ledger::escape(why.to_string().as_bytes()));
    let mailbox = |address: &str| address.parse().map(|address| Mailbox::new(None, address)).map_err(|e| failed(&e));
    let domain = to.from.rsplit('@').next().unwrap_or("localhost");
    let (title, body) = (alert.title(host), alert.body());
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let hash = Sha256::new().chain_update(now.as_nanos().to_le_bytes()).chain_update(&body).finalize();
    let mut builder = Message::builder().from(mailbox(&to.from)?).subject(title.as_str()).date_now();
    for address in &to.to {
        builder = builder.to(mailbox(address)?);
    }
    // RFC 3834: no automatic answer is sent to this.
    let automatic = HeaderName::new_from_ascii_str("Auto-Submitted");
    let message = builder
        .message_id(Some(format!("<{}@{domain}>", super::hex(&hash[..16]))))
        .raw_header(HeaderValue::new(automatic, "auto-generated".into()))
        .header(ContentType::TEXT_PLAIN)
        .body(format!("{title}\n\n{body}"));
    message.map(|message| message.formatted()).map_err(|e| failed(&e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_break_in_a_files_name_makes_no_header() {
        let email = mantlet_policy::parse(
            "version = 1\n[alert.email]\nfrom = \"a@b.org\"\nto = [\"c@d.org\"]\nsendmail = \"/s\"",
            std::path::Path::new("x"),
            &crate::alert::tests::Nowhere,
        );
        let email = email.unwrap().alert().unwrap().email.clone().unwrap();
        for name in
            ["x\r\nBcc: evil@e.org\r\n\r\nhello", "x\nBcc: evil@e.org", "ü\r\nBcc: evil@e.org", "x\u{2028}Bcc: e"]
        {
            let alert = Alert::new(name, name).who(name).outcome(name).next(name);
            let text = String::from_utf8(message(&email, &alert, "host").unwrap()).unwrap();
            let (head, _) = text.split_once("\r\n\r\n").unwrap();
            let names: Vec<&str> = head
                .split("\r\n")
                .filter(|line| !line.starts_with(' '))
                .map(|line| line.split(':').next().unwrap())
                .collect();
            let wanted = ["From", "Subject", "Date", "To", "Message-ID", "Auto-Submitted", "Content-Type"];
            assert!(wanted.iter().all(|name| names.contains(name)), "{head}");
            assert!(!names.iter().any(|name| name.eq_ignore_ascii_case("bcc")), "{head}");
            assert!(!text.replace("\r\n", "").contains(['\r', '\n']), "{text:?}");
        }
    }
}

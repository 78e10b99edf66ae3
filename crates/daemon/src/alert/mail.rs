//! A mail, given to a server or to sendmail.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use mantlet_policy::{Email, MailVia};

use super::message;
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
    pub(super) fn new(
        to: &'e Email,
        alert: &Alert,
        host: &str,
        sources: &Sources<'_>,
        writable: &[PathBuf],
    ) -> Result<Self, SendError> {
        let message = message::written(&to.from, &to.to, &alert.title(host), &alert.body());
        match &to.via {
            MailVia::Program(path) => {
                // Between programs of one host lines end as in its files.
                let message = message.into_iter().filter(|byte| *byte != b'\r').collect();
                Program::sendmail(path, &to.from, &to.to, message, writable).map(Mail::Program)
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

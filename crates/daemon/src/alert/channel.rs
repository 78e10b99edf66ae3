//! The channels of a policy, each with what it takes to send one message.

use std::path::{Path, PathBuf};

use mantlet_ledger::escape;
use mantlet_policy::{Alert as Policy, MailVia, PathRule, Policy as Whole, UrlRef};

use super::http::{self, Request};
use super::mail::Mail;
use super::program::Program;
use super::secret::{Sources, VaultLookup};
use super::{Alert, Pace, SendError};

/// A way to the owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Channel {
    /// The owner's program.
    Command,
    /// A notification.
    Desktop,
    /// JSON to a server.
    Webhook,
    /// A topic of an ntfy server.
    Ntfy,
    /// A chat of Telegram's.
    Telegram,
    /// A mail.
    Email,
}

/// All of them, in the order in which they are shown.
const ALL: [Channel; 6] =
    [Channel::Command, Channel::Desktop, Channel::Webhook, Channel::Ntfy, Channel::Telegram, Channel::Email];

impl Channel {
    /// Returns its word in the policy and the ledger.
    pub fn word(self) -> &'static str {
        match self {
            Channel::Command => "command",
            Channel::Desktop => "desktop",
            Channel::Webhook => "webhook",
            Channel::Ntfy => "ntfy",
            Channel::Telegram => "telegram",
            Channel::Email => "email",
        }
    }

    fn is_in(self, policy: &Policy) -> bool {
        match self {
            Channel::Command => !policy.command.is_empty(),
            Channel::Desktop => policy.is_on_desktop,
            Channel::Webhook => policy.webhook.is_some(),
            Channel::Ntfy => policy.ntfy.is_some(),
            Channel::Telegram => policy.telegram.is_some(),
            Channel::Email => policy.email.is_some(),
        }
    }

    /// Returns where it leads, escaped and without a secret.
    pub fn leads_to(self, policy: &Policy) -> String {
        let text = match self {
            Channel::Command => Some(policy.command.join(" ")),
            Channel::Desktop => Some("notifications by /usr/bin/notify-send".into()),
            Channel::Webhook => policy.webhook.as_ref().map(|to| {
                let url = match &to.url {
                    UrlRef::Plain(url) => url.clone(),
                    UrlRef::Secret(from) => format!("the URL in {}", from.place()),
                };
                let key = to.key.as_ref().map(|key| format!(", signed with {}", key.place()));
                url + &key.unwrap_or_default()
            }),
            Channel::Ntfy => policy.ntfy.as_ref().map(|to| {
                let token = to.token.as_ref().map(|token| format!(", token in {}", token.place()));
                format!("{}/{}{}", to.url, to.topic, token.unwrap_or_default())
            }),
            Channel::Telegram => policy
                .telegram
                .as_ref()
                .map(|to| format!("chat {} through {}, token in {}", to.chat, to.url, to.token.place())),
            Channel::Email => policy.email.as_ref().map(|to| {
                let via = match &to.via {
                    MailVia::Program(path) => path.to_string_lossy().into_owned(),
                    MailVia::Server { host, port, security, login } => {
                        let login = login.as_ref().map(|(user, word)| format!(" as {user}, {}", word.place()));
                        format!("{}://{host}:{port}{}", security.word(), login.unwrap_or_default())
                    }
                };
                format!("{} through {via}", to.to.join(", "))
            }),
        };
        escape(mantlet_dlp::mask(&text.unwrap_or_default()).as_bytes())
    }
}

/// Returns the channels that a policy names.
pub fn configured(policy: &Policy) -> Vec<Channel> {
    ALL.into_iter().filter(|channel| channel.is_in(policy)).collect()
}

/// What sending needs to know.
#[derive(Clone)]
pub struct Settings {
    pub(super) policy: Policy,
    /// What an agent can write, and what it can read: no program of the owner's lies in the one, no secret in the other.
    writable: Vec<PathBuf>,
    readable: Vec<PathBuf>,
    vault: Option<VaultLookup>,
    host: String,
    pub(super) pace: Pace,
}

impl Settings {
    /// Takes them from a policy; none where it has no `[alert]`.
    pub fn new(policy: &Whole) -> Option<Settings> {
        let alert = policy.alert()?.clone();
        let (mut writable, mut readable) = (Vec::new(), Vec::new());
        for agent in policy.agents() {
            let opened = |rules: &[PathRule]| rules.iter().filter_map(PathRule::path).map(Path::to_owned).collect();
            let written: Vec<PathBuf> = opened(agent.files().write());
            writable.extend(written.into_iter().chain([agent.workspace().to_owned()]));
            readable.extend::<Vec<PathBuf>>(opened(agent.files().read()));
        }
        readable.extend(writable.iter().cloned());
        // By their real places as well: what is compared with them is one.
        for list in [&mut writable, &mut readable] {
            let real: Vec<PathBuf> = list.iter().filter_map(|path| path.canonicalize().ok()).collect();
            list.extend(real);
        }
        let name = rustix::system::uname();
        let host = mantlet_ledger::shorten(&escape(name.nodename().to_bytes()), 64).into_owned();
        Some(Settings { policy: alert, writable, readable, vault: None, host, pace: Pace::default() })
    }

    /// Lends the vault, for secrets that are named as `*_secret`.
    #[must_use]
    pub fn with_vault(self, lookup: VaultLookup) -> Settings {
        Settings { vault: Some(lookup), ..self }
    }
}

/// One message on its way by one channel.
pub(super) enum Prepared<'s> {
    Http(Request),
    Program(Program),
    Mail(Box<Mail<'s>>),
}

/// Reads the secrets and writes the message; what fails here fails again.
pub(super) fn prepare<'s>(settings: &'s Settings, channel: Channel, alert: &Alert) -> Result<Prepared<'s>, SendError> {
    let Settings { policy, writable, readable, host, .. } = settings;
    let sources = Sources { vault: settings.vault.as_ref(), readable };
    let prepared = match channel {
        Channel::Command => Some(Program::command(&policy.command, alert, host, writable).map(Prepared::Program)),
        Channel::Desktop => Some(Program::desktop(alert, host, writable).map(Prepared::Program)),
        Channel::Webhook => {
            policy.webhook.as_ref().map(|to| http::webhook(to, alert, host, &sources).map(Prepared::Http))
        }
        Channel::Ntfy => policy.ntfy.as_ref().map(|to| http::ntfy(to, alert, host, &sources).map(Prepared::Http)),
        Channel::Telegram => {
            policy.telegram.as_ref().map(|to| http::telegram(to, alert, host, &sources).map(Prepared::Http))
        }
        Channel::Email => policy
            .email
            .as_ref()
            .map(|to| Mail::new(to, alert, host, &sources, writable).map(|m| Prepared::Mail(Box::new(m)))),
    };
    prepared.unwrap_or_else(|| Err(SendError::Network("the policy has no such channel".into())))
}

impl Prepared<'_> {
    pub(super) fn send(&self, pace: &Pace) -> Result<(), SendError> {
        match self {
            Prepared::Http(request) => request.send(pace.timeout),
            Prepared::Program(program) => program.run(pace.timeout),
            Prepared::Mail(mail) => mail.send(pace.timeout),
        }
    }
}

/// Sends one message by one channel, now, once: to try whether it arrives.
///
/// # Errors
/// Why it did not go.
pub fn send_once(settings: &Settings, channel: Channel, alert: &Alert) -> Result<(), SendError> {
    prepare(settings, channel, alert)?.send(&settings.pace)
}

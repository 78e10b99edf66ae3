//! `[alert]` validated. The attacks: an owner's slip that sends alerts in the clear, or names a program or a token that an
//! agent can write or read.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use crate::alert::{Alert, Email, MailSecurity, MailVia, Ntfy, SecretRef, Telegram, UrlRef, Webhook};
use crate::error::{Fault, Faults, escape};
use crate::file::{AlertFile, EmailFile, NtfyFile, SecretFile, TelegramFile, WebhookFile};
use crate::read::At;
use crate::types::{Agent, Host, Origin, Policy};
use crate::validate::argv;
use crate::{names, place};

const MOST_PER_HOUR: u64 = 1000;
const MOST_RECIPIENTS: usize = 10;

fn bad(what: &'static str, text: &At<String>, why: impl Into<String>, hint: &str, faults: &mut Faults<'_>) {
    faults.add(text.at, Fault::BadValue { what, value: escape(&text.value), why: why.into() }, hint);
}

/// Validates the section; `policy` holds the agents already.
pub(crate) fn alert(file: &AlertFile, policy: &Policy, host: &dyn Host, faults: &mut Faults<'_>) -> Alert {
    let mut judge = Judge { policy, host, faults };
    let command = match &file.command {
        Some(command) => judge.command(command, file.at),
        None => Vec::new(),
    };
    let (per_hour, burst) = judge.limits(file);
    let has_any = file.command.is_some()
        || file.desktop.as_ref().is_some_and(|flag| flag.value)
        || [file.webhook.is_some(), file.ntfy.is_some(), file.telegram.is_some(), file.email.is_some()].contains(&true);
    if !has_any {
        let fault = Fault::Conflict("an `[alert]` that tells nobody".into());
        let hint = "write `desktop = true`, `command = [...]`, or a section [alert.webhook], [alert.ntfy], \
                    [alert.telegram] or [alert.email]";
        judge.faults.add(file.at, fault, hint);
    }
    Alert {
        command,
        is_on_desktop: file.desktop.as_ref().is_some_and(|flag| flag.value),
        webhook: file.webhook.as_ref().and_then(|section| judge.webhook(section)),
        ntfy: file.ntfy.as_ref().and_then(|section| judge.ntfy(section)),
        telegram: file.telegram.as_ref().and_then(|section| judge.telegram(section)),
        email: file.email.as_ref().and_then(|section| judge.email(section)),
        per_hour,
        burst,
        origin: Origin::Line(judge.faults.line(file.at)),
    }
}

/// What the parts of the section are judged with.
struct Judge<'j, 't> {
    policy: &'j Policy,
    host: &'j dyn Host,
    faults: &'j mut Faults<'t>,
}

const PATH_HINT: &str = "write an absolute path, or one that begins with `~/`";
const URL_HINT: &str = "write `https://...`; without encryption only to this host, such as `http://127.0.0.1:8080`";

impl Judge<'_, '_> {
    fn command(&mut self, command: &[At<String>], at: usize) -> Vec<String> {
        let mut words = argv(command, at, "alert", self.faults);
        // A bare name is looked for in the system's directories only; any other must say where it is.
        if let (Some(text), Some(word)) = (command.first(), words.first_mut())
            && (text.value.contains('/') || text.value.starts_with('~'))
            && let Some(path) = self.program(text)
        {
            *word = path.to_string_lossy().into_owned();
        }
        words
    }

    fn limits(&mut self, file: &AlertFile) -> (u32, u32) {
        let mut count = |number: &Option<At<u64>>, most: u64| match number {
            Some(number) if number.value == 0 || number.value > most => {
                let why = format!("not between 1 and {most}");
                let fault = Fault::BadValue { what: "limit", value: number.value.to_string(), why };
                self.faults.add(number.at, fault, "write for example `per_hour = 20` and `burst = 5`");
                None
            }
            other => other.as_ref().and_then(|number| u32::try_from(number.value).ok()),
        };
        let (per_hour, burst) = Alert::USUAL;
        let per_hour = count(&file.per_hour, MOST_PER_HOUR).unwrap_or(per_hour);
        let burst = count(&file.burst, u64::from(per_hour)).unwrap_or(burst.min(per_hour));
        (per_hour, burst)
    }

    /// A path of the owner's that no agent can reach.
    ///
    /// The attacks: a program in a workspace is the agent's own, started outside its jail; a token there is read by the
    /// agent, or replaced, so that the owner's alerts go to somebody else.
    fn path(&mut self, text: &At<String>, what: &'static str, reach: Reach) -> Option<PathBuf> {
        let path = match place::literal(&text.value, None, self.host.home()) {
            Ok(path) => path,
            Err(why) => {
                bad(what, text, why, PATH_HINT, self.faults);
                return None;
            }
        };
        if let Some(agent) = reached_by(&path, self.policy, reach) {
            let why = format!("agent `{agent}` can {} it", if reach == Reach::Read { "read" } else { "write" });
            bad(what, text, why, "keep it outside of every workspace and of what `read` and `write` name", self.faults);
            return None;
        }
        Some(path)
    }

    fn program(&mut self, text: &At<String>) -> Option<PathBuf> {
        self.path(text, "program", Reach::Write)
    }

    fn secret(&mut self, secret: &SecretFile) -> Option<SecretRef> {
        match (&secret.file, &secret.vault) {
            (Some(_), Some(text)) => {
                let fault = Fault::Conflict(format!("`{}` is named twice", secret.key));
                self.faults.add(text.at, fault, "keep the file, or the name in the vault");
                None
            }
            (Some(text), None) => self.path(text, "path", Reach::Read).map(SecretRef::File),
            (None, Some(text)) => match names::name(&text.value) {
                Ok(()) => Some(SecretRef::Vault(text.value.clone())),
                Err(why) => {
                    bad("name", text, why, "name a value of the vault, such as `ALERT_TOKEN`", self.faults);
                    None
                }
            },
            (None, None) => None,
        }
    }

    fn url(&mut self, text: &At<String>) -> Option<String> {
        match alert_url(&text.value) {
            Ok(()) => Some(text.value.clone()),
            Err(why) => {
                bad("URL", text, why, URL_HINT, self.faults);
                None
            }
        }
    }

    /// The root that a path of ours is put behind.
    fn root(&mut self, text: &Option<At<String>>, default: &str) -> Option<String> {
        let Some(text) = text else { return Some(default.to_owned()) };
        if text.value.contains('?') {
            bad("URL", text, "a query; a path is put behind it", URL_HINT, self.faults);
            return None;
        }
        self.url(text).map(|url| url.trim_end_matches('/').to_owned())
    }

    fn webhook(&mut self, file: &WebhookFile) -> Option<Webhook> {
        let key = self.secret(&file.key);
        let kept = self.secret(&file.url);
        let url = match (&file.plain, kept) {
            (Some(text), None) => UrlRef::Plain(self.url(text)?),
            (None, Some(secret)) => UrlRef::Secret(secret),
            (Some(text), Some(_)) => {
                let fault = Fault::Conflict("two URLs".into());
                self.faults.add(text.at, fault, "keep `url`, `url_file` or `url_secret`");
                return None;
            }
            (None, None) if file.url.is_absent() => {
                let fault = Fault::MissingKey { key: "url", section: "[alert.webhook]".into() };
                self.faults.add(file.at, fault, "write `url`, or `url_file` where the URL itself is a secret");
                return None;
            }
            (None, None) => return None,
        };
        Some(Webhook { url, key })
    }

    fn ntfy(&mut self, file: &NtfyFile) -> Option<Ntfy> {
        let url = self.root(&file.url, "https://ntfy.sh");
        let token = self.secret(&file.token);
        let topic = file.topic.as_ref()?;
        let is_plain = topic.value.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
        if topic.value.is_empty() || topic.value.len() > 64 || !is_plain {
            let why = "a topic is made of at most 64 letters, digits, `_` and `-`";
            bad("topic", topic, why, "on a public server choose one that nobody guesses", self.faults);
        }
        Some(Ntfy { url: url?, topic: topic.value.clone(), token })
    }

    fn telegram(&mut self, file: &TelegramFile) -> Option<Telegram> {
        let url = self.root(&file.url, "https://api.telegram.org");
        if file.token.is_absent() {
            let fault = Fault::MissingKey { key: "token_file", section: "[alert.telegram]".into() };
            self.faults.add(file.at, fault, "name the file that holds the bot's token, mode 0600, or `token_secret`");
        }
        let token = self.secret(&file.token);
        let chat = file.chat.as_ref()?;
        let number = chat.value.strip_prefix('-').unwrap_or(&chat.value);
        let is_number = (1..=20).contains(&number.len()) && number.bytes().all(|b| b.is_ascii_digit());
        let is_name = chat.value.strip_prefix('@').is_some_and(|name| {
            (4..=32).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        });
        if !is_number && !is_name {
            bad("chat", chat, "neither a number nor a public name", "write `chat = \"123456789\"`", self.faults);
        }
        Some(Telegram { url: url?, chat: chat.value.clone(), token: token? })
    }

    fn email(&mut self, file: &EmailFile) -> Option<Email> {
        let via = self.mail_via(file);
        let from = file.from.as_ref().and_then(|text| self.address(text));
        let to: Vec<String> = file.to.iter().flatten().filter_map(|text| self.address(text)).collect();
        let count = file.to.as_ref().map_or(0, Vec::len);
        if file.to.is_some() && !(1..=MOST_RECIPIENTS).contains(&count) {
            let why = format!("not between 1 and {MOST_RECIPIENTS} addresses");
            let fault = Fault::BadValue { what: "to", value: format!("{count} addresses"), why };
            self.faults.add(file.at, fault, "write `to = [\"you@example.org\"]`");
        }
        Some(Email { from: from?, to, via: via? })
    }

    fn address(&mut self, text: &At<String>) -> Option<String> {
        match mail_address(&text.value) {
            Ok(()) => Some(text.value.clone()),
            Err(why) => {
                bad("address", text, why, "write the address alone, `you@example.org`", self.faults);
                None
            }
        }
    }

    fn mail_via(&mut self, file: &EmailFile) -> Option<MailVia> {
        let password = self.secret(&file.password);
        match (&file.server, &file.sendmail) {
            (Some(server), None) => {
                let (security, host, port) = match mail_server(&server.value) {
                    Ok(parts) => parts,
                    Err(why) => {
                        let hint = "write `smtps://mail.example.org`, or `starttls://mail.example.org:587`";
                        bad("server", server, why, hint, self.faults);
                        return None;
                    }
                };
                let login = self.login(file, password)?;
                Some(MailVia::Server { host, port, security, login })
            }
            (None, Some(text)) if file.user.is_none() && file.password.is_absent() => {
                self.program(text).map(MailVia::Program)
            }
            (None, Some(text)) => {
                let fault = Fault::Conflict("`sendmail` takes no user and no password".into());
                self.faults.add(text.at, fault, "its own settings name the server and the login");
                None
            }
            (server, _) => {
                let fault = Fault::Conflict(match server {
                    Some(_) => "both `server` and `sendmail`".into(),
                    None => "[alert.email] has neither `server` nor `sendmail`".to_owned(),
                });
                self.faults.add(file.at, fault, "write one of them, such as `sendmail = \"/usr/sbin/sendmail\"`");
                None
            }
        }
    }

    /// None where it is wrong.
    fn login(&mut self, file: &EmailFile, password: Option<SecretRef>) -> Option<Option<(String, SecretRef)>> {
        match (&file.user, password) {
            (None, None) => Some(None),
            (Some(user), Some(_)) if user.value.is_empty() || user.value.chars().any(char::is_control) => {
                bad("user", user, "empty, or with a control character", "write the user of the mailbox", self.faults);
                None
            }
            (Some(user), Some(password)) => Some(Some((user.value.clone(), password))),
            (Some(_), None) if !file.password.is_absent() => None,
            _ => {
                let fault = Fault::Conflict("a user without a password, or a password without a user".into());
                self.faults.add(file.at, fault, "write both `user` and `password_file`, or none");
                None
            }
        }
    }
}

/// What an agent must not be able to do with a file of the owner's.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reach {
    Read,
    Write,
}

/// The agent that can reach a path, by its workspace or a rule.
fn reached_by<'p>(path: &Path, policy: &'p Policy, reach: Reach) -> Option<&'p str> {
    let reaches = |agent: &&Agent| {
        let read = agent.files().read().iter().filter(|_| reach == Reach::Read);
        let mut opened = read.chain(agent.files().write()).filter_map(|rule| rule.path());
        path.starts_with(agent.workspace()) || opened.any(|opened| path.starts_with(opened))
    };
    policy.agents().iter().find(reaches).map(Agent::name)
}

/// Checks a URL that alerts may go to: encrypted, or to an address of this host's loopback; without a user or a password.
///
/// # Errors
/// What is wrong with it. The URL itself is not in it: it may be a secret.
pub fn alert_url(text: &str) -> Result<(), String> {
    if !text.bytes().all(|b| b.is_ascii_graphic()) || text.contains(['\\', '#', '"', '<', '>']) {
        return Err("it has a character that no URL of a server has".into());
    }
    let (is_open, rest) = match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
        (Some(rest), _) => (false, rest),
        (None, Some(rest)) => (true, rest),
        (None, None) => return Err("it begins with neither `https://` nor `http://`".into()),
    };
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    if authority.contains('@') {
        return Err("a user or password before the host".into());
    }
    let (host, _) = host_and_port(authority)?;
    match is_open && !is_loopback(&host) {
        true => Err("not encrypted, and not an address of this host".into()),
        false => Ok(()),
    }
}

/// Only an address is this host for certain: `localhost` is what a resolver says.
fn is_loopback(host: &str) -> bool {
    host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Reads `host`, `host:port`, `1.2.3.4:port` or `[::1]:port`; the host comes without brackets.
fn host_and_port(text: &str) -> Result<(String, Option<u16>), String> {
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, "")) => (host, None),
        Some((host, rest)) => (host, Some(rest.strip_prefix(':').ok_or("no `:` before the port")?)),
        None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
    };
    let is_plain = |port: &&str| !port.is_empty() && port.len() <= 5 && port.bytes().all(|b| b.is_ascii_digit());
    let port = match port {
        None => None,
        Some(port) => {
            let number = Some(port).filter(is_plain).and_then(|port| port.parse::<u16>().ok());
            Some(number.filter(|port| *port > 0).ok_or("the port is not one")?)
        }
    };
    match host.parse::<IpAddr>() {
        Ok(address) => Ok((address.to_string(), port)),
        Err(_) if host.contains('*') => Err("a wildcard".into()),
        Err(_) if host == "localhost" => Err("`localhost` is what a resolver says; write 127.0.0.1".into()),
        Err(_) => match names::host_pattern(host) {
            Ok(host) => Ok((host, port)),
            Err(_) => Err("neither a host's name nor an address".into()),
        },
    }
}

/// Reads `smtps://host`, `starttls://host:port` or `smtp://127.0.0.1:port`.
fn mail_server(text: &str) -> Result<(MailSecurity, String, u16), String> {
    let schemes = [(MailSecurity::Tls, 465), (MailSecurity::StartTls, 587), (MailSecurity::Loopback, 25)];
    let (scheme, rest) = text.split_once("://").ok_or("it says nothing about encryption")?;
    let found = schemes.into_iter().find(|(security, _)| security.word() == scheme);
    let (security, usual) = found.ok_or("it begins with none of `smtps://`, `starttls://`, `smtp://`")?;
    let (host, port) = host_and_port(rest)?;
    match security == MailSecurity::Loopback && !is_loopback(&host) {
        true => Err("not encrypted, and not an address of this host".into()),
        false => Ok((security, host, port.unwrap_or(usual))),
    }
}

/// Checks a plain address: no name beside it, no quotes, nothing that a header or a command line could read as more.
fn mail_address(text: &str) -> Result<(), String> {
    let (local, domain) = text.split_once('@').ok_or("no `@`")?;
    let is_atom = |b: u8| b.is_ascii_alphanumeric() || b".!#$%&'*+/=?^_`{|}~-".contains(&b);
    if local.is_empty() || local.len() > 64 || !local.bytes().all(is_atom) || local.starts_with(['-', '.']) {
        return Err("what stands before the `@` is no plain name".into());
    }
    if local.ends_with('.') || local.contains("..") {
        return Err("a dot at the end, or two".into());
    }
    match domain.contains('*') {
        true => Err("a wildcard".into()),
        false => names::host_pattern(domain).map(drop),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_encrypted_or_this_hosts() {
        for url in [
            "https://example.org",
            "https://example.org:8443/hook?x=1",
            "https://192.168.1.5/x",
            "https://[fd00::1]:8443/x",
            "http://127.0.0.1:8080/x",
            "http://127.1.2.3",
            "http://[::1]:8080",
        ] {
            assert_eq!(alert_url(url), Ok(()), "{url}");
        }
        for url in [
            "http://example.org",
            "http://localhost:80",
            "http://127.0.0.1.example.org/",
            "http://127.0.0.1@example.org/",
            "http://example.org/@127.0.0.1",
            "http://127.1",
            "http://0.0.0.0",
            "http://[::]",
            "http://[::ffff:127.0.0.1]",
            "https://user:word@example.org",
            "https://example.org\r\nHost: x",
            "https://exa mple.org",
            "https://*.example.org",
            "https://example.org#@127.0.0.1",
            "https://example.org:0",
            "https://example.org:",
            "https://[::1",
            "https://",
            "HTTPS://example.org",
            "ftp://example.org",
            "file:///etc/passwd",
            "",
        ] {
            assert!(alert_url(url).is_err(), "{url}");
        }
    }

    #[test]
    fn a_mail_server_says_how_it_is_encrypted() {
        assert_eq!(mail_server("smtps://Mail.org"), Ok((MailSecurity::Tls, "mail.org".into(), 465)));
        assert_eq!(mail_server("starttls://mail.org:25"), Ok((MailSecurity::StartTls, "mail.org".into(), 25)));
        assert_eq!(mail_server("smtp://[::1]:2525"), Ok((MailSecurity::Loopback, "::1".into(), 2525)));
        for server in
            ["mail.org", "smtp://mail.org", "smtps://", "smtps://a@b.org", "smtps://mail.org/x", "tls://x.org"]
        {
            assert!(mail_server(server).is_err(), "{server}");
        }
    }

    #[test]
    fn an_address_is_an_address_and_nothing_else() {
        for address in ["ann@example.org", "a.b+c@mail.example.org"] {
            assert_eq!(mail_address(address), Ok(()), "{address}");
        }
        for address in [
            "Ann <ann@example.org>",
            "ann@example.org\r\nBcc: x@y.org",
            "ann@example.org, b@c.org",
            "\"a b\"@example.org",
            "-oQ/tmp@example.org",
            "a..b@example.org",
            "@example.org",
            "ann",
            "ann@*.org",
            "ann@",
            "ann@example.org -X/x",
        ] {
            assert!(mail_address(address).is_err(), "{address}");
        }
    }
}

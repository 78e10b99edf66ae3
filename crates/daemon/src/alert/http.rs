//! The channels that are one HTTP request: webhook, ntfy, Telegram.
//!
//! No redirect is followed, no proxy of the environment is used, and no answer's body is read: a server that answers
//! without an end, or points to an address inside, gets nothing from that.

use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use mantlet_policy::{Ntfy, Telegram, UrlRef, Webhook};
use serde_json::{Value, json};
use sha2::Sha256;
use ureq::tls::{RootCerts, TlsConfig};
use zeroize::Zeroizing;

use super::secret::{Secret, SecretError, Sources};
use super::{Alert, SendError};

/// One request, ready to be sent as often as needed.
pub(super) struct Request {
    url: Zeroizing<String>,
    headers: Vec<(&'static str, Zeroizing<String>)>,
    body: String,
}

/// The message for a server of anybody's, signed after the Standard Webhooks specification 1.0.
pub(super) fn webhook(to: &Webhook, alert: &Alert, host: &str, sources: &Sources<'_>) -> Result<Request, SendError> {
    let url = match &to.url {
        UrlRef::Plain(url) => Zeroizing::new(url.clone()),
        UrlRef::Secret(from) => {
            let secret = sources.read(from)?;
            mantlet_policy::alert_url(secret.expose()).map_err(SendError::Url)?;
            Zeroizing::new(secret.expose().to_owned())
        }
    };
    let title = alert.title(host);
    let mut message = json!({
        "version": 1, "host": host, "subject": alert.line(), "count": alert.count(),
        "text": format!("{title}\n{}", alert.body()),
    });
    if let Some(message) = message.as_object_mut() {
        message.extend(alert.fields().map(|(name, text)| (name.to_owned(), Value::from(text))));
    }
    let body = message.to_string();
    let mut headers = Vec::new();
    if let Some(key) = &to.key {
        let key = signing_key(&sources.read(key)?)?;
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let (id, time) = (id(&body, now), now.as_secs().to_string());
        headers.push(("webhook-signature", Zeroizing::new(sign(&key, &id, &time, &body))));
        headers.push(("webhook-id", Zeroizing::new(id)));
        headers.push(("webhook-timestamp", Zeroizing::new(time)));
    }
    Ok(Request { url, headers, body })
}

/// The same for each try of one message: the receiver knows a repetition by it.
fn id(body: &str, now: Duration) -> String {
    use sha2::Digest as _;
    let hash = Sha256::new().chain_update(now.as_nanos().to_le_bytes()).chain_update(body).finalize();
    format!("msg_{}", super::hex(&hash[..12]))
}

/// `whsec_` and base64 as the specification writes keys, or the bytes as they are.
fn signing_key(secret: &Secret) -> Result<Zeroizing<Vec<u8>>, SendError> {
    let key = match secret.expose().strip_prefix("whsec_") {
        None => secret.expose().as_bytes().to_vec(),
        Some(text) => BASE64.decode(text).map_err(|_| SecretError::Malformed {
            place: "`key_file` or `key_secret`".into(),
            why: "behind `whsec_` it is not base64",
        })?,
    };
    Ok(Zeroizing::new(key))
}

fn sign(key: &[u8], id: &str, time: &str, body: &str) -> String {
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, key);
    let tag = ring::hmac::sign(&key, format!("{id}.{time}.{body}").as_bytes());
    format!("v1,{}", BASE64.encode(tag))
}

/// In JSON, since a title in a header could become two headers.
pub(super) fn ntfy(to: &Ntfy, alert: &Alert, host: &str, sources: &Sources<'_>) -> Result<Request, SendError> {
    let message = json!({"topic": to.topic, "title": alert.title(host), "message": alert.body(), "priority": 4});
    let mut headers = Vec::new();
    if let Some(token) = &to.token {
        headers.push(("authorization", Zeroizing::new(format!("Bearer {}", sources.read(token)?.expose()))));
    }
    Ok(Request { url: Zeroizing::new(to.url.clone()), headers, body: message.to_string() })
}

/// As plain text: in a parse mode a file's name could be markup. Without a preview, since Telegram would open a link that
/// an agent wrote.
pub(super) fn telegram(to: &Telegram, alert: &Alert, host: &str, sources: &Sources<'_>) -> Result<Request, SendError> {
    let token = sources.read(&to.token)?;
    // The token is a part of the path: nothing in it may end that.
    if !token.expose().bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b':' | b'_' | b'-')) {
        let why = "a bot's token is made of letters, digits, `:`, `_` and `-`";
        return Err(SecretError::Malformed { place: to.token.place(), why }.into());
    }
    let message = json!({
        "chat_id": to.chat, "text": format!("{}\n\n{}", alert.title(host), alert.body()),
        "link_preview_options": {"is_disabled": true},
    });
    let url = Zeroizing::new(format!("{}/bot{}/sendMessage", to.url, token.expose()));
    Ok(Request { url, headers: Vec::new(), body: message.to_string() })
}

impl Request {
    pub(super) fn send(&self, timeout: Duration) -> Result<(), SendError> {
        let tls = TlsConfig::builder()
            .root_certs(RootCerts::PlatformVerifier)
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .build();
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(timeout))
            .max_redirects(0)
            .proxy(None)
            .https_only(self.url.starts_with("https:"))
            .http_status_as_error(false)
            .max_response_header_size(16 << 10)
            .max_idle_connections(0)
            .user_agent(concat!("mantlet/", env!("CARGO_PKG_VERSION")))
            .tls_config(tls)
            .build();
        let mut request = config.new_agent().post(self.url.as_str()).header("content-type", "application/json");
        for (name, value) in &self.headers {
            request = request.header(*name, value.as_str());
        }
        let answer = request.send(self.body.as_bytes()).map_err(|error| plain(&error, timeout))?;
        match answer.status().as_u16() {
            200..300 => Ok(()),
            status @ 300..400 => Err(SendError::Redirect(status)),
            status => Err(SendError::Status { status, hint: hint(status) }),
        }
    }
}

fn hint(status: u16) -> &'static str {
    match status {
        400 => "\nhint: is the topic or the chat right, and was the chat begun by writing to the bot?",
        401 | 403 => "\nhint: is the token right, and may it write there?",
        404 => "\nhint: is the URL right, or the bot's token?",
        429 => ", too many messages",
        _ => "",
    }
}

/// An error in words of our own: the library's may quote the URL, which may hold a token.
fn plain(error: &ureq::Error, timeout: Duration) -> SendError {
    match error {
        ureq::Error::Timeout(_) => SendError::Timeout(timeout),
        ureq::Error::Io(error) if error.kind() == io::ErrorKind::TimedOut => SendError::Timeout(timeout),
        ureq::Error::Io(error) => SendError::Network(network(error)),
        ureq::Error::Rustls(error) => SendError::Network(format!("no encrypted connection: {error}")),
        ureq::Error::HostNotFound => SendError::Network("the server's name was not found".into()),
        ureq::Error::ConnectionFailed => SendError::Network("no connection".into()),
        ureq::Error::LargeResponseHeader(..) => SendError::Network("the server's answer is too large".into()),
        _ => SendError::Network("what answered does not speak HTTP as it should".into()),
    }
}

/// What the kernel or TLS said; other texts are left out.
pub(super) fn network(error: &io::Error) -> String {
    if let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        return format!("no encrypted connection: {tls}");
    }
    match error.raw_os_error() {
        Some(code) => io::Error::from_raw_os_error(code).to_string(),
        None => error.kind().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the Standard Webhooks specification's own libraries.
    #[test]
    fn a_signature_is_that_of_the_specification() {
        let secret = Secret::new(Zeroizing::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_owned()));
        let Ok(secret) = secret else { panic!("no secret") };
        let key = signing_key(&secret).unwrap();
        let signed = sign(&key, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", r#"{"test": 2432232314}"#);
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }
}

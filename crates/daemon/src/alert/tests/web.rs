//! Webhook, ntfy and Telegram.

use std::time::Instant;

use serde_json::Value;

use super::servers::{ENDLESS, HANG, Http};
use super::*;

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";

fn webhook(web: &Http) -> Settings {
    settings(&format!("[alert.webhook]\nurl = \"{}/hook?a=1\"", web.url()))
}

fn telegram(web: &Http, dir: &Dir) -> Settings {
    let token = dir.file("bot", "123:ABC-canary_x\n", 0o600);
    settings(&format!("[alert.telegram]\nurl = \"{}\"\nchat = \"-100\"\ntoken_file = {token:?}", web.url()))
}

fn parts(request: &str) -> (&str, Value) {
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    (head, serde_json::from_str(body).unwrap())
}

#[test]
fn a_webhook_gets_json_and_nothing_an_agent_wrote_in_its_headers() {
    let web = Http::new(&[OK]);
    send(&webhook(&web), &alert("a\r\nX-Evil: 1\r\n\r\n")).unwrap();
    let requests = web.requests();
    let (head, body) = parts(&requests[0]);
    assert!(head.starts_with("POST /hook?a=1 HTTP/1.1\r\n") && !head.contains("Evil"), "{head}");
    assert_eq!(body["what"], "a\\r\\nX-Evil: 1\\r\\n\\r\\n");
    assert_eq!(body["when"], "2026-01-02T03:04:05.678Z");
    for key in ["subject", "who", "outcome", "next", "host", "text"] {
        assert!(body[key].is_string(), "{body}");
    }
}

#[test]
fn a_webhook_can_be_signed_and_its_url_be_a_secret() {
    let (web, dir) = (Http::new(&[OK]), Dir::new());
    let url = dir.file("url", &format!("{}/{UNKNOWN}", web.url()), 0o600);
    let settings = settings(&format!("[alert.webhook]\nurl_file = {url:?}\nkey_file = {:?}", dir.token()));
    assert!(!Channel::Webhook.leads_to(&settings.policy).contains(UNKNOWN));
    send(&settings, &alert("x")).unwrap();
    let requests = web.requests();
    let (head, body) = requests[0].split_once("\r\n\r\n").unwrap();
    let of = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).unwrap();
    assert!(head.starts_with(&format!("POST /{UNKNOWN} ")));
    use base64::Engine as _;
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, UNKNOWN.as_bytes());
    let signed = format!("{}.{}.{body}", of("webhook-id"), of("webhook-timestamp"));
    let tag = ring::hmac::sign(&key, signed.as_bytes());
    let wanted = base64::engine::general_purpose::STANDARD.encode(tag);
    assert_eq!(of("webhook-signature"), format!("v1,{wanted}"));
    let open = dir.file("url2", "http://example.org/x", 0o600);
    let said = send(&super::settings(&format!("[alert.webhook]\nurl_file = {open:?}")), &alert("x")).unwrap_err();
    assert!(matches!(&said, SendError::Url(why) if why.contains("not encrypted")), "{said}");
}

#[test]
fn ntfy_gets_title_and_text_as_json() {
    let (web, dir) = (Http::new(&[OK]), Dir::new());
    let token = dir.token();
    let section = format!("[alert.ntfy]\nurl = \"{}\"\ntopic = \"mine\"\ntoken_file = \"{token}\"", web.url());
    send(&settings(&section), &alert(&format!("x\r\n{KNOWN}"))).unwrap();
    let requests = web.requests();
    let (head, body) = parts(&requests[0]);
    assert!(
        head.starts_with("POST / HTTP/1.1") && head.contains(&format!("authorization: Bearer {UNKNOWN}")),
        "{head}"
    );
    assert_eq!(body["topic"], "mine");
    assert!(body["message"].as_str().unwrap().contains("what: x\\r\\n[masked:"), "{body}");
    assert!(!requests[0].contains(KNOWN));
}

#[test]
fn telegram_gets_plain_text_without_a_preview() {
    let (web, dir) = (Http::new(&[OK]), Dir::new());
    send(&telegram(&web, &dir), &alert("<b>*_[x](https://evil.org)")).unwrap();
    let requests = web.requests();
    let (head, body) = parts(&requests[0]);
    assert!(head.starts_with("POST /bot123:ABC-canary_x/sendMessage HTTP/1.1"), "{head}");
    assert_eq!((&body["chat_id"], &body["parse_mode"]), (&Value::from("-100"), &Value::Null));
    assert_eq!(body["link_preview_options"]["is_disabled"], true);
    assert!(body["text"].as_str().unwrap().contains("what: <b>*_[x](https://evil.org)\n"), "{body}");
}

#[test]
fn no_error_names_the_bots_token() {
    let dir = Dir::new();
    for answer in
        ["HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n", HANG, "garbage\r\n\r\n", "", "HTTP/1.1 x\r\n\r\n"]
    {
        let web = Http::new(&[answer]);
        let mut settings = telegram(&web, &dir);
        settings.pace.timeout = Duration::from_millis(500);
        let error = send(&settings, &alert("x")).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("canary"), "{error:?}");
    }
    let nobody = "http://127.0.0.1:1";
    let token = dir.file("path", "1:x/../../y?canary", 0o600);
    let section = format!("[alert.telegram]\nurl = \"{nobody}\"\nchat = \"1\"\ntoken_file = {token:?}");
    let error = send(&settings(&section), &alert("x")).unwrap_err();
    assert!(matches!(error, SendError::Secret(_)) && !format!("{error:?}").contains("canary"), "{error:?}");
}

#[test]
fn a_redirect_is_not_followed_wherever_it_leads() {
    let inner = Http::new(&[OK]);
    for status in [301, 302, 303, 307, 308] {
        let to = format!("{}/latest/meta-data", inner.url());
        let web = Http::new(&[&format!("HTTP/1.1 {status} Found\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n")]);
        let error = send(&webhook(&web), &alert("x")).unwrap_err();
        assert!(matches!(error, SendError::Redirect(code) if code == status), "{error}");
    }
    assert_eq!(inner.requests(), Vec::<String>::new());
    // Control: that server answers whoever is sent to it.
    send(&webhook(&inner), &alert("x")).unwrap();
}

#[test]
fn a_slow_server_is_given_up_and_an_endless_one_not_listened_to() {
    let begun = Instant::now();
    let slow = Http::new(&[HANG]);
    let settings = hasty(&format!("[alert.webhook]\nurl = \"{}\"", slow.url()));
    let error = send(&settings, &alert("x")).unwrap_err();
    assert!(matches!(error, SendError::Timeout(_)), "{error}");
    assert!(begun.elapsed().as_secs() < 20);
    let body = format!("{ENDLESS}HTTP/1.1 200 OK\r\n\r\n|aaaaaaaaaaaaaaaa");
    send(&webhook(&Http::new(&[&body])), &alert("x")).unwrap();
    let head = format!("{ENDLESS}HTTP/1.1 200 OK\r\n|x-a: aaaaaaaaaaaaaaaa\r\n");
    let error = send(&webhook(&Http::new(&[&head])), &alert("x")).unwrap_err();
    assert!(matches!(error, SendError::Network(_)), "{error:?}");
}

#[test]
fn what_may_pass_is_tried_three_times_and_what_may_not_once() {
    let again = "HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n";
    for (answers, tries, outcome) in [
        (vec![OK], 1, "sent"),
        (vec![again, OK], 2, "sent"),
        (vec![again, again, OK], 3, "sent"),
        (vec![again], 3, "failed"),
        (vec!["HTTP/1.1 429 Slow\r\ncontent-length: 0\r\n\r\n"], 3, "failed"),
        (vec!["HTTP/1.1 401 No\r\ncontent-length: 0\r\n\r\n"], 1, "failed"),
        (vec!["HTTP/1.1 302 There\r\nlocation: /\r\ncontent-length: 0\r\n\r\n"], 1, "failed"),
    ] {
        let (web, kept) = (Http::new(&answers), Kept::default());
        let alerter = crate::alert::Alerter::start(webhook(&web), kept.record()).unwrap();
        alerter.raise(alert("x"));
        assert!(alerter.close(Duration::from_secs(20)));
        assert_eq!(web.requests().len(), tries, "{answers:?}");
        assert_eq!(kept.outcomes(Channel::Webhook), [outcome], "{answers:?}");
    }
}

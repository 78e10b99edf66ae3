//! Too many alerts, and channels that do not move.

use std::time::Instant;

use super::servers::{HANG, Http};
use super::*;
use crate::alert::Alerter;

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

#[test]
fn ten_thousand_alerts_are_a_few_messages_and_one_that_sums_them_up() {
    let (web, kept) = (Http::new(&[OK]), Kept::default());
    let alerter =
        Alerter::start(settings(&format!("[alert.webhook]\nurl = \"{}\"", web.url())), kept.record()).unwrap();
    let begun = Instant::now();
    for number in 0..10_000 {
        alerter.raise(Alert::new(&format!("file {number}"), "something"));
    }
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert!(alerter.close(Duration::from_secs(20)));
    let requests = web.requests();
    assert_eq!(requests.len(), 4);
    assert!(requests[3].contains("9997 more alerts") && requests[3].contains("; and 9991 more"), "{}", requests[3]);
    let kept = kept.all();
    assert_eq!(kept.iter().filter(|entry| entry.outcome == "sent").count(), 4);
    let held: Vec<(u64, &str)> =
        kept.iter().filter(|entry| entry.outcome == "held").map(|e| (e.count, e.subject.as_str())).collect();
    assert_eq!(held, [(1, "file 3"), (9997, "9997 more alerts")]);
}

#[test]
fn the_same_thing_is_one_message() {
    let (web, kept) = (Http::new(&[OK]), Kept::default());
    let alerter =
        Alerter::start(settings(&format!("[alert.webhook]\nurl = \"{}\"", web.url())), kept.record()).unwrap();
    for _ in 0..100 {
        alerter.raise(Alert::new("the same", "something"));
    }
    assert!(alerter.close(Duration::from_secs(20)));
    assert_eq!(web.requests().len(), 2);
    assert!(web.requests()[1].contains("the same (99 times)"), "{:?}", web.requests());
}

#[test]
fn a_channel_that_hangs_delays_neither_the_caller_nor_the_others() {
    let (slow, web, dir, kept) = (Http::new(&[HANG]), Http::new(&[OK]), Dir::new(), Kept::default());
    let path = dir.program("tell", &format!("cat >>{}/in", dir.0.display()));
    let section = format!(
        "[alert]\ncommand = [\"{path}\"]\nper_hour = 1000\nburst = 100\n[alert.webhook]\nurl = \"{}\"\n\
         [alert.ntfy]\nurl = \"{}\"\ntopic = \"t\"",
        slow.url(),
        web.url()
    );
    let alerter = Alerter::start(settings(&section), kept.record()).unwrap();
    let begun = Instant::now();
    for number in 0..10 {
        let raised = Instant::now();
        alerter.raise(Alert::new(&format!("file {number}"), "something"));
        assert!(raised.elapsed() < Duration::from_secs(3));
    }
    while web.requests().len() < 10 || kept.outcomes(Channel::Command).len() < 10 {
        assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", kept.all());
        std::thread::sleep(Duration::from_millis(10));
    }
    // The first of them takes fifteen seconds in the channel that hangs.
    assert!(kept.outcomes(Channel::Webhook).len() <= 4);
    assert_eq!(dir.read("in").matches("what: something").count(), 10);
    assert!(!alerter.close(Duration::from_millis(50)));
}

#[test]
fn what_a_stuck_channel_cannot_take_is_counted_as_failed() {
    let (slow, kept) = (Http::new(&[HANG]), Kept::default());
    let section = format!("[alert]\nper_hour = 1000\nburst = 100\nwebhook = {{ url = \"{}\" }}", slow.url());
    let alerter = Alerter::start(settings(&section), kept.record()).unwrap();
    for number in 0..60 {
        alerter.raise(Alert::new(&format!("file {number}"), "something"));
    }
    let begun = Instant::now();
    let full = || kept.all().iter().filter(|e| e.reason.as_deref().is_some_and(|r| r.contains("too many"))).count();
    // One is tried, sixteen wait.
    while full() < 60 - 17 {
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", kept.all());
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn the_ledger_has_what_was_sent_and_what_was_not() {
    let dir = Dir::new();
    fs::set_permissions(&dir.0, fs::Permissions::from_mode(0o700)).unwrap();
    let (web, ledger) = (Http::new(&[OK]), dir.path("ledger"));
    let section = format!(
        "[alert.webhook]\nurl = \"{}\"\n[alert.ntfy]\nurl = \"http://127.0.0.1:1\"\ntopic = \"t\"\ntoken_file = \"{}\"",
        web.url(),
        dir.token()
    );
    let policy = parse("version = 1", Path::new("test.toml"), &Nowhere).unwrap();
    let record = crate::alert::into_ledger(&ledger, &policy).unwrap();
    let alerter = Alerter::start(settings(&section), record).unwrap();
    alerter.raise(alert(KNOWN));
    assert!(alerter.close(Duration::from_secs(20)));
    let text = fs::read_to_string(ledger.join(mantlet_ledger::FILE_NAME)).unwrap();
    let entries: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let told: Vec<(&str, &str)> =
        entries.iter().map(|e| (e["channel"].as_str().unwrap(), e["outcome"].as_str().unwrap())).collect();
    assert_eq!(told.len(), 2);
    assert!(told.contains(&("webhook", "sent")) && told.contains(&("ntfy", "failed")), "{text}");
    assert!(text.contains("Connection refused") && text.contains("put back: [masked:"), "{text}");
    assert!(!text.contains(KNOWN) && !text.contains(UNKNOWN), "{text}");
}

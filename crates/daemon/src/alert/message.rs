//! A mail as its bytes (RFC 5322, 2045, 2047): ten headers, one part, nothing else. Pure but for the time.
//!
//! The attack: a file's name that becomes a header, an end of the message, or by its encoding another text than it shows.
//! Addresses were checked by the policy; of the rest, only visible ASCII stands as it is.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use mantlet_ledger::rfc3339;
use sha2::{Digest as _, Sha256};

/// As many bytes of text as one encoded word takes: 75 characters with what is around them.
const WORD: usize = 42;
/// As long as a line of the body is.
const LINE: usize = 72;

/// Writes a message of this moment.
pub(super) fn written(from: &str, to: &[String], title: &str, body: &str) -> Vec<u8> {
    let now = SystemTime::now();
    let nanos = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO).as_nanos();
    let hash = Sha256::new().chain_update(nanos.to_le_bytes()).chain_update(body).finalize();
    let domain = from.rsplit('@').next().unwrap_or("localhost");
    let headers = [
        ("From", from.to_owned()),
        ("To", to.join(",\r\n ")),
        ("Subject", subject(title)),
        ("Date", date(&rfc3339(now))),
        ("Message-ID", format!("<{}@{domain}>", super::hex(&hash[..16]))),
        // RFC 3834: no automatic answer is sent to this.
        ("Auto-Submitted", "auto-generated".into()),
        ("MIME-Version", "1.0".into()),
        ("Content-Type", "text/plain; charset=utf-8".into()),
        ("Content-Transfer-Encoding", "quoted-printable".into()),
    ];
    let mut message = String::new();
    for (name, value) in headers {
        write!(message, "{name}: {value}\r\n").ok();
    }
    message.push_str("\r\n");
    for line in title.lines().chain([""]).chain(body.lines()) {
        quoted(line, &mut message);
        message.push_str("\r\n");
    }
    message.into_bytes()
}

/// Plain text as it is, unless a reader could take a part of it for an encoded word.
fn subject(title: &str) -> String {
    if title.bytes().all(|b| b == b' ' || b.is_ascii_graphic()) && !title.contains("=?") && title.len() < 900 {
        return title.to_owned();
    }
    let mut words: Vec<String> = vec![String::new()];
    for c in title.chars() {
        match words.last_mut() {
            Some(word) if word.len() + c.len_utf8() <= WORD => word.push(c),
            _ => words.push(c.into()),
        }
    }
    let words: Vec<String> = words.iter().map(|word| format!("=?utf-8?B?{}?=", BASE64.encode(word))).collect();
    words.join("\r\n ")
}

/// `2026-01-02T03:04:05.678Z` as RFC 5322 writes it.
fn date(time: &str) -> String {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let part = |range| time.get(range).unwrap_or("00");
    let month = part(5..7).parse::<usize>().ok().and_then(|month| MONTHS.get(month.checked_sub(1)?));
    format!("{} {} {} {} +0000", part(8..10), month.unwrap_or(&"Jan"), part(0..4), part(11..19))
}

/// One line as quoted-printable.
fn quoted(line: &str, out: &mut String) {
    let mut length = 0;
    for (index, byte) in line.bytes().enumerate() {
        let is_last = index + 1 == line.len();
        // A dot in front would end the message for what forgets to double it, `From ` begin another in a mailbox.
        let is_plain = (byte.is_ascii_graphic() && byte != b'=' && !(length == 0 && matches!(byte, b'.' | b'F')))
            || (byte == b' ' && !is_last);
        let width = if is_plain { 1 } else { 3 };
        if length + width > LINE {
            out.push_str("=\r\n");
            length = 0;
        }
        match is_plain {
            true => out.push(char::from(byte)),
            false => write!(out, "={byte:02X}").unwrap_or_default(),
        }
        length += width;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(body: &str) -> String {
        let (joined, mut bytes) = (body.replace("=\r\n", ""), Vec::new());
        let mut rest = joined.as_bytes();
        while let Some((byte, more)) = rest.split_first() {
            rest = match byte {
                b'=' => {
                    bytes.push(u8::from_str_radix(std::str::from_utf8(&more[..2]).unwrap(), 16).unwrap());
                    &more[2..]
                }
                _ => {
                    bytes.push(*byte);
                    more
                }
            };
        }
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn what_an_agent_wrote_makes_no_header_and_no_end() {
        for text in [
            "x\r\nBcc: evil@e.org\r\n\r\nhello",
            "x\nBcc: evil@e.org",
            "\u{fc}\r\n.\r\nMAIL FROM:<e@e.org>",
            "=?utf-8?B?DQpCY2M6IGV2aWxAZS5vcmc=?=",
            "From evil Thu Jan  1",
            ".",
            " ",
            "\u{2028}\u{0}",
        ] {
            // Also without the escaping before it: each wall stands by itself.
            let message = String::from_utf8(written("a@b.org", &["c@d.org".into()], text, text)).unwrap();
            let (head, body) = message.split_once("\r\n\r\n").unwrap();
            let lines: Vec<&str> = head.split("\r\n").filter(|line| !line.starts_with(' ')).collect();
            assert_eq!(lines.len(), 9, "{head}");
            assert!(!head.contains("=?utf-8?B?DQpC") || !text.starts_with("=?"), "{head}");
            assert!(message.is_ascii() && !message.replace("\r\n", "").contains(['\r', '\n']), "{message:?}");
            assert!(
                message
                    .split("\r\n")
                    .all(|line| line.len() <= 78 && !line.starts_with(['.', 'F']) || line.starts_with("From: a@b.org")),
                "{message}"
            );
            let wanted: Vec<&str> = text.lines().chain([""]).chain(text.lines()).collect();
            assert_eq!(decoded(body), wanted.join("\r\n") + "\r\n");
        }
    }

    #[test]
    fn a_long_text_is_folded_and_comes_back() {
        let text = "\u{e4}=. ".repeat(400);
        let message =
            String::from_utf8(written("a@b.org", &["c@d.org".into()], "\u{e4}\u{20ac}".repeat(90).as_str(), &text));
        let message = message.unwrap();
        assert!(message.split("\r\n").all(|line| line.len() <= 78), "{message}");
        let (head, body) = message.split_once("\r\n\r\n").unwrap();
        assert!(decoded(body).ends_with(&format!("{text}\r\n")));
        let subject = head.split("Subject: ").nth(1).unwrap().split("\r\nDate").next().unwrap();
        let words = subject.split("\r\n ").map(|w| w.strip_prefix("=?utf-8?B?").unwrap().strip_suffix("?=").unwrap());
        let text: String = words.map(|w| String::from_utf8(BASE64.decode(w).unwrap()).unwrap()).collect();
        assert_eq!(text, "\u{e4}\u{20ac}".repeat(90));
    }

    #[test]
    fn a_date_is_that_of_mail() {
        assert_eq!(date("2026-11-02T03:04:05.678Z"), "02 Nov 2026 03:04:05 +0000");
    }
}

//! What a request may carry: methods and paths of a host's rules, and `web = "read"`. Pure.
//!
//! Reading the web writes to it: a path, a query and a header are bytes that the other side gets. So for readers nothing
//! passes that a page does not need, and what looks random is counted.

use mantlet_policy::HttpRule;

use crate::http::head::{Field, Length, RequestHead};
use crate::name::HostName;

/// As long as a path and its query may be.
const MOST_URL: usize = 1024;
/// As many bits of what looks random as one URL may carry: three commit ids, or three UUIDs and some.
pub const MOST_URL_BITS: u32 = 512;
/// As many as one name may carry below a wildcard or for a reader.
pub const MOST_NAME_BITS: u32 = 160;

/// What a reader's request may carry, besides what is made anew. Everything else is dropped, not refused: clients add
/// fields of their own.
const READERS_FIELDS: &[&str] = &[
    "accept",
    "accept-encoding",
    "accept-language",
    "cache-control",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "pragma",
    "range",
    "user-agent",
];
const MOST_FIELD: usize = 256;
/// Fields that carry somebody's right to be there. A reader has none, and one that brings some is told.
const CREDENTIALS: &[&str] =
    &["authorization", "cookie", "x-api-key", "x-auth-token", "x-goog-api-key", "private-token"];
/// Fields that make a server see another method than the one that was judged.
const OVERRIDES: &[&str] = &["x-http-method-override", "x-method-override", "x-http-method"];

fn has(fields: &[Field], names: &[&str]) -> Option<String> {
    let found = fields.iter().find(|(name, _)| names.iter().any(|known| name.eq_ignore_ascii_case(known)));
    found.map(|(name, _)| name.to_ascii_lowercase())
}

/// Judges a request against the rules of its host, if there are some.
///
/// # Errors
/// What is wrong, in words.
pub fn ruled<'r>(head: &RequestHead, rules: impl Iterator<Item = &'r HttpRule>) -> Result<(), String> {
    let mut rules = rules.peekable();
    if rules.peek().is_none() {
        return Ok(());
    }
    if let Some(name) = has(&head.fields, OVERRIDES) {
        return Err(format!("the header {name} would change the method"));
    }
    let path = head.path_alone();
    if !is_unambiguous(path) {
        return Err(
            "the path can be read in two ways; write it without `.`, `..`, `//`, `;`, `\\` and escapes of them".into(),
        );
    }
    let fits = |rule: &HttpRule| {
        rule.methods.contains(&head.method) && rule.paths.iter().any(|pattern| matches_path(pattern, path))
    };
    match rules.any(fits) {
        true => Ok(()),
        false => Err(format!("no rule allows {} of this path", head.method)),
    }
}

fn matches_path(pattern: &str, path: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(below) => path.len() > below.len() && path.starts_with(below),
        None => path == pattern,
    }
}

/// Whether every server walks a path the same way. Escapes are decoded once and twice: some servers do.
fn is_unambiguous(path: &str) -> bool {
    let names: Vec<&str> = path.split('/').skip(1).collect();
    let last = names.len().saturating_sub(1);
    let is_hole = |(index, name): (usize, &&str)| (name.is_empty() && index < last) || matches!(*name, "." | "..");
    if !path.starts_with('/') || path.contains([';', '\\']) || names.iter().enumerate().any(is_hole) {
        return false;
    }
    path.match_indices('%').all(|(at, _)| {
        let byte = path.get(at + 1..at + 3).and_then(|hex| u8::from_str_radix(hex, 16).ok());
        byte.is_some_and(|byte| {
            byte > 0x20 && !matches!(byte, b'/' | b'\\' | b'.' | b'%' | b';' | b'?' | b'#' | 0x7f) || byte == 0x20
        })
    })
}

/// Judges a reader's request, and takes out of it what a page does not need. Returns how much of it looks random.
///
/// # Errors
/// What is wrong, in words.
pub fn reading(head: &mut RequestHead) -> Result<u32, String> {
    if !matches!(head.method.as_str(), "GET" | "HEAD") {
        return Err(format!("reading is GET and HEAD, not {}", head.method));
    }
    if head.length != Length::Bytes(0) {
        return Err("reading has no body".into());
    }
    if head.is_websocket {
        return Err("a WebSocket is more than reading".into());
    }
    if let Some(name) = has(&head.fields, CREDENTIALS) {
        return Err(format!("reading has no credentials, and this request has the header {name}"));
    }
    if head.path.len() > MOST_URL {
        return Err(format!("the URL is longer than {MOST_URL} bytes"));
    }
    let bits = surprise(&head.path);
    if bits > MOST_URL_BITS {
        return Err("the URL carries more that looks random than a page needs".into());
    }
    head.fields.retain(|(name, value)| {
        value.len() <= MOST_FIELD && READERS_FIELDS.iter().any(|known| name.eq_ignore_ascii_case(known))
    });
    let carried: u32 = head.fields.iter().map(|(_, value)| surprise(&String::from_utf8_lossy(value))).sum();
    Ok(bits + carried)
}

/// Judges a name that the owner did not write out. Returns how much of it looks random.
///
/// # Errors
/// What is wrong, in words.
pub fn new_name(name: &HostName) -> Result<u32, String> {
    match surprise(name.as_str()) {
        bits if bits > MOST_NAME_BITS => Err("the name carries more that looks random than a host name needs".into()),
        bits => Ok(bits),
    }
}

/// Estimates how many bits of a text look random: of each long word, its length times the entropy of its letters; short
/// and plain words count nothing. A word of a language has repeated letters and no digits between them.
pub fn surprise(text: &str) -> u32 {
    const SHORT: usize = 12;
    let words = text.split(|c: char| !c.is_ascii_alphanumeric());
    let bits: f64 = words.filter(|word| word.len() >= SHORT).map(|word| bits_of(word.as_bytes())).sum();
    // Escapes and other bytes are as good as digits.
    let others = text.bytes().filter(|b| *b == b'%' || !b.is_ascii()).count();
    let others = u32::try_from(others).unwrap_or(u32::MAX / 8);
    (bits.min(1e6) as u32).saturating_add(others.saturating_mul(8))
}

fn bits_of(word: &[u8]) -> f64 {
    let is_digit = |b: &&u8| b.is_ascii_digit();
    let letters = word.iter().filter(|b| b.is_ascii_alphabetic());
    let (upper, lower) = letters.partition::<Vec<&u8>, _>(|b| b.is_ascii_uppercase());
    let digits = word.iter().filter(is_digit).count();
    let is_plain = digits == 0 && (upper.len() <= 2 || lower.is_empty()) && word.len() <= 24;
    if is_plain {
        return 0.0;
    }
    let mut counts = [0u32; 256];
    word.iter().for_each(|b| counts[usize::from(*b)] += 1);
    let total = word.len() as f64;
    let entropy: f64 =
        counts.iter().filter(|c| **c > 0).map(|c| f64::from(*c) / total).map(|share| -share * share.log2()).sum();
    total * entropy
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::tests::{endpoint, rules};

    fn head(text: &str) -> RequestHead {
        RequestHead::parse(format!("{text}\r\n\r\n").as_bytes(), 80).unwrap().unwrap().0
    }

    fn get(path: &str) -> RequestHead {
        head(&format!("GET {path} HTTP/1.1\r\nHost: a.test"))
    }

    #[test]
    fn methods_and_paths_are_those_of_the_rules() {
        let rules = rules(
            "builder",
            "allow = [\"a.test:80\"]\nhttp = [{ host = \"a.test:80\", methods = [\"GET\"], paths = [\"/v1/*\", \"/health\"] }]",
        );
        let host = endpoint("a.test:80");
        let judge = |head: &RequestHead| ruled(head, rules.http_rules(&host));
        for path in ["/v1/x", "/v1/a/b?c=../d", "/health", "/health?x", "/v1/a%20b", "/v1/a/"] {
            assert_eq!(judge(&get(path)), Ok(()), "{path}");
        }
        for path in [
            "/",
            "/v1",
            "/v1/",
            "/v2/x",
            "/healthy",
            "/health/",
            "/v1/../admin",
            "/v1/./x",
            "/v1/%2e%2e/admin",
            "/v1/%2E./x",
            "/v1/..;/admin",
            "/v1//x",
            "//v1/x",
            "/v1/a%2fb",
            "/v1/a%5cb",
            "/v1/a%00",
            "/v1/a%0d",
            "/v1/%252e",
            "/v1/a%",
            "/v1/a%4",
            "/v1/a%zz",
            "/v1/a;b",
        ] {
            assert!(judge(&get(path)).is_err(), "{path}");
        }
        assert!(judge(&head("POST /v1/x HTTP/1.1\r\nHost: a.test")).is_err());
        assert!(judge(&head("GET /v1/x HTTP/1.1\r\nHost: a.test\r\nX-HTTP-Method-Override: DELETE")).is_err());
        assert_eq!(ruled(&get("/v1/../x"), rules.http_rules(&endpoint("b.test:80"))), Ok(()), "a host without rules");
    }

    #[test]
    fn a_reader_sends_nothing_but_what_it_reads() {
        let mut plain = head(
            "GET /wiki/Entropy_(information_theory)?action=raw HTTP/1.1\r\nHost: a.test\r\nUser-Agent: curl/8.0\r\nReferer: http://x\r\nX-Note: abc",
        );
        assert_eq!(reading(&mut plain), Ok(0));
        assert_eq!(plain.fields, [("User-Agent".to_owned(), b"curl/8.0".to_vec())]);
        for text in [
            "POST / HTTP/1.1\r\nHost: a.test",
            "GET / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5",
            "GET / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked",
            "GET / HTTP/1.1\r\nHost: a.test\r\nAuthorization: Bearer x",
            "GET / HTTP/1.1\r\nHost: a.test\r\nCookie: a=b",
            "GET / HTTP/1.1\r\nHost: a.test\r\nX-Api-Key: b",
            "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket",
        ] {
            assert!(reading(&mut head(text)).is_err(), "{text}");
        }
        assert!(reading(&mut get(&format!("/{}", "a/".repeat(600)))).is_err());
        let secret: String =
            (0..140).map(|n| char::from(b"abcdefghijklmnopqrstuvwxyz0123456789"[n * 7 % 36])).collect();
        assert!(reading(&mut get(&format!("/?q={secret}"))).is_err());
        assert!(reading(&mut get(&format!("/?q={}", "%41%42%43".repeat(30)))).is_err());
    }

    #[test]
    fn words_surprise_nobody_and_keys_do() {
        for text in [
            "registry.npmjs.org",
            "documentation",
            "/en-us/aspnet/core/fundamentals/middleware",
            "github-production-user-asset",
        ] {
            assert_eq!(surprise(text), 0, "{text}");
        }
        assert!(surprise("9f86d081884c7d659a2feaa0c55ad015a3bf4f1b") > 100);
        assert!(surprise("9f86d081884c7d659a2feaa0c55ad015a3bf4f1b") < MOST_NAME_BITS);
        let name = |text: &str| HostName::from_wire(text.as_bytes()).unwrap();
        assert!(new_name(&name("d111111abcdef8.cloudfront.net")).is_ok());
        assert!(new_name(&name("mzxw6ytboi2gk3lqorugk3tfonzsa5dinfzsa2ltebqsa43f.mnzgk5boi2gk3lq.evil.test")).is_err());
    }
}

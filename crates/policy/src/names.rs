//! Names inside a policy: hosts, environment variables, agents. Pure checks; errors say what is wrong.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// The ids of the clients that an agent may run in.
pub(crate) const CLIENTS: &[&str] = &["claude", "codex", "gemini", "copilot", "cursor", "opencode", "openclaw"];

/// Reads `host`, `host:port` or `*.domain:port` into its canonical `host:port`. Addresses are no hosts: an address in
/// the jail stands for a name, and one of this machine or its network gets a name of its own.
pub(crate) fn endpoint(text: &str) -> Result<String, String> {
    let (host, port) = parts(text)?;
    let host = hostname(host)?;
    match host.strip_prefix("*.").map(suffix) {
        None | Some(Suffix::None) => Ok(format!("{host}:{port}")),
        Some(Suffix::Registry) => Err(format!("everyone can register names below `{}`", &host[2..])),
        Some(Suffix::Shared) => Err(format!(
            "strangers get names below `{}`; if all of them are meant, it belongs in `wide`, not in `allow`",
            &host[2..]
        )),
    }
}

/// Reads `*.suffix:port`, where strangers get names below the suffix, and that is meant.
pub(crate) fn wide_endpoint(text: &str) -> Result<String, String> {
    let (host, port) = parts(text)?;
    let host = hostname(host)?;
    match host.strip_prefix("*.").map(suffix) {
        Some(Suffix::Shared) => Ok(format!("{host}:{port}")),
        Some(Suffix::Registry) => Err(format!("everyone can register names below `{}`", &host[2..])),
        Some(Suffix::None) | None => Err("no wildcard over a suffix below which strangers get names".into()),
    }
}

/// Reads a host or wildcard without a port.
pub(crate) fn host_pattern(text: &str) -> Result<String, String> {
    match text.contains(':') {
        true => Err("a port, or an address".into()),
        false => hostname(text),
    }
}

/// Reads the name that an address gets inside the jail.
pub(crate) fn local_name(text: &str) -> Result<String, String> {
    match text.starts_with("*.") {
        true => Err("a wildcard; one name stands for one address".into()),
        false => host_pattern(text),
    }
}

/// Whether all hosts of `host` (canonical `host:port`, possibly with a wildcard) are hosts of `pattern`.
pub(crate) fn covers(pattern: &str, host: &str) -> bool {
    pattern == host || pattern.strip_prefix('*').is_some_and(|rest| host.len() > rest.len() && host.ends_with(rest))
}

/// Who gets names below a domain.
enum Suffix {
    /// Its owner.
    None,
    /// Everyone, from a registry: `com`, `co.uk`.
    Registry,
    /// The customers of a service: `github.io`.
    Shared,
}

fn suffix(domain: &str) -> Suffix {
    match psl::suffix(domain.as_bytes()) {
        Some(found) if found.as_bytes() == domain.as_bytes() => match found.typ() {
            Some(psl::Type::Private) => Suffix::Shared,
            Some(psl::Type::Icann) | None => Suffix::Registry,
        },
        _ => Suffix::None,
    }
}

fn parts(text: &str) -> Result<(&str, u16), String> {
    if text.contains("://") || text.contains('/') {
        return Err("a URL; write only host:port".into());
    }
    let (host, port) = split_port(text)?;
    let port: u16 = match port {
        None => 443,
        Some(port) if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) => {
            port.parse().map_err(|_| "the port is above 65535".to_owned())?
        }
        Some(_) => return Err("the port is not a number".into()),
    };
    match port {
        0 => Err("port 0 is no port".into()),
        _ => Ok((host, port)),
    }
}

fn split_port(text: &str) -> Result<(&str, Option<&str>), String> {
    if text.starts_with('[') {
        return Err(IS_ADDRESS.into());
    }
    match text.split_once(':') {
        None => Ok((text, None)),
        Some((_, port)) if port.contains(':') => Err("more than one `:`".into()),
        Some((host, port)) => Ok((host, Some(port))),
    }
}

const IS_ADDRESS: &str =
    "an address; only names are allowed outwards, and `[[agent.X.egress.local]]` gives one address a name";

/// Checks a host name; a wildcard stands for at least one whole label, in front only.
fn hostname(host: &str) -> Result<String, String> {
    let name = host.strip_prefix("*.").unwrap_or(host);
    let is_wildcard = name.len() != host.len();
    if name.is_empty() {
        return Err("no host".into());
    }
    if name.contains('*') {
        return Err("a wildcard is only possible as a whole first label, `*.example.org`".into());
    }
    if !name.is_ascii() {
        return Err("not ASCII; write the punycode form, `xn--...`".into());
    }
    if name.len() > 253 {
        return Err("longer than a host name can be".into());
    }
    for label in name.split('.') {
        let is_plain = label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        if label.is_empty()
            || label.len() > 63
            || !is_plain
            || label.starts_with(['-', '_'])
            || label.ends_with(['-', '_'])
        {
            return Err("not a host name".into());
        }
    }
    let name = name.to_ascii_lowercase();
    let last = name.rsplit('.').next().unwrap_or_default();
    let hex = last.strip_prefix("0x").is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_hexdigit()));
    if hex || last.bytes().all(|b| b.is_ascii_digit()) {
        // `127.1`, `0x7f.1` and `2130706433` are 127.0.0.1 to some resolvers and a name to others.
        return Err(IS_ADDRESS.into());
    }
    if last == "localhost" {
        return Err("the jail's own loopback, which nothing stands in front of; \
                    `[[agent.X.egress.local]]` gives an address of this host another name"
            .into());
    }
    if is_wildcard && !name.contains('.') {
        return Err("a wildcard over a whole top-level domain".into());
    }
    Ok(if is_wildcard { format!("*.{name}") } else { name })
}

/// Checks the name of an environment variable.
pub(crate) fn variable(name: &str) -> Result<(), String> {
    let is_first_right = name.bytes().next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
    match is_first_right && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
        true if name == "HOME" || name == "USER" || name == "LOGNAME" => Err("the jail itself sets it".into()),
        true => Ok(()),
        false => Err("a name is made of letters, digits and `_`, and begins with no digit".into()),
    }
}

/// Checks the name of an agent, action, credential or handoff: it becomes a file name and a word of messages.
pub(crate) fn name(name: &str) -> Result<(), String> {
    let is_first_right = name.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_');
    let is_plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
    match is_first_right && is_plain && name.len() <= 64 {
        true => Ok(()),
        false => {
            Err("a name is made of at most 64 letters, digits, `.`, `_`, `-`, and begins with a letter, digit or `_`"
                .into())
        }
    }
}

/// Checks the name of a tool: clients name theirs `Bash`, `mcp__server__tool`, `server/tool`, `server:tool`.
pub(crate) fn tool(name: &str) -> Result<(), String> {
    let is_plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'/' | b':'));
    match !name.is_empty() && name.len() <= 128 && is_plain {
        true => Ok(()),
        false => {
            Err("a tool's name is made of letters, digits and `.`, `_`, `-`, `/`, `:`; there are no wildcards".into())
        }
    }
}

/// As [`tool`], giving the name back.
pub(crate) fn tool_owned(name: &str) -> Result<String, String> {
    tool(name).map(|()| name.to_owned())
}

/// Reads `address:port` of something that listens inside and is published outside on this address. One spelling each: an
/// IPv4 address inside an IPv6 one would be a loopback address that does not look like one, or the other way round.
pub(crate) fn listener(text: &str) -> Result<SocketAddr, String> {
    let address: SocketAddr = text.parse().map_err(|_| "not an IP address and a port".to_owned())?;
    match (address.port(), address.ip()) {
        (0, _) => Err("port 0 is no port".into()),
        (53 | 3128, _) => Err("inside a jail this port is the way out's, and would be open to whoever connects".into()),
        (_, IpAddr::V6(v6)) if v6.to_ipv4_mapped().is_some() => Err("an IPv4 address is written as one".into()),
        (_, ip) if ip.is_multicast() || ip == IpAddr::V4(Ipv4Addr::BROADCAST) => {
            Err("nothing listens on an address of many".into())
        }
        _ => Ok(address),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_addresses_have_one_spelling() {
        for text in ["127.0.0.1:18789", "[::1]:18789", "0.0.0.0:80", "[::]:8080", "192.168.1.5:443", "[fe80::1%2]:80"] {
            assert_eq!(listener(text).map(|address| address.to_string()), Ok(text.to_owned()));
        }
        for text in [
            "18789",
            ":18789",
            "localhost:18789",
            "127.0.0.1",
            "127.1:80",
            "127.0.0.1:0",
            "127.0.0.1:65536",
            "[::1]",
            "::1:80",
            "[::ffff:127.0.0.1]:80",
            "127.0.0.1:53",
            "[::1]:3128",
            "224.0.0.1:80",
            "[ff02::1]:80",
            "255.255.255.255:80",
            " 127.0.0.1:80",
        ] {
            assert!(listener(text).is_err(), "{text}");
        }
    }

    #[test]
    fn endpoints_become_canonical() {
        for (text, canonical) in [
            ("github.com", "github.com:443"),
            ("GitHub.com:22", "github.com:22"),
            ("*.npmjs.org", "*.npmjs.org:443"),
            ("*.my.co.uk", "*.my.co.uk:443"),
            ("*.ann.github.io:80", "*.ann.github.io:80"),
            ("my_bucket.s3.amazonaws.com", "my_bucket.s3.amazonaws.com:443"),
        ] {
            assert_eq!(endpoint(text).as_deref(), Ok(canonical), "{text}");
        }
    }

    #[test]
    fn what_is_no_endpoint_is_refused() {
        for text in [
            "",
            ":443",
            "*",
            "*.org",
            "a.*.org",
            "https://github.com",
            "github.com/x",
            "github.com:",
            "github.com:0",
            "github.com:65536",
            "github.com:+80",
            "github.com:x",
            "::1",
            "[::1",
            "[::1]x",
            "127.1",
            "2130706433",
            "*.0.0.1",
            "exämple.org",
            "a b.org",
            "-a.org",
            "a..org",
            "a.org.",
            "evil.org\0.github.com",
            "a.org:80:80",
            "127.0.0.1:80",
            "[::1]:443",
            "0x7f.1",
            "0177.0.0.1",
            "a.0x10",
            "localhost:3000",
            "app.localhost",
            "_dmarc.a.org",
            "*.co.uk",
            "*.github.io",
            "*.ck",
            "*.foo.ck",
            "*evil.com",
            "ex*mple.com",
            "foo.*",
        ] {
            assert!(endpoint(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_wildcard_over_strangers_is_said_explicitly_and_one_over_a_registry_never() {
        assert_eq!(wide_endpoint("*.GitHub.io").as_deref(), Ok("*.github.io:443"));
        for text in ["*.com", "*.co.uk", "*.github.com", "github.io", "ann.github.io", "*"] {
            assert!(wide_endpoint(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_wildcard_covers_whole_labels_only() {
        assert!(covers("*.a.org:443", "x.a.org:443") && covers("*.a.org:443", "*.x.a.org:443"));
        assert!(covers("a.org:443", "a.org:443"));
        for host in ["a.org:443", "xa.org:443", "x.a.org:80", ".a.org:443"] {
            assert!(!covers("*.a.org:443", host), "{host}");
        }
    }

    #[test]
    fn names_are_plain() {
        assert!(
            variable("MY_KEY2").is_ok() && variable("2X").is_err() && variable("A=B").is_err() && variable("").is_err()
        );
        assert!(variable("HOME").is_err());
        assert!(name("main").is_ok() && name("../x").is_err() && name("a b").is_err() && name("").is_err());
        assert!(tool("mcp__a__b").is_ok() && tool("mcp__*").is_err());
    }
}

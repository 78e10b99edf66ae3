//! What a person asks about: a host, a host with a port, or a URL. Parsed strictly, as the wire is.

use mantlet_egress::{Authority, Endpoint, HostName, Target};
use mantlet_policy::Protocol;

/// A destination as it was written.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// A name and a port, and what a URL says beyond them.
    Name {
        /// The destination.
        endpoint: Endpoint,
        /// What the URL's scheme would speak there.
        speaks: Option<Protocol>,
        /// The URL's path and query.
        path: Option<String>,
    },
    /// What no rule can name, in the words of the room.
    Unnamed(mantlet_egress::Reason),
}

/// Schemes, their usual ports, and what they speak.
const SCHEMES: &[(&str, u16, Protocol)] = &[
    ("https", 443, Protocol::Tls),
    ("wss", 443, Protocol::Tls),
    ("http", 80, Protocol::Http),
    ("ws", 80, Protocol::Http),
    ("ssh", 22, Protocol::Tcp),
    ("git", 9418, Protocol::Tcp),
];

/// Reads what a person wrote.
pub(super) fn read(text: &str) -> anyhow::Result<Asked> {
    let Some((scheme, rest)) = text.split_once("://") else {
        return Ok(named(text, 443, None, None));
    };
    let known = SCHEMES.iter().find(|(name, ..)| scheme.eq_ignore_ascii_case(name));
    let Some((_, port, speaks)) = known else {
        anyhow::bail!("the scheme of {text:?} is not known here\nhint: write HOST:PORT");
    };
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    if authority.contains('@') {
        anyhow::bail!("a URL with a name or password in it\nhint: write the host alone, HOST:PORT");
    }
    // A fragment stays in the client.
    let path = path.split('#').next().unwrap_or_default();
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    Ok(named(authority, *port, Some(*speaks), Some(path)))
}

fn named(text: &str, usual: u16, speaks: Option<Protocol>, path: Option<String>) -> Asked {
    use mantlet_egress::Reason;
    // What is not ASCII is what a person wrote; a client writes it in punycode, and only that form is judged.
    let ascii = match text.is_ascii() {
        true => text.to_owned(),
        false => {
            let (host, port) = text.rsplit_once(':').map_or((text, None), |(host, port)| (host, Some(port)));
            match HostName::from_person(host) {
                Ok(name) => port.map_or(name.to_string(), |port| format!("{name}:{port}")),
                Err(error) => return Asked::Unnamed(Reason::Name(error.to_string())),
            }
        }
    };
    // Without brackets an IPv6 address has no port that could be told from it.
    if ascii.parse::<std::net::Ipv6Addr>().is_ok() {
        return Asked::Unnamed(Reason::Address);
    }
    match Authority::parse(ascii.as_bytes(), Some(usual)) {
        Ok(Authority { target: Target::Name(name), port }) => {
            Asked::Name { endpoint: Endpoint { name, port }, speaks, path }
        }
        Ok(Authority { target: Target::Address(_), .. }) => Asked::Unnamed(Reason::Address),
        Err(mantlet_egress::AuthorityError::Name(mantlet_egress::NameError::Address)) => {
            Asked::Unnamed(Reason::Address)
        }
        Err(error) => Asked::Unnamed(Reason::Name(error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(text: &str) -> Option<String> {
        match read(text).unwrap() {
            Asked::Name { endpoint, .. } => Some(endpoint.to_string()),
            Asked::Unnamed(_) => None,
        }
    }

    #[test]
    fn one_destination_is_read_in_many_spellings() {
        for (text, expected) in [
            ("github.com", "github.com:443"),
            ("GitHub.COM.", "github.com:443"),
            ("github.com:22", "github.com:22"),
            ("https://github.com/a?b#c", "github.com:443"),
            ("HTTP://github.com", "github.com:80"),
            ("wss://github.com:8443/x", "github.com:8443"),
            ("https://github.com?x", "github.com:443"),
            ("Bücher.example:80", "xn--bcher-kva.example:80"),
            ("https://bücher.example/", "xn--bcher-kva.example:443"),
            ("ssh://git.example/x.git", "git.example:22"),
        ] {
            assert_eq!(endpoint(text).as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_no_rule_can_name_is_said_so() {
        for text in [
            "",
            "127.0.0.1",
            "127.1",
            "2130706433",
            "0x7f.1:80",
            "[::1]:443",
            "::1",
            "http://[::1]/",
            "http://169.254.169.254/latest",
            "a%2eb",
            "a b",
            "a..b",
            "a.example:0",
            "a.example:99999",
            "a.example:1:2",
            "a.example/x",
            "a@b.example",
            "https://",
            "ü\u{0}.example",
        ] {
            assert_eq!(endpoint(text), None, "{text:?}");
        }
        assert!(read("ftp://a.example").is_err() && read("https://u:p@a.example/").is_err());
    }

    #[test]
    fn a_url_says_what_is_spoken_and_asked() {
        let Asked::Name { speaks, path, .. } = read("http://a.example/v1/x?q=1#f").unwrap() else { panic!() };
        assert_eq!((speaks, path.as_deref()), (Some(Protocol::Http), Some("/v1/x?q=1")));
        let Asked::Name { speaks, path, .. } = read("https://a.example").unwrap() else { panic!() };
        assert_eq!((speaks, path.as_deref()), (Some(Protocol::Tls), Some("/")));
    }
}

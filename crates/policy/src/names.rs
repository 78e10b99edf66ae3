//! Names inside a policy: hosts, environment variables, agents. Pure checks; errors say what is wrong.

/// The ids of the clients that an agent may run in.
pub(crate) const CLIENTS: &[&str] = &["claude", "codex", "gemini", "copilot", "cursor", "opencode", "openclaw"];

/// Reads `host`, `host:port`, `*.domain:port` or `[v6]:port` into its canonical `host:port`.
pub(crate) fn endpoint(text: &str) -> Result<String, String> {
    if text.contains("://") || text.contains('/') {
        return Err("a URL; write only host:port".into());
    }
    let (host, port) = split_port(text)?;
    let port: u16 = match port {
        None => 443,
        Some(port) if port.bytes().all(|b| b.is_ascii_digit()) => {
            port.parse().map_err(|_| "the port is above 65535".to_owned())?
        }
        Some(_) => return Err("the port is not a number".into()),
    };
    if port == 0 {
        return Err("port 0 is no port".into());
    }
    if let Some(v6) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        let v6: std::net::Ipv6Addr = v6.parse().map_err(|_| "not an IPv6 address".to_owned())?;
        return Ok(format!("[{v6}]:{port}"));
    }
    Ok(format!("{}:{port}", hostname(host)?))
}

fn split_port(text: &str) -> Result<(&str, Option<&str>), String> {
    let tail = match text.strip_prefix('[') {
        Some(rest) => rest.find(']').map(|end| end + 2).ok_or("no `]` after the IPv6 address")?,
        None => text.find(':').unwrap_or(text.len()),
    };
    match text.split_at(tail) {
        (host, "") => Ok((host, None)),
        (host, rest) => match rest.strip_prefix(':') {
            Some(port) if port.contains(':') => Err("an IPv6 address needs brackets, `[::1]:443`".into()),
            Some(port) => Ok((host, Some(port))),
            None => Err("something other than `:port` follows the address".into()),
        },
    }
}

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
        if label.is_empty() || label.len() > 63 || !is_plain || label.starts_with('-') || label.ends_with('-') {
            return Err("not a host name".into());
        }
    }
    let is_number = name.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    if is_number && (is_wildcard || name.parse::<std::net::Ipv4Addr>().is_err()) {
        // `127.1` and `2130706433` are 127.0.0.1 to some resolvers and a name to others.
        return Err("not an IPv4 address in its full form".into());
    }
    if is_wildcard && !name.contains('.') {
        return Err("a wildcard over a whole top-level domain".into());
    }
    Ok(host.to_ascii_lowercase())
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

/// Reads `address:port` of something that listens.
pub(crate) fn listener(text: &str) -> Result<String, String> {
    let address: std::net::SocketAddr = text.parse().map_err(|_| "not an IP address and a port".to_owned())?;
    match address.port() {
        0 => Err("port 0 is no port".into()),
        _ => Ok(address.to_string()),
    }
}

/// Whether what [`listener`] returned can be reached from this machine only.
pub(crate) fn is_loopback(listener: &str) -> bool {
    listener.parse::<std::net::SocketAddr>().is_ok_and(|address| address.ip().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_become_canonical() {
        for (text, canonical) in [
            ("github.com", "github.com:443"),
            ("GitHub.com:22", "github.com:22"),
            ("*.npmjs.org", "*.npmjs.org:443"),
            ("127.0.0.1:80", "127.0.0.1:80"),
            ("[::1]", "[::1]:443"),
            ("[0:0::1]:8080", "[::1]:8080"),
            ("localhost:3000", "localhost:3000"),
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
        ] {
            assert!(endpoint(text).is_err(), "{text}");
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

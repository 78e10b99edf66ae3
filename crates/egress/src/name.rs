//! Host names in one canonical form, and the endpoints made of them. Pure.
//!
//! The attack is a name that the check reads one way and the resolver, the server or the kernel another: a NUL, a second
//! `:`, a full-width dot, `127.1`. So there is one type for all of them; what it does not take exists for nobody.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};

/// A host name: ASCII, lower case, without a dot at its end, and never an address in any notation.
///
/// Labels hold letters, digits and `-`. Inside a label `_` is taken too: buckets and containers have names with it, and
/// nothing reads it as a separator. At the edge of a label it is refused, as `-` is: those are records, not hosts.
/// A label that begins with `xn--` must be one that IDNA (UTS 46, non-transitional) would have made.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostName(Arc<str>);

/// Why something is no host name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// Nothing there.
    #[error("the host name is empty")]
    Empty,
    /// More than 253 bytes.
    #[error("the host name is longer than 253 bytes")]
    TooLong,
    /// A byte that no host name has.
    #[error("the host name has the byte 0x{0:02x} in it")]
    Byte(u8),
    /// An empty label, one of more than 63 bytes, or one with `-` or `_` at its edge.
    #[error("a part of the host name is empty, too long, or has `-` or `_` at its edge")]
    Label,
    /// It would be read as an IPv4 address by something.
    #[error("an address, not a host name")]
    Address,
    /// An `xn--` label that stands for nothing.
    #[error("a part of the host name is no valid punycode")]
    Punycode,
    /// Not a name that Unicode gives an ASCII form.
    #[error("not a valid international host name")]
    Unicode,
}

impl HostName {
    /// Reads a name as protocols carry it: ASCII only, since every client writes punycode itself.
    ///
    /// # Errors
    /// It is no host name.
    pub fn from_wire(bytes: &[u8]) -> Result<Self, NameError> {
        let bytes = bytes.strip_suffix(b".").unwrap_or(bytes);
        if bytes.is_empty() {
            return Err(NameError::Empty);
        }
        if bytes.len() > 253 {
            return Err(NameError::TooLong);
        }
        let is_plain = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        if let Some(byte) = bytes.iter().find(|b| !is_plain(b)) {
            return Err(NameError::Byte(*byte));
        }
        let text = String::from_utf8(bytes.to_ascii_lowercase()).map_err(|_| NameError::Unicode)?;
        for label in text.split('.') {
            if label.is_empty() || label.len() > 63 || label.starts_with(['-', '_']) || label.ends_with(['-', '_']) {
                return Err(NameError::Label);
            }
        }
        if ends_in_a_number(&text) {
            return Err(NameError::Address);
        }
        if text.split('.').any(|label| label.starts_with("xn--")) {
            let checked =
                Uts46::new().to_ascii(text.as_bytes(), AsciiDenyList::EMPTY, Hyphens::Allow, DnsLength::Ignore);
            match checked {
                Ok(same) if *same == *text => {}
                Ok(_) | Err(_) => return Err(NameError::Punycode),
            }
        }
        Ok(HostName(text.into()))
    }

    /// Reads a name as a person writes it, Unicode included.
    ///
    /// # Errors
    /// It is no host name, or one without an ASCII form.
    pub fn from_person(text: &str) -> Result<Self, NameError> {
        let ascii = Uts46::new()
            .to_ascii(text.as_bytes(), AsciiDenyList::EMPTY, Hyphens::Allow, DnsLength::Ignore)
            .map_err(|_| NameError::Unicode)?;
        Self::from_wire(ascii.as_bytes())
    }

    /// Returns the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this name lies below `suffix`, by at least one whole label.
    pub fn is_below(&self, suffix: &HostName) -> bool {
        let rest = self.0.strip_suffix(suffix.as_str());
        rest.is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
    }

    /// Returns the labels, from the left.
    pub fn labels(&self) -> impl Iterator<Item = &str> {
        self.0.split('.')
    }
}

/// The rule of the URL standard: what ends in a number is an IPv4 address to somebody, in decimal, octal or hex, with one
/// to four parts.
fn ends_in_a_number(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or_default();
    let hex = last.strip_prefix("0x");
    last.bytes().all(|b| b.is_ascii_digit()) || hex.is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_hexdigit()))
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A host by name and a port.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Endpoint {
    /// The host.
    pub name: HostName,
    /// The port, never 0.
    pub port: u16,
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.name, self.port)
    }
}

/// What stands before the port of an authority.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A host name.
    Name(HostName),
    /// An address in its one full notation.
    Address(IpAddr),
}

/// A target with a port: the authority of a URL, a `Host` header, what CONNECT asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authority {
    /// The host.
    pub target: Target,
    /// The port, never 0.
    pub port: u16,
}

/// Why something is no authority.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AuthorityError {
    /// The host.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The port is missing, 0, too large, or not written as one number.
    #[error("the port is missing, or is not a number from 1 to 65535")]
    Port,
    /// A bracket without an IPv6 address in it.
    #[error("not an IPv6 address in brackets")]
    Brackets,
}

impl Authority {
    /// Reads `host:port`, or `host` alone where there is a usual port.
    ///
    /// # Errors
    /// Anything else: user information, several ports, an address in another notation than its full one.
    pub fn parse(bytes: &[u8], usual: Option<u16>) -> Result<Self, AuthorityError> {
        if let Some(rest) = bytes.strip_prefix(b"[") {
            let end = rest.iter().position(|b| *b == b']').ok_or(AuthorityError::Brackets)?;
            let (inside, rest) = rest.split_at(end);
            let text = std::str::from_utf8(inside).map_err(|_| AuthorityError::Brackets)?;
            // No zone: `%` would name an interface, and begin an escape for somebody else.
            let address: Ipv6Addr = text.parse().map_err(|_| AuthorityError::Brackets)?;
            let port = match rest.strip_prefix(b"]:") {
                Some(port) => read_port(port)?,
                None if rest == b"]" => usual.ok_or(AuthorityError::Port)?,
                None => return Err(AuthorityError::Brackets),
            };
            return Ok(Authority { target: Target::Address(canonical(address.into())), port });
        }
        let (host, port) = match bytes.iter().position(|b| *b == b':') {
            None => (bytes, usual.ok_or(AuthorityError::Port)?),
            Some(colon) => {
                let (host, port) = bytes.split_at(colon);
                (host, read_port(port.get(1..).unwrap_or_default())?)
            }
        };
        let address = std::str::from_utf8(host).ok().and_then(|text| text.parse::<Ipv4Addr>().ok());
        let target = match address {
            Some(address) => Target::Address(address.into()),
            None => Target::Name(HostName::from_wire(host)?),
        };
        Ok(Authority { target, port })
    }
}

fn read_port(digits: &[u8]) -> Result<u16, AuthorityError> {
    let text = std::str::from_utf8(digits).map_err(|_| AuthorityError::Port)?;
    let is_plain = !text.is_empty() && text.len() <= 5 && text.bytes().all(|b| b.is_ascii_digit());
    if !is_plain || text.starts_with('0') {
        return Err(AuthorityError::Port);
    }
    text.parse().map_err(|_| AuthorityError::Port)
}

/// An IPv4 address that a dual-stack socket shows as IPv6 is that IPv4 address.
pub fn canonical(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(address, IpAddr::V4),
        IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Dice;

    #[test]
    fn one_name_has_one_form() {
        for text in ["github.com", "GITHUB.COM", "GitHub.com.", "github.com."] {
            assert_eq!(HostName::from_wire(text.as_bytes()).unwrap().as_str(), "github.com");
        }
        for (person, canonical) in [
            ("Bücher.example", "xn--bcher-kva.example"),
            ("faß.de", "xn--fa-hia.de"),
            ("github。com", "github.com"),
            ("ＧＩＴＨＵＢ．com", "github.com"),
            ("git\u{ad}hub.com", "github.com"),
        ] {
            assert_eq!(HostName::from_person(person).unwrap().as_str(), canonical, "{person}");
            assert!(HostName::from_wire(person.as_bytes()).is_err(), "{person}");
        }
        // The Cyrillic letter makes another name, and that is the one that is judged.
        assert_eq!(HostName::from_person("gіthub.com").unwrap().as_str(), "xn--gthub-n2e.com");
        for text in
            ["a_b.example", "r3---sn-x.example", "xn--bcher-kva.example", "a.example", "3com.com", "1.1.1.1.nip.io"]
        {
            assert!(HostName::from_wire(text.as_bytes()).is_ok(), "{text}");
        }
    }

    #[test]
    fn what_is_no_host_name_is_refused() {
        let long = format!("{}.example", "a".repeat(64));
        let longer = vec!["a23456789"; 26].join(".");
        for text in [
            "",
            ".",
            "..",
            "a..b",
            ".a",
            "a..",
            "-a.b",
            "a-.b",
            "_a.b",
            "a_.b",
            &long,
            &longer,
            "a b",
            "a\tb",
            "a\0.b",
            "evil\0.github.com",
            "a%2eb",
            "a%00",
            "a\r\nb",
            "a\x7f",
            "a@b",
            "a/b",
            "a\\b",
            "a#b",
            "a?b",
            "a:b",
            "[a]",
            "*.a",
            "ä.example",
            "xn--",
            "xn--a.example",
            "xn--ls8h-.la",
            "xn--0.example",
            "xn--github-.com",
            "xn--99999999999.example",
        ] {
            assert!(HostName::from_wire(text.as_bytes()).is_err(), "{text:?}");
        }
        for text in [
            "127.0.0.1",
            "127.1",
            "2130706433",
            "0177.0.0.1",
            "0x7f.1",
            "0x7f000001",
            "0x",
            "1.2.3.4.",
            "a.0x1F",
            "a.1",
            "256.256.256.256",
        ] {
            assert_eq!(HostName::from_wire(text.as_bytes()), Err(NameError::Address), "{text}");
        }
    }

    #[test]
    fn below_means_whole_labels() {
        let name = |text: &str| HostName::from_wire(text.as_bytes()).unwrap();
        let suffix = name("github.com");
        assert!(name("api.github.com").is_below(&suffix) && name("a.b.github.com").is_below(&suffix));
        for text in ["github.com", "evil-github.com", "evilgithub.com", "github.com.evil.com", "com"] {
            assert!(!name(text).is_below(&suffix), "{text}");
        }
    }

    #[test]
    fn an_authority_is_a_host_and_one_plain_port() {
        let read = |text: &str| Authority::parse(text.as_bytes(), None);
        assert_eq!(read("a.example:443").map(|a| a.port), Ok(443));
        assert_eq!(read("[::1]:80").map(|a| a.target), Ok(Target::Address("::1".parse().unwrap())));
        assert_eq!(read("[::ffff:1.2.3.4]:80").map(|a| a.target), Ok(Target::Address("1.2.3.4".parse().unwrap())));
        assert_eq!(read("1.2.3.4:80").map(|a| a.target), Ok(Target::Address("1.2.3.4".parse().unwrap())));
        assert_eq!(Authority::parse(b"a.example", Some(80)).map(|a| a.port), Ok(80));
        for text in [
            "a.example",
            "a.example:",
            "a.example:0",
            "a.example:00443",
            "a.example:065",
            "a.example:65536",
            "a.example:443:80",
            "a.example:+1",
            "a.example: 1",
            "a.example:1 ",
            "a.example:x",
            "evil.com:443.github.com",
            "u@a.example:1",
            "::1:443",
            "::1",
            "[::1",
            "[::1]",
            "[::1]443",
            "[::1%eth0]:443",
            "[fe80::1%25eth0]:1",
            "[a]:1",
            "[1.2.3.4]:1",
            ":443",
            "01.2.3.4:1",
            "1.2.3:1",
            "a.example%00:1",
            "a.example\0:1",
            "a.example#:1",
            "a.example?:1",
            "a.example/:1",
            "a\\.b:1",
        ] {
            assert!(read(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn whatever_is_taken_is_canonical_and_stays_the_same() {
        let mut dice = Dice::new(7);
        let parts: &[&[u8]] = &[
            b"a",
            b"Z",
            b"0",
            b"9",
            b".",
            b".",
            b"-",
            b"_",
            b"xn--",
            b"bcher-kva",
            b"0x",
            b"127",
            b":",
            b"\0",
            b"%",
            b"\xc3\xa4",
            b"[",
            b"]",
        ];
        for _ in 0..200_000 {
            let text: Vec<u8> = (0..dice.below(8)).flat_map(|_| parts[dice.below(parts.len())].to_vec()).collect();
            let Ok(name) = HostName::from_wire(&text) else { continue };
            assert_eq!(HostName::from_wire(name.as_str().as_bytes()).as_ref(), Ok(&name));
            assert_eq!(HostName::from_person(name.as_str()).as_ref(), Ok(&name), "{name}");
            assert!(name.as_str().parse::<IpAddr>().is_err());
        }
    }
}

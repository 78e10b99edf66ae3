//! SOCKS 5 (RFC 1928) as far as a proxy by name needs it: CONNECT to a domain. Pure.
//!
//! The attack: a NUL or an address in the field for the domain, which one side takes for a name and the other cuts.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::name::{HostName, NameError, Target, canonical};

/// What is wrong with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SocksError {
    /// Another version.
    #[error("not SOCKS 5")]
    Version,
    /// The client offers no way to authenticate that is asked for here.
    #[error("the SOCKS client offers no way to authenticate that is asked for here")]
    Method,
    /// BIND, or UDP.
    #[error("SOCKS can only connect here")]
    Command,
    /// An address type that is none, or a port 0.
    #[error("the SOCKS request is malformed")]
    Malformed,
    /// A domain that is no host name.
    #[error(transparent)]
    Name(#[from] NameError),
}

/// How a request is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply {
    /// Connected.
    Succeeded = 0,
    /// Something here failed.
    Failed = 1,
    /// A rule refuses it.
    NotAllowed = 2,
    /// Nothing there.
    Unreachable = 4,
    /// Not a command that is done here.
    NoCommand = 7,
}

/// No authentication.
pub const FREE: u8 = 0;
/// A name and a password (RFC 1929).
pub const PASSWORD: u8 = 2;

/// Reads the greeting: its length, when `method` is one of its methods; nothing while bytes are missing.
///
/// # Errors
/// Not SOCKS 5, or no such method.
pub fn greeting(bytes: &[u8], method: u8) -> Result<Option<usize>, SocksError> {
    match bytes {
        [] | [5] => Ok(None),
        [5, count, rest @ ..] => match rest.get(..usize::from(*count)) {
            None => Ok(None),
            Some(methods) if methods.contains(&method) => Ok(Some(2 + methods.len())),
            Some(_) => Err(SocksError::Method),
        },
        _ => Err(SocksError::Version),
    }
}

/// A name, a password, and the length of both on the wire.
pub type Pair<'b> = (&'b [u8], &'b [u8], usize);

/// Reads a name and a password, and their length; nothing while bytes are missing.
///
/// # Errors
/// Another version of this part.
pub fn login(bytes: &[u8]) -> Result<Option<Pair<'_>>, SocksError> {
    let [version, rest @ ..] = bytes else { return Ok(None) };
    if *version != 1 {
        return Err(SocksError::Malformed);
    }
    let part = |rest: &[u8]| rest.first().map(|length| usize::from(*length));
    let Some(user) = part(rest).and_then(|length| rest.get(1..1 + length)) else { return Ok(None) };
    let rest = rest.get(1 + user.len()..).unwrap_or_default();
    let Some(password) = part(rest).and_then(|length| rest.get(1..1 + length)) else { return Ok(None) };
    Ok(Some((user, password, 3 + user.len() + password.len())))
}

/// Reads the request: what it aims at, and its length; nothing while bytes are missing.
///
/// # Errors
/// Not a request to connect somewhere.
pub fn request(bytes: &[u8]) -> Result<Option<(Target, u16, usize)>, SocksError> {
    let (kind, rest) = match bytes {
        [version, ..] if *version != 5 => return Err(SocksError::Version),
        [_, command, ..] if *command != 1 => return Err(SocksError::Command),
        [_, _, reserved, ..] if *reserved != 0 => return Err(SocksError::Malformed),
        [_, _, _, kind, rest @ ..] => (*kind, rest),
        _ => return Ok(None),
    };
    let (host, skipped) = match (kind, rest) {
        (1, _) => (rest.get(..4), 0),
        (4, _) => (rest.get(..16), 0),
        (3, []) => return Ok(None),
        (3, [length, rest @ ..]) => (rest.get(..usize::from(*length)), 1),
        _ => return Err(SocksError::Malformed),
    };
    let Some(host) = host else { return Ok(None) };
    let Some([high, low]) = rest.get(skipped + host.len()..skipped + host.len() + 2) else { return Ok(None) };
    let port = u16::from_be_bytes([*high, *low]);
    if port == 0 {
        return Err(SocksError::Malformed);
    }
    let target = match (<[u8; 4]>::try_from(host), <[u8; 16]>::try_from(host)) {
        (Ok(v4), _) if kind == 1 => Target::Address(IpAddr::V4(Ipv4Addr::from(v4))),
        (_, Ok(v6)) if kind == 4 => Target::Address(canonical(IpAddr::V6(Ipv6Addr::from(v6)))),
        _ => Target::Name(HostName::from_wire(host)?),
    };
    Ok(Some((target, port, 4 + skipped + host.len() + 2)))
}

/// Writes an answer. The address in it is nobody's business.
pub fn reply(reply: Reply) -> [u8; 10] {
    [5, reply as u8, 0, 1, 0, 0, 0, 0, 0, 0]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Dice;

    fn domain(name: &[u8]) -> Vec<u8> {
        [&[5, 1, 0, 3, u8::try_from(name.len()).unwrap()], name, &[1, 187]].concat()
    }

    #[test]
    fn a_domain_is_read_whole_or_not_at_all() {
        let bytes = domain(b"Allowed.Test");
        let (target, port, length) = request(&bytes).unwrap().unwrap();
        assert_eq!(
            (target, port, length),
            (Target::Name(HostName::from_wire(b"allowed.test").unwrap()), 443, bytes.len())
        );
        for end in 0..bytes.len() {
            assert_eq!(request(&bytes[..end]), Ok(None), "{end}");
        }
        for name in [&b"evil.test\0.allowed.test"[..], b"127.0.0.1", b"", b"a b", b"::1", b"allowed.test:80", b"\xff"] {
            assert!(request(&domain(name)).is_err(), "{name:?}");
        }
    }

    #[test]
    fn addresses_are_told_from_names() {
        let v4 = request(&[5, 1, 0, 1, 127, 0, 0, 1, 0, 80]).unwrap().unwrap();
        assert_eq!((v4.0, v4.1), (Target::Address("127.0.0.1".parse().unwrap()), 80));
        let mapped = [&[5u8, 1, 0, 4][..], &[0; 10], &[0xff, 0xff, 127, 0, 0, 1, 0, 80]].concat();
        assert_eq!(request(&mapped).unwrap().unwrap().0, Target::Address("127.0.0.1".parse().unwrap()));
    }

    #[test]
    fn other_commands_versions_and_methods_are_refused() {
        for (bytes, error) in [
            (&[4u8, 1][..], SocksError::Version),
            (&[5, 2], SocksError::Command),
            (&[5, 3], SocksError::Command),
            (&[5, 1, 1], SocksError::Malformed),
            (&[5, 1, 0, 2, 0], SocksError::Malformed),
            (&[5, 1, 0, 1, 1, 2, 3, 4, 0, 0], SocksError::Malformed),
        ] {
            assert_eq!(request(bytes), Err(error), "{bytes:?}");
        }
        assert_eq!(greeting(&[5, 2, 2, 0, 5], FREE), Ok(Some(4)));
        assert_eq!(greeting(&[5, 2, 2], FREE), Ok(None));
        assert_eq!(greeting(&[5, 1, 2], FREE), Err(SocksError::Method));
        assert_eq!(greeting(&[5, 0], FREE), Err(SocksError::Method));
        assert_eq!(greeting(b"GET", FREE), Err(SocksError::Version));
    }

    #[test]
    fn a_login_is_read_whole() {
        let bytes = b"\x01\x04main\x06secret";
        assert_eq!(login(bytes), Ok(Some((&b"main"[..], &b"secret"[..], bytes.len()))));
        for end in 0..bytes.len() {
            assert_eq!(login(&bytes[..end]), Ok(None), "{end}");
        }
        assert_eq!(login(b"\x05\x00\x00"), Err(SocksError::Malformed));
        assert_eq!(login(b"\x01\x00\x00"), Ok(Some((&b""[..], &b""[..], 3))));
        assert_eq!(greeting(&[5, 1, 2], PASSWORD), Ok(Some(3)));
        assert_eq!(greeting(&[5, 1, 0], PASSWORD), Err(SocksError::Method), "no way around it");
    }

    #[test]
    fn random_and_mutated_requests_give_canonical_names_or_none() {
        let mut dice = Dice::new(19);
        let seeds = [domain(b"allowed.test"), vec![5, 1, 0, 1, 127, 0, 0, 1, 0, 80], vec![5, 3, 0, 1, 2]];
        for _ in 0..100_000 {
            let bytes = dice.one_of(&seeds);
            let _read = greeting(&bytes, PASSWORD);
            if let Ok(Some((target, port, length))) = request(&bytes) {
                assert!(port > 0 && length <= bytes.len());
                if let Target::Name(name) = target {
                    assert_eq!(HostName::from_wire(name.as_str().as_bytes()), Ok(name));
                }
            }
        }
    }
}

//! The first message of a TLS connection, as far as the name in it. Pure.
//!
//! The attacks: a name hidden in a second record, a second name, an encrypted ClientHello whose inner name nobody sees,
//! and bytes that are no TLS at all on a port that is for TLS.

use crate::name::{HostName, NameError};

/// As long as a ClientHello may be. With post-quantum keys they have about 2 KiB.
pub const MOST: usize = 16 * 1024;
/// As many records as it may be cut into: a byte in each is a way to keep a parser busy.
const MOST_RECORDS: usize = 64;

/// What is wrong with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HelloError {
    /// Not TLS.
    #[error("this port is for TLS, and these bytes are not TLS")]
    NotTls,
    /// TLS, and not well-formed.
    #[error("the TLS ClientHello is malformed")]
    Malformed,
    /// Longer than any client writes it.
    #[error("the TLS ClientHello is too long")]
    TooLong,
    /// Without a name nothing can be decided.
    #[error("the TLS ClientHello names no host (no SNI)")]
    NoName,
    /// The name is none.
    #[error("the TLS ClientHello names no host: {0}")]
    Name(#[from] NameError),
    /// The name that counts is encrypted.
    #[error("the TLS ClientHello is encrypted (ECH), so that its host cannot be seen; switch ECH off in the client")]
    Encrypted,
}

/// Reads the name; nothing while bytes are missing.
///
/// # Errors
/// These bytes will never be a ClientHello with a name that can be seen.
pub fn server_name(bytes: &[u8]) -> Result<Option<HostName>, HelloError> {
    match handshake(bytes)? {
        None => Ok(None),
        Some(message) => hello(&message).map(Some),
    }
}

/// Puts the records together until the first handshake message is whole.
fn handshake(mut bytes: &[u8]) -> Result<Option<Vec<u8>>, HelloError> {
    let mut message = Vec::new();
    for _ in 0..MOST_RECORDS {
        // The first bytes decide: a client that speaks first in another protocol is told at once.
        match bytes {
            [] => return Ok(None),
            [kind, ..] if *kind != 22 => return Err(HelloError::NotTls),
            [_, major, ..] if *major != 3 => return Err(HelloError::NotTls),
            [_, _, minor, ..] if *minor > 4 => return Err(HelloError::NotTls),
            _ => {}
        }
        let [_, _, _, high, low, rest @ ..] = bytes else { return Ok(None) };
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        if length == 0 || length > MOST {
            return Err(HelloError::Malformed);
        }
        let is_whole = rest.len() >= length;
        let (part, after) = rest.split_at(length.min(rest.len()));
        message.extend_from_slice(part);
        if let [kind, ..] = message.as_slice()
            && *kind != 1
        {
            return Err(HelloError::Malformed);
        }
        if let [_, a, b, c, ..] = message.as_slice() {
            let wanted = 4 + usize::try_from(u32::from_be_bytes([0, *a, *b, *c])).unwrap_or(usize::MAX);
            if wanted > MOST {
                return Err(HelloError::TooLong);
            }
            // A second message in the same flight would be one that nobody has looked at.
            match (message.len().cmp(&wanted), is_whole) {
                (std::cmp::Ordering::Greater, _) => return Err(HelloError::Malformed),
                (std::cmp::Ordering::Equal, true) => return Ok(Some(message)),
                _ => {}
            }
        }
        if !is_whole {
            return Ok(None);
        }
        bytes = after;
    }
    Err(HelloError::Malformed)
}

/// Cuts a piece with its length in front off the rest.
fn piece<'b>(rest: &mut &'b [u8], width: usize) -> Result<&'b [u8], HelloError> {
    let (length, after) = rest.split_at_checked(width).ok_or(HelloError::Malformed)?;
    let length = length.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
    let (inside, after) = after.split_at_checked(length).ok_or(HelloError::Malformed)?;
    *rest = after;
    Ok(inside)
}

fn hello(message: &[u8]) -> Result<HostName, HelloError> {
    // Kind and length (4), version (2), random (32).
    let mut rest = message.get(38..).ok_or(HelloError::Malformed)?;
    if message.get(4) != Some(&3) {
        return Err(HelloError::Malformed);
    }
    let session = piece(&mut rest, 1)?;
    let suites = piece(&mut rest, 2)?;
    let compression = piece(&mut rest, 1)?;
    if session.len() > 32 || suites.len() < 2 || !suites.len().is_multiple_of(2) || compression.is_empty() {
        return Err(HelloError::Malformed);
    }
    if rest.is_empty() {
        return Err(HelloError::NoName);
    }
    let mut extensions = piece(&mut rest, 2)?;
    if !rest.is_empty() {
        return Err(HelloError::Malformed);
    }
    let mut seen = Vec::new();
    let mut name = None;
    while !extensions.is_empty() {
        let (kind, after) = extensions.split_at_checked(2).ok_or(HelloError::Malformed)?;
        extensions = after;
        let data = piece(&mut extensions, 2)?;
        if seen.contains(&kind) || seen.len() >= 256 {
            return Err(HelloError::Malformed);
        }
        seen.push(kind);
        match kind {
            [0, 0] => name = Some(data),
            // ECH (RFC 9849) and its ancestor ESNI. A decoy looks the same as a real one.
            [0xfe, 0x0d] | [0xff, 0xce] => return Err(HelloError::Encrypted),
            _ => {}
        }
    }
    let mut list = name.ok_or(HelloError::NoName)?;
    let mut names = piece(&mut list, 2)?;
    let (kind, after) = names.split_at_checked(1).ok_or(HelloError::Malformed)?;
    names = after;
    let host = piece(&mut names, 2)?;
    if kind != [0] || !names.is_empty() || !list.is_empty() {
        return Err(HelloError::Malformed);
    }
    Ok(HostName::from_wire(host)?)
}

#[cfg(test)]
#[path = "hello_tests.rs"]
mod tests;

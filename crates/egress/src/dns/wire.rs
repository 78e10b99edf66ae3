//! DNS messages: the few forms that a stub and a resolver need, read strictly. Pure.
//!
//! The attacks: a compression pointer that loops, a count that promises more than there is, a question of another class,
//! and every record type that could carry data out.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::name::HostName;

/// The largest message that is read from anybody.
pub const MOST: usize = 4096;
/// What a resolver may send over UDP without fragments (the DNS flag day of 2020).
const UDP_SIZE: u16 = 1232;
/// How long a jail may keep an answer: the map outlives it.
const TTL: u32 = 60;

const A: u16 = 1;
const CNAME: u16 = 5;
const AAAA: u16 = 28;
const OPT: u16 = 41;
const IN: u16 = 1;

const NO_ERROR: u8 = 0;
const FORM_ERR: u8 = 1;
const NX_DOMAIN: u8 = 3;
const NOT_IMP: u8 = 4;
const REFUSED: u8 = 5;

/// What the stub says about a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// It has these addresses inside the jail.
    At(Ipv4Addr, Ipv6Addr),
    /// There is no such name.
    No,
}

/// A reader that never reads beyond its bytes.
struct Reader<'b> {
    bytes: &'b [u8],
    at: usize,
}

impl<'b> Reader<'b> {
    fn u8(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    fn u16(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes([self.u8()?, self.u8()?]))
    }

    fn take(&mut self, count: usize) -> Option<&'b [u8]> {
        let end = self.at.checked_add(count)?;
        let bytes = self.bytes.get(self.at..end)?;
        self.at = end;
        Some(bytes)
    }

    /// A name without compression, as text with its dots; a dot inside a label makes it no name of a host.
    fn plain_name(&mut self) -> Option<Vec<u8>> {
        let mut text = Vec::new();
        loop {
            let length = usize::from(self.u8()?);
            if length == 0 {
                return Some(text);
            }
            if length > 63 || text.len() + length > 254 {
                return None;
            }
            let label = self.take(length)?;
            if !text.is_empty() {
                text.push(b'.');
            }
            text.extend(label.iter().map(|b| if *b == b'.' { 0 } else { *b }));
        }
    }

    /// A name with compression. Every pointer must lead further back than the one before, so that none can loop.
    fn name(&mut self) -> Option<Vec<u8>> {
        let mut text = Vec::new();
        let mut limit = self.at;
        let mut after = None;
        loop {
            let length = usize::from(self.u8()?);
            match length {
                0 => break,
                1..=63 if text.len() + length <= 254 => {
                    let label = self.take(length)?;
                    if !text.is_empty() {
                        text.push(b'.');
                    }
                    text.extend(label.iter().map(|b| if *b == b'.' { 0 } else { *b }));
                }
                0xc0.. => {
                    let target = (length & 0x3f) << 8 | usize::from(self.u8()?);
                    if target >= limit {
                        return None;
                    }
                    after.get_or_insert(self.at);
                    limit = target;
                    self.at = target;
                }
                _ => return None,
            }
        }
        if let Some(after) = after {
            self.at = after;
        }
        Some(text)
    }
}

/// What was asked, and what the stub did about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    /// The message to send back.
    pub message: Vec<u8>,
    /// The name that was refused, when one was.
    pub refused: Option<HostName>,
}

/// Answers one query; nothing when it is not even a query, so that two stubs never talk to each other.
///
/// A name is looked at only for address questions and never sent on. The question goes back byte by byte: clients that
/// mix the case of letters (0x20) check it.
pub fn answer(query: &[u8], mut look_up: impl FnMut(&HostName) -> Known) -> Option<Answered> {
    let mut reader = Reader { bytes: query, at: 0 };
    let id = reader.u16()?;
    let flags = reader.u16()?;
    let counts = [reader.u16()?, reader.u16()?, reader.u16()?, reader.u16()?];
    if flags & 0x8000 != 0 {
        return None;
    }
    let recursion = flags & 0x0100;
    let bare = |code| Some(Answered { message: header(id, recursion, code, [0, 0, 0, 0]), refused: None });
    if flags & 0x7800 != 0 {
        return bare(NOT_IMP);
    }
    if counts[..3] != [1, 0, 0] || counts[3] > 1 || query.len() > MOST {
        return bare(FORM_ERR);
    }
    let start = reader.at;
    let Some(question) = question(&mut reader) else { return bare(FORM_ERR) };
    let end = reader.at;
    let mut bad_version = false;
    let has_edns = counts[3] == 1;
    if has_edns {
        let Some(version) = edns(&mut reader) else { return bare(FORM_ERR) };
        bad_version = version != 0;
    }
    if reader.at != query.len() {
        return bare(FORM_ERR);
    }
    let (code, refused, data) = judge(&question, bad_version, &mut look_up);
    let mut message = header(id, recursion, code, [1, u16::from(data.is_some()), 0, u16::from(has_edns)]);
    message.extend_from_slice(query.get(start..end)?);
    if let Some(data) = data {
        message.extend_from_slice(&[0xc0, 12]);
        message.extend_from_slice(&question.kind.to_be_bytes());
        message.extend_from_slice(&IN.to_be_bytes());
        message.extend_from_slice(&TTL.to_be_bytes());
        message.extend_from_slice(&u16::try_from(data.len()).ok()?.to_be_bytes());
        message.extend_from_slice(&data);
    }
    if has_edns {
        message.extend_from_slice(&opt(u8::from(bad_version)));
    }
    Some(Answered { message, refused })
}

struct Question {
    name: Vec<u8>,
    kind: u16,
    class: u16,
}

fn question(reader: &mut Reader<'_>) -> Option<Question> {
    Some(Question { name: reader.plain_name()?, kind: reader.u16()?, class: reader.u16()? })
}

/// Reads an OPT record and returns its version.
fn edns(reader: &mut Reader<'_>) -> Option<u8> {
    if reader.u8()? != 0 || reader.u16()? != OPT {
        return None;
    }
    let _size = reader.u16()?;
    let _extended_code = reader.u8()?;
    let version = reader.u8()?;
    let _flags = reader.u16()?;
    let length = usize::from(reader.u16()?);
    reader.take(length)?;
    Some(version)
}

/// The code, the name when it is refused, and the address when there is one.
fn judge(
    question: &Question,
    bad_version: bool,
    look_up: &mut impl FnMut(&HostName) -> Known,
) -> (u8, Option<HostName>, Option<Vec<u8>>) {
    if bad_version {
        // BADVERS is 16: the rest of it is in the OPT record.
        return (NO_ERROR, None, None);
    }
    if question.class != IN {
        return (REFUSED, None, None);
    }
    let Ok(name) = HostName::from_wire(&question.name) else {
        return (NX_DOMAIN, None, None);
    };
    match (look_up(&name), question.kind) {
        (Known::No, _) => (NX_DOMAIN, Some(name), None),
        (Known::At(v4, _), A) => (NO_ERROR, None, Some(v4.octets().to_vec())),
        (Known::At(_, v6), AAAA) => (NO_ERROR, None, Some(v6.octets().to_vec())),
        // HTTPS and SVCB records would bring keys for an encrypted ClientHello and other ports; nothing else has a use.
        (Known::At(..), _) => (NO_ERROR, None, None),
    }
}

fn header(id: u16, recursion: u16, code: u8, counts: [u16; 4]) -> Vec<u8> {
    let flags = 0x8080 | recursion | u16::from(code);
    let mut bytes = Vec::with_capacity(64);
    bytes.extend_from_slice(&id.to_be_bytes());
    bytes.extend_from_slice(&flags.to_be_bytes());
    counts.iter().for_each(|count| bytes.extend_from_slice(&count.to_be_bytes()));
    bytes
}

fn opt(extended_code: u8) -> [u8; 11] {
    let [size_high, size_low] = UDP_SIZE.to_be_bytes();
    [0, 0, 41, size_high, size_low, extended_code, 0, 0, 0, 0, 0]
}

/// Makes the query for the addresses of a name.
pub(crate) fn query(id: u16, name: &HostName, wants_v6: bool) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(name.as_str().len() + 32);
    bytes.extend_from_slice(&id.to_be_bytes());
    bytes.extend_from_slice(&[0x01, 0x00, 0, 1, 0, 0, 0, 0, 0, 1]);
    for label in name.labels() {
        bytes.push(u8::try_from(label.len()).unwrap_or(0));
        bytes.extend_from_slice(label.as_bytes());
    }
    bytes.push(0);
    bytes.extend_from_slice(&(if wants_v6 { AAAA } else { A }).to_be_bytes());
    bytes.extend_from_slice(&IN.to_be_bytes());
    bytes.extend_from_slice(&opt(0));
    bytes
}

/// What a server answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Response {
    /// The addresses at the end of the chain of names, and for how many seconds all of the answer is good; none is an
    /// answer too.
    Addresses(Vec<IpAddr>, u32),
    /// There is no such name.
    NoSuchName,
    /// The answer is longer than UDP carries.
    Truncated,
    /// The server has no answer: another may.
    Failed(u8),
}

/// Reads the answer to a query of ours; nothing when it is not one, so that a forged or damaged one is waited out.
///
/// Only addresses count that belong to the name, or to the last of its aliases: a record for another name is nobody's.
pub fn response(bytes: &[u8], id: u16, name: &HostName, wants_v6: bool) -> Option<Response> {
    let kind = if wants_v6 { AAAA } else { A };
    let mut reader = Reader { bytes, at: 0 };
    if reader.u16()? != id {
        return None;
    }
    let flags = reader.u16()?;
    let counts = [reader.u16()?, reader.u16()?, reader.u16()?, reader.u16()?];
    if flags & 0xf800 != 0x8000 || counts[0] != 1 {
        return None;
    }
    let question = question(&mut reader)?;
    if HostName::from_wire(&question.name).as_ref() != Ok(name) || question.kind != kind || question.class != IN {
        return None;
    }
    let code = flags.to_be_bytes()[1] & 0x0f;
    if flags & 0x0200 != 0 {
        return Some(Response::Truncated);
    }
    match code {
        NO_ERROR => {}
        NX_DOMAIN => return Some(Response::NoSuchName),
        code => return Some(Response::Failed(code)),
    }
    let (mut records, mut ttl) = (Vec::new(), u32::MAX);
    for _ in 0..counts[1] {
        let owner = reader.name()?;
        let (kind, class) = (reader.u16()?, reader.u16()?);
        // What looks negative is no time at all (RFC 2181, 8).
        let seconds = u32::from(reader.u16()?) << 16 | u32::from(reader.u16()?);
        ttl = ttl.min(if seconds >> 31 == 0 { seconds } else { 0 });
        let length = usize::from(reader.u16()?);
        let begin = reader.at;
        let data = reader.take(length)?;
        if class != IN {
            continue;
        }
        let mut inner = Reader { bytes, at: begin };
        match kind {
            CNAME => records.push((owner, Data::Alias(inner.name().filter(|_| inner.at == begin + length)?))),
            A | AAAA if kind == question.kind => records.push((owner, Data::Address(address(data)?))),
            _ => {}
        }
    }
    Some(Response::Addresses(follow(name, &records), ttl))
}

enum Data {
    Alias(Vec<u8>),
    Address(IpAddr),
}

fn address(data: &[u8]) -> Option<IpAddr> {
    match data.len() {
        4 => <[u8; 4]>::try_from(data).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(data).ok().map(IpAddr::from),
        _ => None,
    }
}

fn follow(name: &HostName, records: &[(Vec<u8>, Data)]) -> Vec<IpAddr> {
    const MOST_ALIASES: usize = 16;
    let mut owner = name.as_str().as_bytes().to_vec();
    for _ in 0..MOST_ALIASES {
        let of_owner = |record: &&(Vec<u8>, Data)| record.0.eq_ignore_ascii_case(&owner);
        let addresses: Vec<IpAddr> = records
            .iter()
            .filter(of_owner)
            .filter_map(|(_, data)| match data {
                Data::Address(address) => Some(*address),
                Data::Alias(_) => None,
            })
            .collect();
        let alias = records.iter().filter(of_owner).find_map(|(_, data)| match data {
            Data::Alias(alias) => Some(alias.clone()),
            Data::Address(_) => None,
        });
        match alias {
            _ if !addresses.is_empty() => return addresses,
            Some(alias) => owner = alias,
            None => return Vec::new(),
        }
    }
    Vec::new()
}

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;

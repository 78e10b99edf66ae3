//! The behaviour of the ClientHello reader.

use super::*;
use crate::testing::Dice;

/// A ClientHello with these extensions, in records of at most `cut` bytes.
fn with(extensions: &[(u16, Vec<u8>)], cut: usize) -> Vec<u8> {
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.extend([0, 0, 4, 0x13, 0x01, 0x0a, 0x0a, 1, 0]);
    let mut list = Vec::new();
    for (kind, data) in extensions {
        list.extend(kind.to_be_bytes());
        list.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
        list.extend(data);
    }
    body.extend(u16::try_from(list.len()).unwrap().to_be_bytes());
    body.extend(list);
    let mut message = vec![1, 0];
    message.extend(u16::try_from(body.len()).unwrap().to_be_bytes());
    message.extend(body);
    let records = message.chunks(cut).map(|part| {
        let mut record = vec![22, 3, 1];
        record.extend(u16::try_from(part.len()).unwrap().to_be_bytes());
        record.extend(part);
        record
    });
    records.collect::<Vec<_>>().concat()
}

fn sni(name: &[u8]) -> (u16, Vec<u8>) {
    let length = u16::try_from(name.len()).unwrap();
    let mut data = (length + 3).to_be_bytes().to_vec();
    data.push(0);
    data.extend(length.to_be_bytes());
    data.extend(name);
    (0, data)
}

/// GREASE and a few extensions as clients send them.
fn usual(name: &[u8]) -> Vec<(u16, Vec<u8>)> {
    vec![(0x0a0a, vec![]), sni(name), (0x002b, vec![4, 0x7a, 0x7a, 3, 4]), (51, vec![0; 1200]), (0x1a1a, vec![0])]
}

#[test]
fn the_name_is_found_in_one_record_or_in_many() {
    for cut in [1600, 700, 100, 30] {
        let bytes = with(&usual(b"Allowed.Test"), cut);
        assert_eq!(server_name(&bytes).unwrap().unwrap().as_str(), "allowed.test", "{cut}");
        for end in 0..bytes.len() {
            assert_eq!(server_name(&bytes[..end]), Ok(None), "{cut} {end}");
        }
    }
}

#[test]
fn what_hides_or_lacks_a_name_is_refused() {
    let read = |extensions: &[(u16, Vec<u8>)]| server_name(&with(extensions, 16000)).unwrap_err();
    assert_eq!(read(&[(43, vec![2, 3, 4])]), HelloError::NoName);
    assert_eq!(read(&[sni(b"allowed.test"), (0xfe0d, vec![0; 100])]), HelloError::Encrypted);
    assert_eq!(read(&[sni(b"allowed.test"), (0xffce, vec![])]), HelloError::Encrypted);
    assert_eq!(read(&[sni(b"allowed.test"), sni(b"evil.test")]), HelloError::Malformed);
    assert_eq!(read(&[sni(b"127.0.0.1")]), HelloError::Name(NameError::Address));
    assert_eq!(read(&[sni(b"evil\0.allowed.test")]), HelloError::Name(NameError::Byte(0)));
    assert_eq!(read(&[sni(b"")]), HelloError::Name(NameError::Empty));
    let mut two = sni(b"allowed.test");
    two.1.extend([0, 0, 4, b'e', b'v', b'i', b'l']);
    assert_eq!(read(&[two.clone()]), HelloError::Malformed, "behind the list");
    two.1[1] += 7;
    assert_eq!(read(&[two]), HelloError::Malformed, "a second name in the list");
    let other_kind = (0, vec![0, 4, 1, 0, 1, b'a']);
    assert_eq!(read(&[other_kind]), HelloError::Malformed);
}

#[test]
fn what_is_not_tls_is_told_at_the_first_byte() {
    for text in [
        &b"GET / HTTP/1.1\r\n"[..],
        b"SSH-2.0-x\r\n",
        b"\x80\x2e\x01\x03\x01",
        b"\x16\x02",
        b"\x15\x03\x01\x00\x02",
        b"\0",
        b"PRI * HTTP/2.0",
    ] {
        assert_eq!(server_name(text), Err(HelloError::NotTls), "{text:?}");
    }
    assert_eq!(server_name(b"\x16\x03\x01\x00\x00"), Err(HelloError::Malformed), "an empty record");
    assert_eq!(server_name(b"\x16\x03\x01\xff\xff"), Err(HelloError::Malformed), "a record longer than records are");
    assert_eq!(server_name(b"\x16\x03\x01\x00\x04\x02\0\0\0"), Err(HelloError::Malformed), "a ServerHello");
    assert_eq!(server_name(b"\x16\x03\x01\x00\x04\x01\xff\xff\xff"), Err(HelloError::TooLong));
    assert_eq!(server_name(&with(&usual(b"allowed.test"), 1)), Err(HelloError::Malformed), "a byte in each record");
}

#[test]
fn a_second_message_behind_it_is_refused() {
    let mut bytes = with(&usual(b"allowed.test"), 16000);
    let length = u16::from_be_bytes([bytes[3], bytes[4]]) + 1;
    bytes[3..5].copy_from_slice(&length.to_be_bytes());
    bytes.push(1);
    assert_eq!(server_name(&bytes), Err(HelloError::Malformed));
}

#[test]
fn random_and_mutated_hellos_never_give_another_form_of_a_name() {
    let mut dice = Dice::new(5);
    let seeds = [with(&usual(b"allowed.test"), 16000), with(&usual(b"allowed.test"), 200), with(&[sni(b"a.b")], 9)];
    for round in 0..100_000 {
        let bytes: Vec<u8> = match round % 4 {
            0 => (0..dice.below(200)).map(|_| dice.next().to_le_bytes()[0]).collect(),
            _ => dice.one_of(&seeds),
        };
        if let Ok(Some(name)) = server_name(&bytes) {
            assert_eq!(HostName::from_wire(name.as_str().as_bytes()), Ok(name));
        }
    }
}

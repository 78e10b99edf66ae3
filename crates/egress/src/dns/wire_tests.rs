//! The behaviour of DNS messages: what is answered, what is refused, and that no bytes lead anywhere else.

use super::*;
use crate::testing::Dice;

fn known(name: &HostName) -> Known {
    match name.as_str() == "allowed.test" {
        true => Known::At("198.18.1.1".parse().unwrap(), "fd6d:616e:746c::1".parse().unwrap()),
        false => Known::No,
    }
}

/// A query as a client writes it, the case of its letters kept.
fn asks(name: &str, kind: u16, edns: bool) -> Vec<u8> {
    let mut bytes = vec![0xab, 0xcd, 0x01, 0x20, 0, 1, 0, 0, 0, 0, 0, u8::from(edns)];
    for label in name.split('.').filter(|label| !label.is_empty()) {
        bytes.push(u8::try_from(label.len()).unwrap());
        bytes.extend_from_slice(label.as_bytes());
    }
    bytes.push(0);
    bytes.extend_from_slice(&kind.to_be_bytes());
    bytes.extend_from_slice(&[0, 1]);
    if edns {
        bytes.extend_from_slice(&[0, 0, 41, 16, 0, 0, 0, 0, 0, 0, 12, 0, 10, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8]);
    }
    bytes
}

fn code(answered: &Answered) -> u8 {
    answered.message[3] & 0x0f
}

#[test]
fn an_allowed_name_has_its_two_addresses_and_nothing_else() {
    for edns in [false, true] {
        let a = answer(&asks("aLLowed.TEST", 1, edns), known).unwrap();
        assert_eq!((code(&a), a.message[7]), (0, 1));
        // The question comes back as it was written.
        assert!(a.message.windows(7).any(|w| w == b"aLLowed"));
        assert!(a.message.windows(4).any(|w| w == [198, 18, 1, 1]));
        let aaaa = answer(&asks("allowed.test", 28, edns), known).unwrap();
        assert_eq!((code(&aaaa), aaaa.message[7]), (0, 1));
        for kind in [64, 65, 16, 15, 5, 255, 2, 6, 12, 33] {
            let other = answer(&asks("allowed.test", kind, edns), known).unwrap();
            assert_eq!((code(&other), other.message[7]), (0, 0), "{kind}");
        }
        assert_eq!(a.message[11], u8::from(edns));
    }
}

#[test]
fn other_names_do_not_exist_whatever_is_asked_of_them() {
    for name in
        ["secret.evil.test", "test", "x.allowed.test", "allowed.test.evil.test", "", "127.0.0.1", "_x.allowed.test"]
    {
        for kind in [1, 28, 16, 65, 255] {
            let none = answer(&asks(name, kind, true), known).unwrap();
            assert_eq!((code(&none), none.message[7]), (3, 0), "{name}");
        }
    }
}

#[test]
fn a_dot_or_a_nul_inside_a_label_is_no_other_name() {
    for label in [&b"allowed.test"[..], b"allowed\0", b"allo wed"] {
        let mut query = vec![0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, u8::try_from(label.len()).unwrap()];
        query.extend_from_slice(label);
        query.extend_from_slice(&[0, 0, 1, 0, 1]);
        assert_eq!(code(&answer(&query, known).unwrap()), 3);
    }
}

#[test]
fn what_is_no_plain_query_gets_no_address() {
    let good = asks("allowed.test", 1, false);
    let with = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        bytes
    };
    assert_eq!(answer(&with(2, 0x81), known), None, "an answer is not answered");
    assert_eq!(code(&answer(&with(2, 0x28), known).unwrap()), 4, "an update");
    for (at, byte) in [(5, 0), (5, 2), (7, 1), (9, 1), (11, 1), (11, 2), (12, 64), (12, 0xc0)] {
        assert_eq!(code(&answer(&with(at, byte), known).unwrap()), 1, "{at} {byte}");
    }
    assert_eq!(code(&answer(&[&good[..], b"x"].concat(), known).unwrap()), 1, "bytes behind the question");
    assert_eq!(code(&answer(&with(good.len() - 1, 3), known).unwrap()), 5, "class CHAOS");
    for cut in 0..good.len() {
        assert!(answer(&good[..cut], known).is_none_or(|a| a.message[7] == 0), "{cut}");
    }
    let mut version = asks("allowed.test", 1, true);
    let at = version.len() - 17;
    version[at] = 1;
    let bad = answer(&version, known).unwrap();
    assert_eq!((bad.message[7], bad.message[bad.message.len() - 6]), (0, 1), "BADVERS");
}

fn name() -> HostName {
    HostName::from_wire(b"allowed.test").unwrap()
}

/// An answer with these records: owner, type, data.
fn answers(records: &[(&[u8], u16, &[u8])]) -> Vec<u8> {
    let mut bytes = query(7, &name(), false);
    bytes.truncate(bytes.len() - 11);
    bytes[2] = 0x81;
    bytes[3] = 0x80;
    bytes[7] = u8::try_from(records.len()).unwrap();
    bytes[11] = 0;
    for (owner, kind, data) in records {
        bytes.extend_from_slice(owner);
        bytes.extend_from_slice(&kind.to_be_bytes());
        bytes.extend_from_slice(&[0, 1, 0, 0, 0, 60]);
        bytes.extend_from_slice(&u16::try_from(data.len()).unwrap().to_be_bytes());
        bytes.extend_from_slice(data);
    }
    bytes
}

#[test]
fn addresses_count_only_for_the_name_and_its_aliases() {
    let read = |records: &[(&[u8], u16, &[u8])]| response(&answers(records), 7, &name(), false);
    let addresses = |list: &[&str]| list.iter().map(|a| a.parse().unwrap()).collect::<Vec<IpAddr>>();
    let read = |records: &[(&[u8], u16, &[u8])]| match read(records) {
        Some(Response::Addresses(addresses, _)) => Some(addresses),
        _ => None,
    };
    let addresses = |list: &[&str]| Some(addresses(list));
    assert_eq!(
        read(&[(&[0xc0, 12], 1, &[9, 9, 9, 9]), (&[0xc0, 12], 1, &[8, 8, 8, 8])]),
        addresses(&["9.9.9.9", "8.8.8.8"])
    );
    assert_eq!(read(&[(b"\x01x\0", 1, &[9, 9, 9, 9])]), addresses(&[]), "another name");
    assert_eq!(read(&[(&[0xc0, 12], 5, b"\x01x\0"), (b"\x01x\0", 1, &[9, 9, 9, 9])]), addresses(&["9.9.9.9"]));
    assert_eq!(
        read(&[(b"\x01x\0", 5, &[0xc0, 12]), (&[0xc0, 12], 5, b"\x01x\0")]),
        addresses(&[]),
        "a loop of aliases"
    );
    assert_eq!(read(&[(&[0xc0, 12], 28, &[0; 16])]), addresses(&[]), "another type");
    assert_eq!(read(&[(&[0xc0, 12], 1, &[9, 9, 9])]), None, "an address of three bytes");
}

#[test]
fn an_answer_to_another_question_is_none() {
    let good = answers(&[(&[0xc0, 12], 1, &[9, 9, 9, 9])]);
    assert!(matches!(response(&good, 7, &name(), false), Some(Response::Addresses(..))));
    assert_eq!(response(&good, 8, &name(), false), None);
    assert_eq!(response(&good, 7, &name(), true), None);
    assert_eq!(response(&good, 7, &HostName::from_wire(b"other.test").unwrap(), false), None);
    let flags = |high: u8, low: u8| {
        let mut bytes = good.clone();
        (bytes[2], bytes[3]) = (high, low);
        response(&bytes, 7, &name(), false)
    };
    assert_eq!(flags(0x01, 0x80), None, "a query");
    assert_eq!(flags(0x83, 0x80), Some(Response::Truncated));
    assert_eq!(flags(0x81, 0x83), Some(Response::NoSuchName));
    assert_eq!(flags(0x81, 0x82), Some(Response::Failed(2)));
}

#[test]
fn a_pointer_leads_back_or_nowhere() {
    for target in [12u8, 30, 31, 32, 33, 255] {
        let bytes = answers(&[(&[0xc0, target], 1, &[9, 9, 9, 9])]);
        let read = response(&bytes, 7, &name(), false);
        assert!(
            target == 12 || read.is_none() || matches!(read, Some(Response::Addresses(found, _)) if found.is_empty()),
            "{target}"
        );
    }
}

#[test]
fn random_and_mutated_messages_are_answered_or_dropped_and_never_with_an_address() {
    let mut dice = Dice::new(11);
    let seeds = [
        asks("allowed.test", 1, true),
        asks("secret.evil.test", 16, false),
        answers(&[(&[0xc0, 12], 1, &[9, 9, 9, 9])]),
    ];
    for round in 0..200_000 {
        let bytes = match round % 4 {
            0 => (0..dice.below(64)).map(|_| dice.next().to_le_bytes()[0]).collect(),
            _ => dice.one_of(&seeds),
        };
        let mut looked_up = None;
        if let Some(answered) = answer(&bytes, |name| {
            looked_up = Some(name.clone());
            known(name)
        }) {
            assert!(answered.message.len() <= bytes.len() + 64);
            let has_address = answered.message[7] == 1;
            assert!(!has_address || looked_up.is_some_and(|name| name.as_str() == "allowed.test"));
        }
        let _read = response(&bytes, 7, &name(), false);
    }
}

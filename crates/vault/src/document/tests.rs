//! Whole files: there and back, and what tampering with them does.
//!
//! No file is written.

use super::*;

fn plan(recipients: &[&Identity]) -> Plan {
    let recipients = recipients.iter().map(|identity| identity.recipient()).collect();
    Plan { rule: Rule::default(), over: MacOver::Everything, recipients }
}

fn name(name: &str) -> Vec<Step> {
    vec![Step::Name(name.into())]
}

const JSON: &[u8] = b"{\n\t\"a\": \"hunter2\",\n\t\"b\": [\n\t\t1.5,\n\t\ttrue,\n\t\tnull\n\t]\n}\n";
const DOTENV: &[u8] = b"# note\nA=hunter2\nB='x'\nA=again\n";
const BINARY: &[u8] = b"\xff\x00hunter2\n";

#[test]
fn a_file_comes_back_byte_for_byte_and_only_with_its_key() {
    let (mine, other) = (Identity::generate(), Identity::generate());
    for (plain, format) in [(JSON, Format::Json), (DOTENV, Format::Dotenv), (BINARY, Format::Binary)] {
        let sealed = encrypt_file(plain, format, &plan(&[&mine])).ok().unwrap();
        assert!(!sealed.windows(7).any(|at| at == b"hunter2"));
        let opened = Sealed::parse(&sealed, format).ok().unwrap().open(std::slice::from_ref(&mine)).ok().unwrap();
        assert_eq!(opened.plain().ok().unwrap().expose(), plain);
        let refused = Sealed::parse(&sealed, format).ok().unwrap().open(std::slice::from_ref(&other));
        assert!(matches!(refused, Err(OpenError::NoIdentity { known: 1, .. })));
        assert!(
            matches!(encrypt_file(&sealed, format, &plan(&[&mine])), Err(SealError::Already))
                || format == Format::Binary
        );
    }
}

#[test]
fn what_was_tampered_with_is_refused() {
    let mine = Identity::generate();
    let plain = b"A=one\nB=two\nC_unencrypted=three\n";
    let sealed = String::from_utf8(encrypt_file(plain, Format::Dotenv, &plan(&[&mine])).ok().unwrap()).unwrap();
    let open = |text: &str| Sealed::parse(text.as_bytes(), Format::Dotenv)?.open(std::slice::from_ref(&mine));
    assert!(open(&sealed).is_ok());
    let (a, b) = (sealed.lines().next().unwrap(), sealed.lines().nth(1).unwrap());
    let swapped = sealed.replace(a, &b.replacen("B=", "A=", 1)).replacen(b, &a.replacen("A=", "B=", 1), 1);
    assert!(matches!(open(&swapped), Err(OpenError::Value(_))), "values swapped");
    assert!(matches!(open(&sealed.replace(a, &a.replacen("A=", "D=", 1))), Err(OpenError::Value(_))), "renamed");
    assert!(matches!(open(&sealed.replace("three", "four")), Err(OpenError::Mac)), "in the clear");
    let older = sealed.replace("sops_lastmodified=20", "sops_lastmodified=19");
    assert!(matches!(open(&older), Err(OpenError::Mac)), "lastmodified");
    assert!(matches!(open(&format!("{sealed}D=\n").replace(&format!("{b}\n"), "")), Err(OpenError::Mac)), "dropped");
}

#[test]
fn a_change_leaves_other_ciphertexts_as_they_were() {
    let mine = Identity::generate();
    let sealed = encrypt_file(b"A=one\nB=two\n", Format::Dotenv, &plan(&[&mine])).ok().unwrap();
    let mut opened =
        Sealed::parse(&sealed, Format::Dotenv).ok().unwrap().open(std::slice::from_ref(&mine)).ok().unwrap();
    opened.set(&name("B"), Value::Text(Secret::from("three"))).ok().unwrap();
    let again = opened.seal().ok().unwrap();
    let line = |text: &[u8], at: usize| String::from_utf8_lossy(text).lines().nth(at).unwrap().to_owned();
    assert_eq!(line(&sealed, 0), line(&again, 0));
    assert_ne!(line(&sealed, 1), line(&again, 1));
    let opened = Sealed::parse(&again, Format::Dotenv).ok().unwrap().open(std::slice::from_ref(&mine)).ok().unwrap();
    assert_eq!(opened.get(&name("B")).ok().unwrap().unwrap().expose(), b"three");
    assert!(opened.get(&name("C")).ok().unwrap().is_none());
}

#[test]
fn a_rotated_file_has_another_key_and_other_readers() {
    let (old, new) = (Identity::generate(), Identity::generate());
    let sealed = encrypt_file(JSON, Format::Json, &plan(&[&old])).ok().unwrap();
    let mut opened = Sealed::parse(&sealed, Format::Json).ok().unwrap().open(std::slice::from_ref(&old)).ok().unwrap();
    opened.rotate(&[new.recipient()]).ok().unwrap();
    let again = opened.seal().ok().unwrap();
    assert!(Sealed::parse(&again, Format::Json).ok().unwrap().open(&[old]).is_err());
    assert!(Sealed::parse(&again, Format::Json).ok().unwrap().open(&[new]).is_ok());
}

#[test]
fn names_need_no_key() {
    let mine = Identity::generate();
    let sealed = encrypt_file(JSON, Format::Json, &plan(&[&mine])).ok().unwrap();
    let names = Sealed::parse(&sealed, Format::Json).ok().unwrap().names();
    assert_eq!(names.len(), 4);
    assert_eq!(names[2], [Step::Name("b".into()), Step::Index(1)]);
}

/// A file of a megabyte or two; what reads it has a stack and a day.
#[test]
fn metadata_without_a_bottom_is_refused_and_soon() {
    let deep = format!("A=1\nsops_{}=x\nsops_mac=x\n", "__map_".repeat(200_000));
    assert!(Sealed::parse(deep.as_bytes(), Format::Dotenv).is_err());
}

#[test]
fn metadata_that_stands_twice_is_refused() {
    let sealed = encrypt_file(JSON, Format::Json, &plan(&[&Identity::generate()])).ok().unwrap();
    assert!(Sealed::parse(&sealed, Format::Json).is_ok());
    let text = String::from_utf8(sealed).unwrap();
    let (values, part) = text.trim_end().strip_suffix('}').unwrap().split_once("\"sops\"").unwrap();
    let twice = format!("{values}\"sops\"{part}, \"sops\"{part}}}");
    assert!(matches!(Sealed::parse(twice.as_bytes(), Format::Json), Err(OpenError::Metadata(MetadataError::Field(_)))));
}

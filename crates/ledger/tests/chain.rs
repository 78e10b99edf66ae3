//! The chain on a real file system: what an attacker with a text editor can do to it, and what is found.

#![allow(clippy::unwrap_used)] // A test's helper functions may fail the test.

mod common;

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::Duration;

use common::{Scratch, entry};
use mantlet_ledger::{Durability, Expected, Head, Keep, Verified, Writer, verify};

fn look(scratch: &Scratch) -> Verified {
    verify(&scratch.dir(), &Expected::default()).unwrap()
}

fn look_with(scratch: &Scratch, heads: &[Head]) -> Verified {
    verify(&scratch.dir(), &Expected { heads: heads.to_vec(), key: None }).unwrap()
}

/// A ledger of so many entries in one file, and its bytes.
fn written(scratch: &Scratch, count: usize, keep: Keep) -> Vec<Head> {
    let mut writer = Writer::open_with(&scratch.dir(), &[], keep).unwrap();
    (0..count).map(|number| writer.append(&entry(&format!("command {number}"))).unwrap()).collect()
}

#[test]
fn a_ledger_as_it_was_written_is_sound() {
    let scratch = Scratch::new("sound");
    let heads = written(&scratch, 600, Keep::default());
    let found = look_with(&scratch, &heads);
    assert!(found.is_sound(), "{found:?}");
    // A checkpoint stands at each multiple of 256.
    assert_eq!((found.entries, found.first, found.checkpoints, found.anchored), (602, Some(0), 2, 600));
    assert_eq!(found.head.as_ref(), heads.last());
    assert_eq!(found.keys.len(), 1);
    let other = Expected { heads: vec![], key: Some("0".repeat(64)) };
    assert!(!verify(&scratch.dir(), &other).unwrap().is_sound(), "another key would have passed");
}

/// Every byte of lines at the beginning, in the middle, around a checkpoint and at the end; of a stretch between every 31st.
#[test]
fn every_edited_byte_is_found() {
    let scratch = Scratch::new("edits");
    written(&scratch, 2400, Keep::default());
    let whole = fs::read(scratch.file()).unwrap();
    assert!(whole.len() > 1_000_000, "{} bytes", whole.len());
    assert!(look(&scratch).is_sound());
    // Lines are short: what is verified is a stretch of them, so that each of thousands of trials costs little.
    let lines: Vec<&[u8]> = whole.split_inclusive(|byte| *byte == b'\n').collect();
    let mut trials = 0;
    for (stretch, step) in [(0..4, 1), (254..259, 1), (lines.len() - 6..lines.len(), 1), (500..540, 31)] {
        let before: usize = lines[..stretch.start].iter().map(|line| line.len()).sum();
        let text: Vec<u8> = lines[..stretch.end].concat();
        for at in (before..text.len()).step_by(step) {
            for edited in [text[at] ^ 1, b'\n', b' '] {
                if edited == text[at] {
                    continue;
                }
                let mut text = text[before..].to_vec();
                text[at - before] = edited;
                trials += 1;
                assert!(is_found(&scratch, &lines, stretch.start, &text), "byte {at} as {edited}");
            }
        }
    }
    assert!(trials > 15_000, "{trials} edits");
    eprintln!("{trials} edits, each found");
}

/// Whether verifying finds something in `text`, which takes the place of the lines from `start` on.
///
/// The stretch before it is one line, since whoever edits cannot change what the next line's hash covers.
fn is_found(scratch: &Scratch, lines: &[&[u8]], start: usize, text: &[u8]) -> bool {
    let before = lines[start.saturating_sub(1)..start].concat();
    overwrite(scratch, &[&before[..], text].concat());
    let found = look(scratch);
    // That the beginning is missing is found in every one of them.
    let other = found.findings.iter().filter(|finding| !finding.what.contains("nothing says that they were dropped"));
    other.count() > 0
}

/// In place: a file that is truncated first is flushed to the disk by ext4 each time.
fn overwrite(scratch: &Scratch, text: &[u8]) {
    let file = fs::OpenOptions::new().write(true).open(scratch.file()).unwrap();
    file.write_all_at(text, 0).unwrap();
    if file.metadata().unwrap().len() != text.len() as u64 {
        file.set_len(text.len() as u64).unwrap();
    }
}

#[test]
fn every_dropped_swapped_or_doubled_entry_is_found() {
    let scratch = Scratch::new("order");
    let heads = written(&scratch, 700, Keep::default());
    let whole = fs::read(scratch.file()).unwrap();
    let lines: Vec<&[u8]> = whole.split_inclusive(|byte| *byte == b'\n').collect();
    let head = heads.last().unwrap();
    let is_found = |lines: &[&[u8]]| {
        overwrite(&scratch, &lines.concat());
        !look_with(&scratch, std::slice::from_ref(head)).is_sound()
    };
    assert!(!is_found(&lines), "the control: as it was");
    // One of thirteen, so that it takes seconds; first and last among them.
    for at in (0..lines.len()).step_by(13).chain([1, lines.len() - 2, lines.len() - 1]) {
        let dropped = [&lines[..at], &lines[at + 1..]].concat();
        assert!(is_found(&dropped), "dropped {at}");
        let doubled = [&lines[..=at], &lines[at..]].concat();
        assert!(is_found(&doubled), "doubled {at}");
        for with in [at + 1, (at * 7 + 13) % lines.len()].into_iter().filter(|with| *with < lines.len() && *with != at)
        {
            let mut swapped = lines.clone();
            swapped.swap(at, with);
            assert!(is_found(&swapped), "swapped {at} and {with}");
        }
    }
}

#[test]
fn a_cut_ledger_is_complete_up_to_its_end_and_an_anchor_tells_the_rest() {
    let scratch = Scratch::new("cut");
    let heads = written(&scratch, 300, Keep::default());
    let whole = fs::read(scratch.file()).unwrap();
    let lines: Vec<&[u8]> = whole.split_inclusive(|byte| *byte == b'\n').collect();
    fs::write(scratch.file(), lines[..200].concat()).unwrap();
    let found = look(&scratch);
    assert!(found.is_sound(), "a cut at a line cannot be seen in the ledger itself: {found:?}");
    assert_eq!(found.head.as_ref(), Some(&heads[199]));
    for (kept, is_sound) in [(&heads[199], true), (&heads[200], false), (&heads[299], false)] {
        assert_eq!(look_with(&scratch, std::slice::from_ref(kept)).is_sound(), is_sound);
    }
    // Written on from there, the chain is whole and another one.
    let mut writer = Writer::open(&scratch.dir(), &[]).unwrap();
    for _ in 0..200 {
        writer.append(&entry("after the cut")).unwrap();
    }
    assert!(look(&scratch).is_sound());
    assert!(!look_with(&scratch, &heads[299..]).is_sound());
}

fn small() -> Keep {
    Keep { segment: 20_000, total: 60_000, ..Keep::default() }
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(dir).unwrap().map(|item| item.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn segments_are_rotated_compressed_and_dropped_and_the_chain_goes_through() {
    let scratch = Scratch::new("rotate");
    let heads = written(&scratch, 300, small());
    let found = look_with(&scratch, &heads);
    assert!(found.is_sound() && found.anchored == 300, "{found:?}");
    assert!(names(&scratch.dir()).len() > 8, "{:?}", names(&scratch.dir()));

    let mut writer = Writer::open_with(&scratch.dir(), &[], small()).unwrap();
    let tidied = writer.tidy().unwrap();
    assert!(tidied.compressed > 5, "{tidied:?}");
    assert!(names(&scratch.dir()).iter().any(|name| name.ends_with(".jsonl.gz")));
    let found = look_with(&scratch, &heads);
    assert!(found.is_sound() && found.anchored == 300, "{found:?}");

    // Compressed they had room; a smaller bound drops the oldest, and says so.
    let mut writer = Writer::open_with(&scratch.dir(), &[], Keep { total: 25_000, ..small() }).unwrap();
    let dropped = writer.tidy().unwrap().dropped.unwrap();
    let found = look_with(&scratch, &heads);
    assert!(found.is_sound(), "{found:?}");
    assert_eq!(found.first, Some(dropped.seq + 1));
    assert!(found.notes.iter().any(|note| note.contains("were dropped")), "{found:?}");

    // What somebody removes beyond that is not said to have been dropped.
    let oldest = names(&scratch.dir()).into_iter().find(|name| name.ends_with(".gz")).unwrap();
    fs::remove_file(scratch.dir().join(oldest)).unwrap();
    assert!(!look(&scratch).is_sound());
}

#[test]
fn a_segment_that_is_removed_edited_or_renamed_is_found() {
    let scratch = Scratch::new("segments");
    written(&scratch, 200, small());
    Writer::open_with(&scratch.dir(), &[], small()).unwrap().tidy().unwrap();
    written(&scratch, 100, small());
    let all: Vec<String> = names(&scratch.dir()).into_iter().filter(|name| name.starts_with("ledger-")).collect();
    assert!(all.iter().any(|name| name.ends_with(".gz")) && all.iter().any(|name| name.ends_with(".jsonl")), "{all:?}");
    for name in &all {
        let path = scratch.dir().join(name);
        let text = fs::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        assert!(!look(&scratch).is_sound(), "{name} removed");
        let mut edited = text.clone();
        edited[text.len() / 2] ^= 1;
        fs::write(&path, &edited).unwrap();
        assert!(!look(&scratch).is_sound(), "{name} edited");
        fs::write(&path, &text[..text.len() - 30]).unwrap();
        assert!(!look(&scratch).is_sound(), "{name} cut");
        fs::remove_file(&path).unwrap();
        let other = scratch.dir().join(name.replace("ledger-00000", "ledger-00009"));
        fs::write(&other, &text).unwrap();
        assert!(!look(&scratch).is_sound(), "{name} renamed");
        fs::rename(&other, &path).unwrap();
        fs::write(&path, &text).unwrap();
        assert!(look(&scratch).is_sound(), "the control: {name} as it was");
    }
}

#[test]
fn an_old_file_is_rotated() {
    let scratch = Scratch::new("age");
    written(&scratch, 3, Keep::default());
    let keep = Keep { age: Duration::ZERO, ..Keep::default() };
    std::thread::sleep(Duration::from_millis(5));
    let mut writer = Writer::open_with(&scratch.dir(), &[], keep).unwrap();
    assert_eq!(writer.tidy().unwrap().compressed, 1);
    writer.append(&entry("next")).unwrap();
    let found = look(&scratch);
    assert!(found.is_sound() && found.entries == 5, "{found:?}");
}

#[test]
fn a_ledger_of_before_the_chain_is_sealed_as_it_stands() {
    let scratch = Scratch::new("before");
    let mut writer = Writer::open(&scratch.dir(), &[]).unwrap();
    let old = format!("{}\n", serde_json::to_string(&entry("old")).unwrap()).repeat(3);
    fs::write(scratch.file(), &old).unwrap();
    writer.append(&entry("new")).unwrap();
    let found = look(&scratch);
    assert!(found.is_sound() && found.notes.len() == 1 && found.entries == 2, "{found:?}");
    let text = fs::read_to_string(scratch.file()).unwrap();
    fs::write(scratch.file(), text.replacen("old", "odd", 1)).unwrap();
    assert!(!look(&scratch).is_sound(), "an edit of what is sealed");
}

#[test]
fn lines_that_no_writer_of_ours_wrote_are_found_and_do_not_stop_the_next() {
    let scratch = Scratch::new("foreign");
    let heads = written(&scratch, 3, Keep::default());
    let mut text = fs::read(scratch.file()).unwrap();
    text.extend_from_slice(b"{\"v\":1,\"forged\":true}\n");
    fs::write(scratch.file(), &text).unwrap();
    assert!(!look(&scratch).is_sound());
    written(&scratch, 3, Keep::default());
    let found = look_with(&scratch, &heads);
    assert!(!found.is_sound() && found.entries == 7 && found.anchored == 3, "{found:?}");
}

#[test]
fn a_segment_of_the_same_number_is_not_written_over() {
    let scratch = Scratch::new("number");
    let heads = written(&scratch, 60, small());
    let kept: Vec<(String, Vec<u8>)> = names(&scratch.dir())
        .into_iter()
        .filter(|name| name.starts_with("ledger-"))
        .map(|name| (name.clone(), fs::read(scratch.dir().join(name)).unwrap()))
        .collect();
    assert!(!kept.is_empty());
    // All entries of a segment but the last come again, under a chain that begins anew.
    fs::remove_file(scratch.file()).unwrap();
    for (name, _) in &kept {
        fs::rename(scratch.dir().join(name), scratch.dir().join(format!("{name}.away"))).unwrap();
    }
    written(&scratch, 1, small());
    for (name, _) in &kept {
        fs::rename(scratch.dir().join(format!("{name}.away")), scratch.dir().join(name)).unwrap();
    }
    written(&scratch, 200, small());
    for (name, text) in &kept {
        assert_eq!(&fs::read(scratch.dir().join(name)).unwrap(), text, "{name}");
    }
    assert!(!look_with(&scratch, &heads).is_sound());
}

#[test]
fn a_rotation_that_was_killed_in_the_middle_goes_on() {
    let scratch = Scratch::new("middle");
    let heads = written(&scratch, 5, Keep::default());
    // Renamed, and the new file not made yet.
    let last = scratch.dir().join(format!("ledger-{:020}.jsonl", heads[4].seq));
    fs::rename(scratch.file(), &last).unwrap();
    written(&scratch, 5, Keep::default());
    let found = look_with(&scratch, &heads);
    assert!(found.is_sound() && found.entries == 10, "{found:?}");
    // Compressed, and the plain one not removed yet.
    Writer::open(&scratch.dir(), &[]).unwrap().tidy().unwrap();
    fs::write(&last, "half").unwrap();
    assert!(look_with(&scratch, &heads).is_sound());
    Writer::open(&scratch.dir(), &[]).unwrap().tidy().unwrap();
    assert!(!last.exists());
}

/// A power cut loses what was not synced: from one byte after the last sync to all but one.
#[test]
fn what_was_acknowledged_as_durable_survives_every_cut_behind_it() {
    let scratch = Scratch::new("power");
    let mut writer = Writer::open(&scratch.dir(), &[]).unwrap();
    let mut acknowledged = Vec::new();
    for number in 0..30 {
        let durability = if number % 5 == 0 { Durability::Durable } else { Durability::Written };
        let head = writer.append_with(&entry(&format!("command {number}")), durability).unwrap();
        if durability == Durability::Durable {
            acknowledged.push((head, fs::metadata(scratch.file()).unwrap().len()));
        }
    }
    let whole = fs::read(scratch.file()).unwrap();
    let mut cuts = 0;
    for (number, (_, synced)) in acknowledged.iter().enumerate() {
        let next = acknowledged.get(number + 1).map_or(whole.len() as u64, |(_, synced)| *synced);
        let heads: Vec<Head> = acknowledged[..=number].iter().map(|(head, _)| head.clone()).collect();
        for length in (*synced..=next).filter(|length| length % 17 == 0 || length == synced || *length == next) {
            overwrite(&scratch, &whole[..usize::try_from(length).unwrap()]);
            written(&scratch, 1, Keep::default());
            let found = look_with(&scratch, &heads);
            assert!(found.is_sound() && found.anchored == heads.len() as u64, "cut to {length}: {found:?}");
            cuts += 1;
        }
    }
    assert!(cuts > 500, "{cuts} cuts");
}

#[test]
fn a_cut_does_not_count_as_synced_what_comes_in_its_place() {
    let scratch = Scratch::new("mark");
    let mut writer = Writer::open(&scratch.dir(), &[]).unwrap();
    writer.append_with(&entry(&"long ".repeat(2000)), Durability::Durable).unwrap();
    let mark = |scratch: &Scratch| fs::read(scratch.dir().join("synced")).unwrap();
    let synced = mark(&scratch);
    // A torn line is cut off, and the file is shorter than what was synced.
    let text = fs::read(scratch.file()).unwrap();
    fs::write(scratch.file(), &text[..text.len() - 1]).unwrap();
    writer.append(&entry("short")).unwrap();
    assert_ne!(mark(&scratch), synced);
}

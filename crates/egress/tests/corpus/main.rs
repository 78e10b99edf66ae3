//! Every parser over its corpus (`fuzz/corpus`), and over what a few changed bytes make of it.
//!
//! `cargo +nightly fuzz run NAME` looks further, from the same seeds and with the same properties.

#![allow(clippy::unwrap_used, unreachable_pub)] // Nothing but a test; shared with a crate where they are public.

mod properties;

use std::fs;
use std::path::Path;

fn mutated(seed: &[u8], state: &mut u64) -> Vec<u8> {
    let mut dice = |below: usize| {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        usize::try_from((*state >> 20) % below.max(1) as u64).unwrap()
    };
    let mut bytes = seed.to_vec();
    for _ in 0..=dice(4) {
        let at = dice(bytes.len() + 1);
        match dice(5) {
            0 => bytes.truncate(at),
            1 => bytes.insert(at, u8::try_from(dice(256)).unwrap()),
            2 if at < bytes.len() => bytes[at] = u8::try_from(dice(256)).unwrap(),
            3 if at < bytes.len() => drop(bytes.remove(at)),
            _ => {
                let end = at + dice(bytes.len() - at + 1);
                let piece = bytes[at..end].to_vec();
                bytes.splice(at..at, piece);
            }
        }
    }
    bytes
}

#[test]
fn properties_hold_for_the_corpus_and_around_it() {
    for (name, property) in properties::ALL {
        let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(name);
        let mut seeds: Vec<Vec<u8>> =
            fs::read_dir(&place).unwrap().map(|e| fs::read(e.unwrap().path()).unwrap()).collect();
        assert!(seeds.len() >= 5, "{name}: {} seeds", seeds.len());
        seeds.sort();
        let mut state = 0x9e37_79b9_7f4a_7c15;
        for seed in &seeds {
            property(seed);
            (0..20_000 / seeds.len()).for_each(|_| property(&mutated(seed, &mut state)));
        }
    }
}

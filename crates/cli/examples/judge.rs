//! What the watch knows of clients' files, asked from outside, for `tests/e2e/openclaw/watch`:
//! `judge HOME snapshot|compare|restore PATH [BASELINE]`. A baseline is a file, which `snapshot` writes to standard output.

#![allow(clippy::print_stdout)] // Answers whoever started it.

#[allow(dead_code)] // Not everything that it says is asked for here.
#[path = "../src/watch/meaning/mod.rs"]
mod meaning;

use std::error::Error;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;

use mantlet_watch::{Content as _, Difference, Restored};

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let (home, verb, place, baseline) = match words[..] {
        [home, "snapshot", place] => (home, "snapshot", place, Vec::new()),
        [home, verb @ ("compare" | "restore"), place, baseline] => (home, verb, place, fs::read(baseline)?),
        _ => return Err("usage: judge HOME snapshot|compare|restore PATH [BASELINE]".into()),
    };
    let place = Path::new(place);
    let meaning = meaning::Meaning::new(Path::new(home), &|_| None, &[]);
    if !meaning.knows(place) {
        return Err(format!("{} is no file with a meaning", place.display()).into());
    }
    let file = File::open(place)?;
    match verb {
        "snapshot" => std::io::stdout().write_all(&meaning.snapshot(place, &file)?.unwrap_or_default())?,
        "compare" => {
            let (word, keys) = match meaning.snapshot(place, &file) {
                Ok(found) => match meaning.compare(place, &baseline, &found.unwrap_or_default()) {
                    Difference::Same => ("same", Vec::new()),
                    Difference::Accepted { keys } => ("accepted", keys),
                    Difference::Tampered { keys } => ("tampered", keys),
                },
                Err(error) => ("tampered", vec![error.to_string()]),
            };
            println!("{}", serde_json::json!({"difference": word, "keys": keys}));
        }
        _ => match meaning.restore(place, &baseline, &file)? {
            Restored::InPlace => {}
            // As the watch does it: whoever has the old file open keeps reading that one.
            Restored::Content(bytes) => {
                let fresh = place.with_extension("restored");
                fs::write(&fresh, bytes)?;
                fs::set_permissions(&fresh, file.metadata()?.permissions())?;
                fs::rename(fresh, place)?;
            }
        },
    }
    Ok(())
}

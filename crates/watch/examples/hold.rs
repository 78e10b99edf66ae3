//! Watches places until it is ended: `hold STATE PLACE...`, where a place that is a directory is protected as one.
//!
//! For measuring and for trying out; what it tells goes to standard output, one JSON object a line, after a line `ready`.

#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use mantlet_ledger::Change;
use mantlet_watch::{Compare, Notice, Options, Place, PlaceKind, Report, Watch, Whole};

struct Lines;

impl Report for Lines {
    fn change(&mut self, change: Change) {
        match serde_json::to_string(&change) {
            Ok(line) => println!("{line}"),
            Err(error) => eprintln!("{error}"),
        }
    }

    fn halt(&mut self, path: &Path, tries: u64) {
        println!("{{\"halt\":{path:?},\"tries\":{tries}}}");
    }

    fn notice(&mut self, notice: Notice) {
        eprintln!("{notice:?}");
    }
}

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let Some(state) = arguments.next() else {
        eprintln!("hold STATE PLACE...");
        return ExitCode::from(2);
    };
    let place = |path: PathBuf| {
        let kind = if path.is_dir() { PlaceKind::Directory } else { PlaceKind::File };
        Place { path, kind, content: Compare::Whole }
    };
    match hold(state, arguments.map(place).collect()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn hold(state: PathBuf, places: Vec<Place>) -> Result<(), Box<dyn std::error::Error>> {
    let began = Instant::now();
    let mut watch = Watch::open(Options::new(state), places, Box::new(Whole))?;
    watch.begin(&mut Lines)?;
    println!("ready after {} ms", began.elapsed().as_millis());
    if std::env::var_os("MANTLET_RESCAN").is_some() {
        let began = Instant::now();
        watch.rescan(&mut Lines);
        println!("rescan took {} us", began.elapsed().as_micros());
        return Ok(());
    }
    // Nobody writes into this pipe, and its other end lives as long as the program.
    let (end, _open) = std::io::pipe()?;
    Ok(watch.run(&mut Lines, end.into())?)
}

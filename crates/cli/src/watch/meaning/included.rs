//! Files that a settings file takes in: whoever writes one of them writes its keys, under names that stand nowhere in it.
//!
//! Reads, and changes nothing. What is found here is watched whole.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};

use mantlet_clients::watched::Settings;
use mantlet_watch::ContentError;
use rustix::fs::{Mode, OFlags};
use serde_json::Value;

use super::content::read;
use super::text;

/// More files than anybody splits settings into.
const MOST: usize = 256;

/// Returns every file that a settings file takes in, also through others. One that is not there counts as well.
///
/// # Errors
/// When one of them cannot be read as settings: what it takes in is then unknown.
pub(super) fn included(settings: &Settings, file: &Path) -> Result<Vec<PathBuf>, ContentError> {
    let mut found = BTreeSet::new();
    let mut open = vec![file.to_owned()];
    while let Some(at) = open.pop() {
        // A FIFO in its place would hang whoever opens it.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let Ok(reading) = rustix::fs::open(&at, flags, Mode::empty()).map(File::from) else { continue };
        let bytes = read(&reading)?;
        let text = std::str::from_utf8(&bytes).map_err(text::wrong)?;
        let Some(value) = text::read(text, settings.syntax)? else { continue };
        let mut names = Vec::new();
        collect(settings, &value, &mut names);
        let below = at.parent().unwrap_or(Path::new("/"));
        for path in names.into_iter().map(|name| tidy(&below.join(name))) {
            if path != file && found.insert(path.clone()) {
                open.push(path);
            }
        }
        if found.len() > MOST {
            return Err(text::wrong("it takes in more files than anybody splits settings into"));
        }
    }
    Ok(found.into_iter().collect())
}

fn collect(settings: &Settings, value: &Value, into: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                match value {
                    Value::String(path) if settings.includes.contains(&name.as_str()) => into.push(path.clone()),
                    Value::Array(paths) if settings.includes.contains(&name.as_str()) => {
                        into.extend(paths.iter().filter_map(Value::as_str).map(str::to_owned));
                    }
                    other => collect(settings, other, into),
                }
            }
        }
        Value::Array(elements) => elements.iter().for_each(|value| collect(settings, value, into)),
        _ => {}
    }
}

/// Without `.` and `..`, as the client resolves a path before it opens it.
fn tidy(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            std::path::Component::CurDir => {}
            std::path::Component::ParentDir => drop(out.pop()),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use mantlet_clients::watched::{Compared, of_client};

    #[test]
    fn what_is_taken_in_is_found_also_through_others_and_in_circles() {
        let row = of_client("openclaw").into_iter().find(|row| row.name == "openclaw.json").unwrap();
        let Compared::ByKey(settings) = row.compared else { panic!() };
        let top = std::env::temp_dir().join(format!("mantlet-included-{}", std::process::id()));
        std::fs::create_dir_all(top.join("parts")).unwrap();
        let write = |name: &str, text: &str| std::fs::write(top.join(name), text).unwrap();
        write("openclaw.json", "{tools: {$include: './parts/a.json5'}, x: {$include: ['b.json', '../gone.json']}}");
        write("parts/a.json5", "{$include: '../b.json', y: [{$include: './c.json'}]} // c");
        write("b.json", "{$include: './openclaw.json'}");
        let found = included(settings, &top.join("openclaw.json")).unwrap();
        let mut wanted = ["parts/a.json5", "parts/c.json", "b.json"].map(|name| top.join(name)).to_vec();
        wanted.push(top.parent().unwrap().join("gone.json"));
        wanted.sort();
        assert_eq!(found, wanted);
        write("b.json", "{");
        assert!(included(settings, &top.join("openclaw.json")).is_err());
        std::fs::remove_dir_all(top).unwrap();
    }
}

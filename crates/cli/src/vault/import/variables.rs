//! Variables of the gateway with a credential in them: in environment files and in the units that start it.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use mantlet_change::Op;
use mantlet_clients::dotenv;
use mantlet_clients::openclaw::UNITS;
use mantlet_vault::Secret;

use super::residue;
use super::site::Site;

/// One line, or one assignment over several.
pub(super) struct Line {
    pub(super) file: PathBuf,
    at: usize,
    text: String,
    is_unit: bool,
    pub(super) parts: Vec<Part>,
}

/// One assignment.
pub(super) struct Part {
    pub(super) name: String,
    pub(super) value: Secret,
    /// As it is written.
    raw: String,
    /// Whether it is taken out.
    pub(super) is_moved: bool,
}

/// Reads them all: what a unit sets comes before what `.env` says, as with the gateway.
///
/// One that is there and cannot be read is an error: what it holds would stay unseen.
pub(super) fn lines(site: &Site) -> anyhow::Result<Vec<Line>> {
    let mut lines = Vec::new();
    let mut files = Vec::new();
    for unit in UNITS.iter().flat_map(|pattern| Site::matching(&site.settings, pattern)) {
        let Some(text) = text_of(&unit)? else { continue };
        let (set, named) = unit_lines(&unit, &text, &site.home);
        lines.extend(set);
        files.extend(named);
    }
    files.push(site.state.join(".env"));
    files.extend(site.config.parent().map(|beside| beside.join(".env")));
    let mut seen: Vec<PathBuf> = Vec::new();
    for file in files.into_iter().filter(|file| file.starts_with(&site.home)) {
        if seen.contains(&file) {
            continue;
        }
        if let Some(text) = text_of(&file)? {
            lines.extend(dotenv_lines(&file, &text));
        }
        seen.push(file);
    }
    Ok(lines)
}

fn text_of(path: &Path) -> anyhow::Result<Option<String>> {
    let Some(bytes) = residue::read(path)? else { return Ok(None) };
    let text = String::from_utf8(bytes).ok();
    text.map(Some).with_context(|| format!("{} is no text", path.display()))
}

fn dotenv_lines(file: &Path, text: &str) -> Vec<Line> {
    let found = dotenv::assignments(text).into_iter().map(|found| {
        let value = &text[found.value];
        let value =
            if found.quote == Some('"') { value.replace("\\n", "\n").replace("\\r", "\r") } else { value.into() };
        let raw = text[found.span.clone()].to_owned();
        let (name, value) = (text[found.name].to_owned(), Secret::from(value.as_str()));
        let part = Part { name, value, raw: raw.clone(), is_moved: false };
        Line { file: file.into(), at: found.span.start, text: raw, is_unit: false, parts: vec![part] }
    });
    found.collect()
}

/// The lines of a unit that set variables, and the files it reads some from. A line that goes on in the next is left alone.
fn unit_lines(file: &Path, text: &str, home: &Path) -> (Vec<Line>, Vec<PathBuf>) {
    let (mut lines, mut files, mut at, mut goes_on) = (Vec::new(), Vec::new(), 0, false);
    for whole in text.split_inclusive('\n') {
        let line = whole.trim_end_matches(['\n', '\r']);
        let is_whole = !goes_on && !line.ends_with('\\');
        goes_on = line.ends_with('\\');
        if let Some(rest) = line.strip_prefix("Environment=").filter(|_| is_whole) {
            let parts = words(rest).into_iter().filter_map(|(raw, word)| {
                let (name, value) = word.split_once('=')?;
                Some(Part { name: name.into(), value: Secret::from(value), raw, is_moved: false })
            });
            lines.push(Line { file: file.into(), at, text: line.into(), is_unit: true, parts: parts.collect() });
        } else if let Some(rest) = line.strip_prefix("EnvironmentFile=").filter(|_| is_whole) {
            let named = rest.trim().trim_start_matches('-').replace("%h", &home.to_string_lossy());
            files.extend(Some(PathBuf::from(named)).filter(|path| path.is_absolute()));
        }
        at += whole.len();
    }
    (lines, files)
}

/// Splits as systemd does: each word as it is written, and without its quotes.
fn words(text: &str) -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = Vec::new();
    let (mut raw, mut word, mut quote) = (String::new(), String::new(), None);
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        match (c, quote) {
            (' ' | '\t', None) => {
                if !raw.is_empty() {
                    found.push((std::mem::take(&mut raw), std::mem::take(&mut word)));
                }
                continue;
            }
            ('"' | '\'', None) => quote = Some(c),
            (c, Some(open)) if c == open => quote = None,
            ('\\', _) => {
                raw.push(c);
                if let Some(escaped) = characters.next() {
                    raw.push(escaped);
                    word.push(escaped);
                }
                continue;
            }
            // A percent sign is doubled in a unit.
            ('%', _) if characters.as_str().starts_with('%') => {
                raw.push(c);
                characters.next();
                word.push(c);
            }
            _ => word.push(c),
        }
        raw.push(c);
    }
    if !raw.is_empty() {
        found.push((raw, word));
    }
    found
}

impl Line {
    /// The edit that takes out what is moved; nothing when nothing is.
    pub(super) fn edit(&self) -> Option<Op> {
        let (moved, kept): (Vec<&Part>, Vec<&Part>) = self.parts.iter().partition(|part| part.is_moved);
        if moved.is_empty() {
            return None;
        }
        let mut new: Vec<String> =
            moved.iter().map(|part| format!("# {} is in Mantlet's vault", clean(&part.name))).collect();
        if !kept.is_empty() && self.is_unit {
            let kept: Vec<&str> = kept.iter().map(|part| part.raw.as_str()).collect();
            new.push(format!("Environment={}", kept.join(" ")));
        }
        Some(Op::Replace { at: self.at, old: self.text.clone(), new: new.join("\n") })
    }
}

fn clean(name: &str) -> String {
    mantlet_ledger::escape(name.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edited(text: &str, mut lines: Vec<Line>, moved: &[&str]) -> String {
        for part in lines.iter_mut().flat_map(|line| &mut line.parts) {
            part.is_moved = moved.contains(&part.name.as_str());
        }
        let ops: Vec<Op> = lines.iter().filter_map(Line::edit).collect();
        mantlet_change::apply(text, mantlet_change::Format::Plain, &ops).unwrap().0
    }

    #[test]
    fn a_unit_keeps_what_is_not_moved() {
        let text = "[Service]\nEnvironment=\"A_KEY=canary 1\" B=2 'C=3'\r\nEnvironment=D_KEY=canary%%2\nEnvironment=E=1 \\\n F=2\nEnvironmentFile=-%h/x.env\n";
        let (lines, files) = unit_lines(Path::new("/u"), text, Path::new("/home/y"));
        assert_eq!(files, [PathBuf::from("/home/y/x.env")]);
        let parts: Vec<_> = lines.iter().flat_map(|line| &line.parts).collect();
        let said: Vec<_> = parts.iter().map(|part| (part.name.as_str(), part.value.expose_text().unwrap())).collect();
        assert_eq!(said, [("A_KEY", "canary 1"), ("B", "2"), ("C", "3"), ("D_KEY", "canary%2")]);
        assert_eq!(
            edited(text, lines, &["A_KEY", "D_KEY"]),
            "[Service]\n# A_KEY is in Mantlet's vault\nEnvironment=B=2 'C=3'\r\n# D_KEY is in Mantlet's vault\nEnvironment=E=1 \\\n F=2\nEnvironmentFile=-%h/x.env\n"
        );
    }

    #[test]
    fn an_environment_file_keeps_what_is_not_moved() {
        let text = "A=1\nexport K=\"line\\none\ntwo\" # c\nB=2";
        let lines = dotenv_lines(Path::new("/e"), text);
        assert_eq!(lines[1].parts[0].value.expose_text(), Some("line\none\ntwo"));
        assert_eq!(edited(text, lines, &["K"]), "A=1\n# K is in Mantlet's vault\nB=2");
    }
}

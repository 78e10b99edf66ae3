//! Where values lie about besides: copies that OpenClaw makes of its configuration, typed commands, and anything else.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use mantlet_change::{FilePlan, Format, Op};
use mantlet_clients::json::{Dialect, parse};
use mantlet_clients::openclaw::{COPIES, HISTORIES};

use super::config;
use super::site::Site;
use super::survey::{Values, find};

const MAX_BYTES: u64 = 64 << 20;

/// Reads a regular file; nothing when there is none. A link is followed, as its owner means it.
pub(super) fn read(path: &Path) -> anyhow::Result<Option<Vec<u8>>> {
    let failed = || format!("cannot read {}", path.display());
    let meta = match path.metadata() {
        Ok(meta) => meta,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(failed),
    };
    if !meta.is_file() {
        return Ok(None);
    }
    if meta.len() > MAX_BYTES {
        bail!("{} is larger than 64 MiB, and was not looked into\nhint: move it away, or empty it", path.display());
    }
    std::fs::read(path).map(Some).with_context(failed)
}

/// Copies of the configuration with a credential in them, of today or of an earlier time.
pub(super) fn copies(site: &Site, values: &Values) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for path in COPIES.iter().flat_map(|pattern| Site::matching(&site.state, pattern)) {
        if read(&path)?.is_some_and(|bytes| has_credential(&bytes, values)) {
            found.push(path);
        }
    }
    Ok(found)
}

fn has_credential(bytes: &[u8], values: &Values) -> bool {
    if values.occur_in(bytes) {
        return true;
    }
    let text = String::from_utf8_lossy(bytes);
    match parse(text.trim_start_matches('\u{feff}'), Dialect::Json5) {
        Ok(Some(root)) => {
            let reading = config::read(&root);
            !reading.plain.is_empty() || !reading.unfit.is_empty() || !reading.set.is_empty()
        }
        Ok(None) => false,
        Err(_) => !mantlet_dlp::findings(bytes).is_empty(),
    }
}

/// A file of typed commands with credentials in it.
pub(super) struct History {
    pub(super) file: PathBuf,
    /// The lines, from 1.
    pub(super) lines: Vec<usize>,
    spots: Vec<(usize, String, &'static str)>,
}

/// Looks into every history of the user's.
pub(super) fn histories(site: &Site, values: &Values) -> anyhow::Result<Vec<History>> {
    let mut found = Vec::new();
    for file in HISTORIES.iter().map(|name| site.home.join(name)) {
        let Some(bytes) = read(&file)? else { continue };
        let mut history = History { file, lines: Vec::new(), spots: Vec::new() };
        let mut at = 0;
        for (index, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
            let spots = spots(line, values);
            if !spots.is_empty() {
                history.lines.push(index + 1);
            }
            history.spots.extend(spots.into_iter().map(|(start, text, kind)| (at + start, text, kind)));
            at += line.len() + 1;
        }
        if !history.lines.is_empty() {
            found.push(history);
        }
    }
    Ok(found)
}

/// The credentials in one command: those that are sealed, and what looks like one.
fn spots(line: &[u8], values: &Values) -> Vec<(usize, String, &'static str)> {
    let mut spans: Vec<(std::ops::Range<usize>, &'static str)> = Vec::new();
    for needle in values.needles() {
        let mut from = 0;
        while let Some(at) = find(line.get(from..).unwrap_or_default(), needle) {
            spans.push((from + at..from + at + needle.len(), "in-vault"));
            from += at + needle.len();
        }
    }
    let is_free = |spans: &[(std::ops::Range<usize>, &str)], span: &std::ops::Range<usize>| {
        spans.iter().all(|(other, _)| span.end <= other.start || other.end <= span.start)
    };
    for finding in mantlet_dlp::findings(line) {
        if is_free(&spans, &finding.span) {
            spans.push((finding.span, finding.kind));
        }
    }
    // Two values of which one begins inside the other are masked as one.
    spans.sort_by_key(|(span, _)| span.start);
    let mut free: Vec<(std::ops::Range<usize>, &'static str)> = Vec::new();
    for (span, kind) in spans {
        match free.last_mut() {
            Some((last, _)) if span.start < last.end => last.end = last.end.max(span.end),
            _ => free.push((span, kind)),
        }
    }
    let text = |span: &std::ops::Range<usize>| String::from_utf8(line.get(span.clone())?.to_vec()).ok();
    free.into_iter().filter_map(|(span, kind)| Some((span.start, text(&span)?, kind))).collect()
}

impl History {
    /// Masks each spot where it stands; the rest of the command stays.
    pub(super) fn masked(&self, stops: &str) -> FilePlan {
        let spots = self.spots.iter();
        spots.fold(FilePlan::edited(self.file.clone(), Format::Plain), |plan, (at, old, kind)| {
            plan.with(Op::Replace { at: *at, old: old.clone(), new: format!("[masked:{kind}]") }, stops)
        })
    }

    /// The lines as a person would say them.
    pub(super) fn key(&self) -> String {
        let shown: Vec<String> = self.lines.iter().take(5).map(usize::to_string).collect();
        let more = self.lines.len().saturating_sub(5);
        let more = if more == 0 { String::new() } else { format!(" and {more} more") };
        format!("line {}{more}", shown.join(", "))
    }
}

const STILL: &str = "still holds one of these values; nothing of it was changed";
const RECORD: &str = "is Mantlet's record of an install, with what openclaw.json said before: `mantlet uninstall openclaw`, then `mantlet install openclaw` again";

/// Every file of OpenClaw's that still holds one of these values, or cannot be looked into.
pub(super) fn leftovers(site: &Site, values: &Values) -> Vec<(PathBuf, &'static str)> {
    let mut found = Vec::new();
    let mut open =
        vec![site.state.clone(), site.settings.join("systemd"), "/tmp/openclaw".into(), site.changes.clone()];
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
            let path = entry.path();
            match entry.file_type() {
                Ok(kind) if kind.is_dir() && entry.file_name() != "node_modules" => open.push(path),
                Ok(kind) if kind.is_file() => match read(&path) {
                    Ok(Some(bytes)) if values.occur_in(&bytes) => {
                        let what = if path.starts_with(&site.changes) { RECORD } else { STILL };
                        found.push((path, what));
                    }
                    Ok(_) => {}
                    Err(_) => found.push((path, "could not be looked into")),
                },
                _ => {}
            }
        }
    }
    found.sort();
    found
}

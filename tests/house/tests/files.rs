//! The repository's files: headers, length, unsafe code, words that do not belong, programs, links.

use std::path::Path;

use mantlet_house::{Tracked, top, tracked};

fn sources(files: &[Tracked]) -> impl Iterator<Item = &Tracked> {
    files.iter().filter(|f| f.path.ends_with(".rs"))
}

/// Says everything that is wrong at once, not the first thing only.
fn assert_none(wrong: Vec<String>) {
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn every_source_file_says_what_it_is() {
    let files = tracked();
    let is_header = |f: &&Tracked| f.text.lines().next().is_some_and(|l| l.starts_with("//! ") && l.len() > 24);
    let without = sources(&files).filter(|f| !is_header(f));
    assert_none(without.map(|f| format!("{}: open with two or three lines of `//!`", f.path)).collect());
}

/// Tables are data, and may be as long as the world is wide.
const TABLES: &[&str] =
    &["crates/clients/src/protected.rs", "crates/clients/src/secrets.rs", "crates/sandbox/src/seccomp.rs"];

#[test]
fn a_file_tells_one_story() {
    const MAX: usize = 500;
    let files = tracked();
    let before_tests = |f: &Tracked| f.text.split("#[cfg(test)]\nmod ").next().unwrap_or("").lines().count();
    let is_measured = |f: &&Tracked| !TABLES.contains(&f.path.as_str()) && !f.path.contains("tests");
    let long = sources(&files).filter(is_measured).map(|f| (f, before_tests(f))).filter(|(_, lines)| *lines > MAX);
    assert_none(long.map(|(f, lines)| format!("{}: {lines} lines before its tests, {MAX} allowed", f.path)).collect());
}

/// The only places for unsafe code: a `sys` module of the jailer, one of the attacker, the allocator that wipes, and what
/// the watch and the attacks on it ask of the kernel.
fn may_be_unsafe(path: &str) -> bool {
    let places = [
        "crates/sandbox/src/sys",
        "crates/probe/src/sys",
        "crates/vault/src/sys",
        "crates/watch/src/sys",
        "crates/watch/tests/watch/sys",
    ];
    places.iter().any(|place| path.strip_prefix(place).is_some_and(|rest| rest == ".rs" || rest.starts_with('/')))
}

#[test]
fn unsafe_code_stays_in_the_sys_modules() {
    let files = tracked();
    let mut wrong = Vec::new();
    for file in sources(&files).filter(|f| !may_be_unsafe(&f.path) && !f.path.starts_with("tests/house/")) {
        for (number, line) in file.text.lines().enumerate() {
            let code = line.split("//").next().unwrap_or("");
            let is_use = ["unsafe {", "unsafe fn ", "unsafe impl ", "unsafe extern "].iter().any(|u| code.contains(u));
            let is_allowed = code.contains("(unsafe_code)") && !code.contains("forbid(") && !code.contains("deny(");
            if is_use || is_allowed {
                wrong.push(format!("{}:{}: unsafe code outside a sys module", file.path, number + 1));
            }
        }
    }
    assert_none(wrong);
}

#[test]
fn every_crate_takes_the_workspace_lints() {
    let files = tracked();
    let manifests = files.iter().filter(|f| f.path.ends_with("/Cargo.toml"));
    let loose = manifests.filter(|f| !f.text.contains("[lints]\nworkspace = true"));
    assert_none(loose.map(|f| format!("{}: add `[lints] workspace = true`", f.path)).collect());
}

#[test]
fn nothing_names_a_developers_machine_or_is_left_to_do() {
    // Put together here, so that this file does not find itself.
    let words = [
        ["/wo", "rk/"].concat(),
        ["/Us", "ers/"].concat(),
        ["/root/.car", "go"].concat(),
        ["TO", "DO"].concat(),
        ["FIX", "ME"].concat(),
        ["to", "do!("].concat(),
        ["unimple", "mented!("].concat(),
        ["Co-Auth", "ored-By"].concat(),
        ["generated", " with"].concat(),
    ];
    let mut wrong = Vec::new();
    for file in tracked().iter().filter(|f| !f.path.ends_with("Cargo.lock")) {
        for (number, line) in file.text.lines().enumerate() {
            for word in words.iter().filter(|w| contains_word(line, w)) {
                wrong.push(format!("{}:{}: {word:?}", file.path, number + 1));
            }
        }
    }
    assert_none(wrong);
}

/// A path begins where no name stands before it: one below a home directory is somebody else's.
fn contains_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line.get(..at).and_then(|b| b.chars().next_back());
        !before.is_some_and(|c| c.is_alphanumeric() || matches!(c, '.' | '}' | '_' | '-' | '~'))
    })
}

#[test]
fn scripts_are_executable_and_stop_at_errors() {
    let mut wrong = Vec::new();
    for file in tracked() {
        let is_script = file.text.starts_with("#!") && !file.text.starts_with("#![");
        if is_script && !file.is_executable {
            wrong.push(format!("{}: git update-index --chmod=+x {0}", file.path));
        }
        let is_bash = file.text.lines().next().is_some_and(|l| l.ends_with("bash"));
        if is_bash && !file.text.contains("set -euo pipefail") && !file.text.contains("set -uo pipefail") {
            wrong.push(format!("{}: lacks `set -euo pipefail`", file.path));
        }
    }
    assert_none(wrong);
}

#[test]
fn links_between_documents_lead_somewhere() {
    let mut wrong = Vec::new();
    for file in tracked().iter().filter(|f| f.path.ends_with(".md")) {
        let here = top().join(Path::new(&file.path).parent().unwrap_or(Path::new("")));
        for link in file.text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let target = link.split('#').next().unwrap_or("");
            let is_elsewhere = target.is_empty() || target.contains("://") || target.starts_with("mailto:");
            if !is_elsewhere && !here.join(target).exists() {
                wrong.push(format!("{}: {link}", file.path));
            }
        }
    }
    assert_none(wrong);
}

//! The program of a whole agent: found as its owner's shell would, and shown with what it is installed with.
//!
//! The attack: an installation is a directory of the owner's home, and next to it may lie what nobody should see. Only
//! the narrowest directory that makes the program whole is shown, never a home, and none that holds a secret.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use super::{Asked, Prepared};
use crate::layout;
use crate::plan::Refusal;

/// Symlinks to everything that the owner's PATH found, by the names it was found by. First in the jail's PATH: only
/// what the owner chose is in it.
pub(crate) const BIN: &str = "/run/mantlet/bin";

/// Interpreters of interpreters end somewhere.
const MOST_INTERPRETERS: usize = 4;

/// Finds the program, shows what it needs and makes the command call it.
pub(super) fn add(argv: &mut [OsString], asked: &Asked<'_>, out: &mut Prepared) -> Result<(), Refusal> {
    let Some(named) = argv.first().cloned() else { return Ok(()) };
    let mut real = find(&named)?;
    let name = Path::new(&named).file_name().unwrap_or(&named).to_owned();
    if let Some(link) = show(&real, &name, asked, out)? {
        argv[0] = link.into_os_string();
    } else {
        argv[0] = real.clone().into_os_string();
    }
    for _ in 0..MOST_INTERPRETERS {
        let Some(interpreter) = interpreter(&real) else { break };
        let script = std::mem::replace(&mut real, find(&interpreter)?);
        refuse_the_agents_word(&script, &real, asked, out)?;
        let name = Path::new(&interpreter).file_name().unwrap_or(&interpreter).to_owned();
        show(&real, &name, asked, out)?;
    }
    for own in own_programs() {
        let name = own.file_name().unwrap_or_default().to_owned();
        show_at(&own, &own, &name, asked, out);
    }
    Ok(())
}

/// Refuses an interpreter that only a file of the agent's own names.
///
/// The attack: a script in the workspace, which an earlier session wrote, begins with `#!` and the name of any file of
/// the home. Its directory would be shown as the installation of an interpreter.
fn refuse_the_agents_word(script: &Path, real: &Path, asked: &Asked<'_>, out: &Prepared) -> Result<(), Refusal> {
    let workspace = asked.agent.workspace();
    let opened = mantlet_policy::opened(asked.agent, |path| std::fs::canonicalize(path));
    let policys = opened.iter().map(|place| (place.source.as_path(), place.is_writable));
    let own = out.places.iter().map(|place| (place.source.as_path(), place.is_writable));
    let places: Vec<(&Path, bool)> = std::iter::once((workspace, true)).chain(policys).chain(own).collect();
    let is_the_agents = places.iter().any(|(place, is_writable)| *is_writable && script.starts_with(place));
    if !is_the_agents || is_system(real) || places.iter().any(|(place, _)| real.starts_with(place)) {
        return Ok(());
    }
    let what = format!("the agent can write {script:?}, and it alone names {real:?} as its interpreter");
    Err(Refusal::new(what).hint("name the interpreter yourself: -- INTERPRETER SCRIPT"))
}

/// Finds a program by the caller's PATH, and follows every symlink.
fn find(name: &OsStr) -> Result<PathBuf, Refusal> {
    let missing = || {
        Refusal::new(format!("cannot find the program {name:?}"))
            .hint("install it, or name it by its whole path after `--`")
    };
    if name.as_bytes().contains(&b'/') {
        return std::fs::canonicalize(name).ok().filter(|path| path.is_file()).ok_or_else(missing);
    }
    let dirs = std::env::var_os("PATH").unwrap_or_else(|| layout::PATH.into());
    let found = std::env::split_paths(&dirs).filter(|dir| dir.is_absolute()).map(|dir| dir.join(name));
    let is_program =
        |path: &PathBuf| path.is_file() && rustix::fs::access(path.as_path(), rustix::fs::Access::EXEC_OK).is_ok();
    found.filter(is_program).find_map(|path| std::fs::canonicalize(path).ok()).ok_or_else(missing)
}

/// The program that a script's first line asks for: of `env`, the one it looks up.
fn interpreter(script: &Path) -> Option<OsString> {
    let mut line = Vec::new();
    File::open(script).ok()?.take(256).read_to_end(&mut line).ok()?;
    let line = line.strip_prefix(b"#!")?.split(|b| *b == b'\n').next()?;
    let mut words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    let first = words.next()?;
    let is_env = Path::new(OsStr::from_bytes(first)).file_name().is_some_and(|name| name == "env");
    let word = if is_env { words.find(|w| !w.starts_with(b"-") && !w.contains(&b'='))? } else { first };
    Some(OsStr::from_bytes(word).to_owned())
}

/// Shows an installation. Answers the link to the program, if it is not among the system's.
fn show(real: &Path, name: &OsStr, asked: &Asked<'_>, out: &mut Prepared) -> Result<Option<PathBuf>, Refusal> {
    if is_system(real) {
        return Ok(None);
    }
    // What lies in the workspace is shown already; a project around the workspace is not its installation.
    let is_shown = real.starts_with(asked.agent.workspace());
    let place = if is_shown { real.to_owned() } else { installation(real, &asked.owner.home) };
    if !place.starts_with(asked.agent.workspace())
        && let Err(why) = asked.advisor.may_show(&place)
    {
        let what = format!("the program {real:?} cannot be shown with its installation {place:?}: {why}");
        return Err(
            Refusal::new(what).hint("install it in a directory of its own, such as below /opt or ~/.local/share")
        );
    }
    Ok(Some(show_at(real, &place, name, asked, out)))
}

fn show_at(real: &Path, place: &Path, name: &OsStr, asked: &Asked<'_>, out: &mut Prepared) -> PathBuf {
    let link = Path::new(BIN).join(name);
    if is_system(real) || out.links.iter().any(|(own, _)| *own == link) {
        return link;
    }
    out.show(place, asked.agent.workspace());
    out.told.program.push(mantlet_ledger::escape(place.as_os_str().as_bytes()));
    out.links.push((link.clone(), real.to_owned()));
    link
}

fn is_system(path: &Path) -> bool {
    layout::SYSTEM.iter().any(|system| path.starts_with(system))
}

/// The narrowest thing that makes a program whole.
fn installation(real: &Path, home: &Path) -> PathBuf {
    // What is installed as a package needs the packages beside it.
    let outermost = real.ancestors().filter(|dir| dir.file_name().is_some_and(|name| name == "node_modules")).last();
    if let Some(modules) = outermost {
        return modules.to_owned();
    }
    let is_own = |dir: &Path| !home.starts_with(dir) && dir.parent().is_some();
    let Some(dir) = real.parent().filter(|dir| is_own(dir)) else { return real.to_owned() };
    if dir.file_name().is_some_and(|name| name == "bin" || name == "sbin") {
        // A runtime with its library beside it; of any other such directory only the program.
        let prefix = dir.parent().filter(|prefix| is_own(prefix) && prefix.join("lib/node_modules").is_dir());
        return prefix.map_or_else(|| real.to_owned(), Path::to_owned);
    }
    let package = real.ancestors().skip(1).take_while(|dir| is_own(dir)).find(|dir| dir.join("package.json").is_file());
    package.unwrap_or(dir).to_owned()
}

/// Mantlet's own programs, through which an agent's commands ask for a jail.
fn own_programs() -> Vec<PathBuf> {
    let Ok(own) = std::env::current_exe() else { return Vec::new() };
    ["mantlet", "mantlet-run"].map(|name| own.with_file_name(name)).into_iter().filter(|path| path.is_file()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Top(PathBuf);

    impl Top {
        fn new(name: &str) -> Top {
            let top = std::env::temp_dir().join(format!("mantlet-program-{name}-{}", std::process::id()));
            std::fs::create_dir_all(&top).unwrap();
            Top(std::fs::canonicalize(top).unwrap())
        }

        fn file(&self, path: &str, text: &str) -> PathBuf {
            let path = self.0.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, text).unwrap();
            path
        }
    }

    impl Drop for Top {
        fn drop(&mut self) {
            std::fs::remove_dir_all(&self.0).unwrap();
        }
    }

    #[test]
    fn an_installation_is_as_narrow_as_the_program_allows() {
        let top = Top::new("narrow");
        let home = top.0.join("home");
        std::fs::create_dir_all(top.0.join("home/.nvm/v24/lib/node_modules")).unwrap();
        top.file("home/src/tool/package.json", "{}");
        for (program, wanted) in [
            ("home/.npm/lib/node_modules/a/node_modules/b/cli.js", "home/.npm/lib/node_modules"),
            ("home/node_modules/a/cli.js", "home/node_modules"),
            ("home/.local/bin/claude", "home/.local/bin/claude"),
            ("home/bin/tool", "home/bin/tool"),
            ("home/tool", "home/tool"),
            ("tool", "tool"),
            ("home/.nvm/v24/bin/node", "home/.nvm/v24"),
            ("home/.local/share/claude/versions/2.1", "home/.local/share/claude/versions"),
            ("home/src/tool/dist/cli.js", "home/src/tool"),
        ] {
            let program = top.file(program, "");
            assert_eq!(installation(&program, &home), top.0.join(wanted), "{program:?}");
        }
    }

    #[test]
    fn a_script_asks_for_its_interpreter() {
        let top = Top::new("script");
        for (line, wanted) in [
            ("#!/usr/bin/env node\nx", Some("node")),
            ("#!/usr/bin/env -S node --flag\n", Some("node")),
            ("#!/usr/bin/env A=b python3\n", Some("python3")),
            ("#! /bin/sh -e\n", Some("/bin/sh")),
            ("#!/bin/sh", Some("/bin/sh")),
            ("#!\n", None),
            ("\u{7f}ELF", None),
            ("", None),
        ] {
            let script = top.file("script", line);
            assert_eq!(interpreter(&script), wanted.map(OsString::from), "{line:?}");
        }
    }
}

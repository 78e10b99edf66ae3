//! What is installed for each client, and how its seam is tried: data, one module per client.

mod claude;
mod codex;
mod copilot;
mod cursor;
mod gemini;
mod openclaw;
mod opencode;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::canary::{Stage, Start};
use crate::{FilePlan, Level};

/// One client.
#[derive(Debug, Clone, Copy)]
pub struct Seam {
    /// Its id.
    pub client: &'static str,
    /// The name of its program.
    pub program: &'static str,
    /// The usual name of its agent in a policy.
    pub agent: &'static str,
    /// Whether the machine's owner has settings that a user or a repository cannot overrule.
    pub has_managed: bool,
    /// The files that an install changes.
    pub files: fn(&Site) -> Vec<FilePlan>,
    /// How a live call is made; none for a client that cannot run without its vendor's service.
    pub start: Option<fn(&Stage, &str) -> Start>,
    /// What a trial needs in its throwaway home beyond the copied settings; the site is the real one.
    pub props: fn(&Site, &Stage, &str) -> Vec<FilePlan>,
    /// What is left for the owner to do or to know.
    pub next: fn(&Site) -> Vec<String>,
}

/// All of them.
pub const SEAMS: &[Seam] =
    &[claude::SEAM, codex::SEAM, gemini::SEAM, copilot::SEAM, cursor::SEAM, opencode::SEAM, openclaw::SEAM];

/// Returns the seam of a client.
pub fn seam(client: &str) -> Option<&'static Seam> {
    SEAMS.iter().find(|seam| seam.client == client)
}

/// Where things are.
#[derive(Debug, Clone)]
pub struct Site {
    /// Whose settings.
    pub level: Level,
    /// The user's home.
    pub home: PathBuf,
    /// The directory of our programs.
    pub programs: PathBuf,
    /// The values of the variables that move clients' settings.
    pub moved: Vec<(&'static str, OsString)>,
    /// The agent whose policy applies.
    pub agent: String,
}

/// The variables that move clients' settings.
pub const MOVING: &[&str] =
    &["CLAUDE_CONFIG_DIR", "CODEX_HOME", "XDG_CONFIG_HOME", "OPENCLAW_STATE_DIR", "OPENCLAW_CONFIG_PATH"];

impl Site {
    fn mantlet(&self) -> String {
        self.program("mantlet")
    }

    fn program(&self, name: &str) -> String {
        self.programs.join(name).to_string_lossy().into_owned()
    }

    /// The line for a shell that starts a client's hook.
    fn hook_line(&self, client: &str) -> String {
        format!("{} hook {client}", quoted(&self.mantlet()))
    }

    /// A script that calls `mantlet` with these words in front, for a client that takes a program and no arguments.
    fn wrapper(&self, words: &[&str]) -> String {
        format!("#!/bin/sh\nexec {} {} \"$@\"\n", quoted(&self.mantlet()), words.join(" "))
    }

    /// A directory below the home, or where a variable moves it.
    fn dir(&self, variable: &str, usual: &str) -> PathBuf {
        let moved = self.moved.iter().find(|(name, _)| *name == variable).map(|(_, value)| PathBuf::from(value));
        moved.filter(|path| path.is_absolute()).unwrap_or_else(|| self.home.join(usual))
    }

    /// Where a file of ours for this level goes.
    fn share(&self, name: &str) -> PathBuf {
        match self.level {
            Level::Managed => Path::new("/usr/local/share/mantlet").join(name),
            Level::User => self.home.join(".local/share/mantlet").join(name),
        }
    }
}

const DENY: &str =
    "A prompt that makes a file tool read or write outside the workspace: the tool is asked about before it runs.";
const FAIL_CLOSED: &str = "A hook that is killed, hangs or is missing: the call is then refused, not run unasked.";
const LOG: &str = "An agent that denies what it did: every call that ran is in the ledger.";

fn no_props(_: &Site, _: &Stage, _: &str) -> Vec<FilePlan> {
    Vec::new()
}

/// A word as a shell reads it.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

//! What the owner's watch protects of the host: which files and directories, how their content is compared, and why.
//!
//! Pure. Derived from what a jail protects (`protected`, `whole`) wherever that says it; rows of its own stand only for
//! what no jail shows. Finding the places and reading them is the work of the rooms above.

mod keys;
mod openclaw;
mod others;
mod rows;
mod user;

pub use keys::{Guard, Held, Keys, Settings, Syntax};
pub use rows::{Database, Gone, Held as HeldColumn, New, Rows};
pub use user::{OWN, USER};

use crate::protected::{Action, MEMORY, PROTECTED, Protected, Scope};
use crate::whole::{Shown, StatePlace, WHOLE};

/// What a path is relative to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Base {
    /// The owner's home.
    Home,
    /// An agent's workspace.
    Workspace,
    /// The machine.
    Root,
}

/// What a path is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A file.
    File,
    /// A directory and all below it.
    Directory,
}

/// How a content is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compared {
    /// Byte by byte: who writes it otherwise is its owner.
    Whole,
    /// By the keys of a settings file.
    ByKey(&'static Settings),
    /// By rows of a database.
    Rows(&'static Database),
}

/// Whether a row counts without being asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// It does.
    Always,
    /// Only where the policy names it: an agent writes it in ordinary work.
    Named,
}

/// A file or directory that is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watched {
    /// Whose it is: a client's id, `user` or `mantlet`.
    pub client: &'static str,
    /// What the path is relative to.
    pub base: Base,
    /// The directory below it; empty is the base itself.
    pub dir: &'static str,
    /// The variable that moves this directory, and the path below its value.
    pub moved: Option<(&'static str, &'static str)>,
    /// The path below that directory; `*` stands for one name, `*.x` for one that ends so.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// How it is compared.
    pub compared: Compared,
    /// Whether it counts without being asked for.
    pub when: When,
    /// What executes or obeys it.
    pub runs: &'static str,
    /// The attack or the reason.
    pub reason: &'static str,
}

impl Watched {
    /// Returns the path below the base, where no variable moves it.
    #[must_use]
    pub fn path(&self) -> String {
        if self.dir.is_empty() { self.name.to_owned() } else { format!("{}/{}", self.dir, self.name) }
    }

    /// Whether a path below the base is this row, or below it where it is a directory.
    #[must_use]
    pub fn matches(&self, path: &str) -> bool {
        let rest = match self.dir {
            "" => Some(path),
            dir => path.strip_prefix(dir).and_then(|rest| rest.strip_prefix('/')),
        };
        rest.is_some_and(|rest| self.matches_name(rest))
    }

    /// As [`Watched::matches`], for a path below the row's directory, wherever that is.
    #[must_use]
    pub fn matches_name(&self, path: &str) -> bool {
        let mut names = path.split('/');
        let is_start = self.name.split('/').all(|wanted| {
            names.next().is_some_and(|name| match wanted.strip_prefix('*') {
                None => wanted == name,
                Some(ending) => !name.is_empty() && name.ends_with(ending),
            })
        });
        is_start && (self.kind == Kind::Directory || names.next().is_none())
    }
}

/// What a client writes by itself, as it starts or as it updates itself: a jail can leave it as it is, a watch would undo it.
const REPLACED: &[(&str, &str)] =
    &[("claude", "local/"), ("claude", "plugins/"), ("cursor", "extensions/"), ("cursor", "argv.json")];

/// What counts of Claude Code's plugins: which there are, where they come from, and their code.
const CLAUDE_PLUGINS: &[(&str, Kind)] = &[
    ("plugins/installed_plugins.json", Kind::File),
    ("plugins/known_marketplaces.json", Kind::File),
    ("plugins/cache", Kind::Directory),
];

/// What OpenClaw keeps where nothing in its jail may write, below its state directory.
const OPENCLAW: &[(&str, Kind, Compared, &str, &str)] = &[
    (
        "openclaw.json",
        Kind::File,
        Compared::ByKey(&openclaw::OPENCLAW),
        "the OpenClaw gateway, while it runs",
        "the gateway takes a changed setting over at once, whoever wrote it",
    ),
    (
        "state/openclaw.sqlite",
        Kind::File,
        Compared::Rows(&rows::OPENCLAW),
        "the OpenClaw gateway, while it runs",
        "approvals, senders and devices that are allowed stand there, and no file says so",
    ),
    (
        ".env",
        Kind::File,
        Compared::Whole,
        "the OpenClaw gateway, on its next start",
        "variables of the gateway and of every command: NODE_OPTIONS is code, HTTPS_PROXY a way out",
    ),
    (
        "extensions",
        Kind::Directory,
        Compared::Whole,
        "the OpenClaw gateway, on its next start",
        "a plugin runs in the gateway's process, outside every sandbox",
    ),
    (
        "hooks",
        Kind::Directory,
        Compared::Whole,
        "the OpenClaw gateway",
        "an internal hook runs in the gateway's process",
    ),
    (
        "skills",
        Kind::Directory,
        Compared::Whole,
        "the next agent of the gateway",
        "a skill is instructions and scripts that are loaded by themselves",
    ),
    (
        "exec-approvals.json",
        Kind::File,
        Compared::Whole,
        "`openclaw doctor --fix`",
        "a retired form of the approvals, which is imported over them",
    ),
    (
        "plugin-binding-approvals.json",
        Kind::File,
        Compared::Whole,
        "`openclaw doctor --fix`",
        "a retired form of the approvals, which is imported over them",
    ),
];

/// What OpenCode obeys in its configuration directory. What it installs there itself (`node_modules`) is left out.
const OPENCODE: &[(&str, Kind)] = &[
    ("opencode.json", Kind::File),
    ("opencode.jsonc", Kind::File),
    ("config.json", Kind::File),
    ("AGENTS.md", Kind::File),
    ("agent", Kind::Directory),
    ("agents", Kind::Directory),
    ("command", Kind::Directory),
    ("commands", Kind::Directory),
    ("mode", Kind::Directory),
    ("modes", Kind::Directory),
    ("plugin", Kind::Directory),
    ("plugins", Kind::Directory),
    ("skill", Kind::Directory),
    ("skills", Kind::Directory),
    ("tool", Kind::Directory),
    ("tools", Kind::Directory),
];

/// Returns what a client obeys of its own state, and of the machine's settings of it.
pub fn of_client(client: &str) -> Vec<Watched> {
    let Some(whole) = WHOLE.iter().find(|row| row.client == client) else { return Vec::new() };
    let mut found = Vec::new();
    for place in whole.state {
        let Shown::WritableBut(names) = place.shown else { continue };
        let kept = names.iter().filter(|name| !REPLACED.contains(&(whole.client, name)));
        found.extend(kept.map(|name| below(whole.client, place, name)));
    }
    let first = whole.state.first();
    match (whole.client, first) {
        ("openclaw", Some(place)) => found.extend(OPENCLAW.iter().map(|(name, kind, compared, runs, reason)| {
            Watched { kind: *kind, compared: *compared, runs, reason, ..below(whole.client, place, name) }
        })),
        ("claude", Some(place)) => {
            found.extend(
                CLAUDE_PLUGINS.iter().map(|(name, kind)| Watched { kind: *kind, ..below(whole.client, place, name) }),
            );
        }
        ("opencode", Some(place)) => {
            found.extend(
                OPENCODE.iter().map(|(name, kind)| Watched { kind: *kind, ..below(whole.client, place, name) }),
            );
        }
        _ => {}
    }
    let at = |base, dir, name| Watched { base, dir, moved: None, name, ..own_settings(whole.client) };
    found.extend(
        whole.copied.iter().map(|name| Watched { compared: compared(whole.client, name), ..at(Base::Home, "", name) }),
    );
    found.extend(
        whole
            .machine
            .iter()
            .map(|dir| Watched { kind: Kind::Directory, ..at(Base::Root, "", dir.trim_start_matches('/')) }),
    );
    found
}

fn below(client: &'static str, place: &'static StatePlace, name: &'static str) -> Watched {
    let (name, kind) = name.strip_suffix('/').map_or((name, Kind::File), |name| (name, Kind::Directory));
    Watched {
        dir: place.path,
        moved: place.moved,
        name,
        kind,
        compared: compared(client, name),
        ..own_settings(client)
    }
}

fn own_settings(client: &'static str) -> Watched {
    Watched {
        client,
        base: Base::Home,
        dir: "",
        moved: None,
        name: "",
        kind: Kind::File,
        compared: Compared::Whole,
        when: When::Always,
        runs: "the client, on its next start",
        reason: "what the next session obeys: settings, hooks, plugins, servers, instructions",
    }
}

fn compared(client: &str, name: &str) -> Compared {
    let found = others::FILES.iter().find(|(whose, file, _)| *whose == client && *file == name);
    found.map_or(Compared::Whole, |(_, _, settings)| Compared::ByKey(settings))
}

/// Returns what is protected at the top of a workspace and in its repository: what a jail protects there, which a
/// program outside every jail could still write. An agent's own memory counts only where the policy names it.
pub fn of_workspace(client: &'static str) -> Vec<Watched> {
    let rows = PROTECTED.iter().filter(|row| row.action == Action::Protect);
    let mut found: Vec<Watched> = rows.map(|row| in_workspace(client, row)).collect();
    found.extend(MEMORY.iter().map(|name| {
        let (name, kind) = name.strip_suffix('/').map_or((*name, Kind::File), |name| (name, Kind::Directory));
        Watched {
            base: Base::Workspace,
            name,
            kind,
            when: When::Named,
            runs: "the next agent that works in the directory",
            reason: "an agent's own memory, which it rewrites: what is planted there outlives the session that planted it",
            ..own_settings(client)
        }
    }));
    found
}

fn in_workspace(client: &'static str, row: &Protected) -> Watched {
    let (name, kind) = row.path.strip_suffix('/').map_or((row.path, Kind::File), |name| (name, Kind::Directory));
    // A project's own settings are written by the client as the user's are.
    let own = others::FILES.iter().find(|(whose, file, _)| {
        let dir = name.strip_suffix(file).and_then(|dir| dir.strip_suffix('/'));
        dir.is_some_and(|dir| dir.strip_prefix('.') == Some(whose)) || (name == *file && *whose == "opencode")
    });
    Watched {
        base: Base::Workspace,
        dir: if row.scope == Scope::GitDir { ".git" } else { "" },
        name,
        kind,
        compared: own.map_or(Compared::Whole, |(_, _, settings)| Compared::ByKey(settings)),
        runs: row.runs,
        reason: row.reason,
        ..own_settings(client)
    }
}

#[cfg(test)]
mod tests;

//! What is watched: the tables of `mantlet_clients` below this home, and what the policy names.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use mantlet_clients::watched::{Base, Compared, Kind, OWN, USER, Watched, When, of_client, of_workspace};
use mantlet_policy::{Policy, Watch};
use mantlet_watch::{Compare, Place, PlaceKind};

/// A place, and why it is one.
#[derive(Debug, Clone)]
pub(crate) struct Reasoned {
    pub(crate) place: Place,
    /// Whose it is: a client's id, `user`, `mantlet` or `policy`.
    pub(crate) whose: String,
    /// What executes or obeys it, and what an attacker wants of it.
    pub(crate) why: String,
}

/// Where the tables begin.
pub(crate) struct Ground<'g> {
    pub(crate) home: &'g Path,
    /// Variables that move a client's state.
    pub(crate) variable: &'g dyn Fn(&str) -> Option<OsString>,
    /// The policy's own file.
    pub(crate) policy_file: Option<&'g Path>,
    /// This program and what belongs beside it.
    pub(crate) programs: &'g [PathBuf],
}

/// Returns every place, each once.
pub(crate) fn places(policy: &Policy, ground: &Ground<'_>) -> Vec<Reasoned> {
    let usual = Watch::default();
    let said = policy.watch().unwrap_or(&usual);
    let mut all: Vec<Reasoned> = Vec::new();
    let named = policy.agents().iter().filter_map(|agent| agent.client());
    for state in mantlet_clients::STATE_DIRS {
        let is_named = named.clone().any(|client| client == state.client);
        let rows = of_client(state.client);
        // A client that is not there would be undone as it is installed.
        let is_there = |row: &Watched| is_named || beginning(row, ground).is_dir();
        all.extend(rows.iter().filter(|row| row.base == Base::Home && is_there(row)).flat_map(|row| at(row, ground)));
    }
    if let Some(path) = (ground.variable)("OPENCLAW_CONFIG_PATH").map(PathBuf::from).filter(|path| path.is_absolute()) {
        let place = place(clean(&path), PlaceKind::File, Compare::Judged);
        all.push(Reasoned { place, ..file(path, "openclaw", "the OpenClaw gateway, while it runs") });
    }
    let is_wanted = |row: &&Watched| row.base == Base::Home || said.has_system || row.client == "mantlet";
    all.extend(USER.iter().chain(OWN).filter(is_wanted).flat_map(|row| at(row, ground)));
    for agent in policy.agents() {
        all.extend(of_agent(agent.client(), agent.workspace(), said));
    }
    let own = ground.policy_file.into_iter().map(Path::to_owned).chain(ground.programs.iter().cloned());
    all.extend(own.map(|path| file(path, "mantlet", "what decides what agents may do")));
    let files = said.files.iter().filter_map(|rule| rule.path());
    all.extend(files.map(|path| match path.is_dir() {
        true => Reasoned { place: place(path.into(), PlaceKind::Directory, Compare::Whole), ..of_policy(path) },
        false => of_policy(path),
    }));
    all.sort_by(|a, b| a.place.path.cmp(&b.place.path));
    all.dedup_by(|a, b| a.place.path == b.place.path);
    all
}

/// What an agent is told at its start, and its memory. Git's own files are left out: git itself writes them as it is used,
/// and no jail can.
fn of_agent(client: Option<&str>, workspace: &Path, said: &Watch) -> Vec<Reasoned> {
    let known = mantlet_clients::STATE_DIRS.iter().map(|state| state.client).find(|id| Some(*id) == client);
    let rows = of_workspace(known.unwrap_or("openclaw")).into_iter().filter(|row| row.dir.is_empty());
    let wanted = rows.filter(|row| match row.when {
        When::Always => said.has_bootstrap,
        When::Named => said.has_memory,
    });
    wanted.filter(|row| !row.name.contains('*')).map(|row| reasoned(&row, workspace.join(row.name))).collect()
}

fn at(row: &Watched, ground: &Ground<'_>) -> Vec<Reasoned> {
    let below = beginning(row, ground);
    if !row.name.contains('*') {
        return vec![reasoned(row, below.join(row.name))];
    }
    // What is there now; the directory as a whole would be its owner's ordinary work.
    let Some((parent, _)) = row.name.rsplit_once('/').or(Some(("", row.name))) else { return Vec::new() };
    let listing = std::fs::read_dir(below.join(parent)).into_iter().flatten().flatten();
    let names = listing.filter_map(|item| Some(Path::new(parent).join(item.file_name()).to_str()?.to_owned()));
    names.filter(|name| row.matches_name(name)).map(|name| reasoned(row, below.join(name))).collect()
}

/// The directory that a row's name is below.
fn beginning(row: &Watched, ground: &Ground<'_>) -> PathBuf {
    let moved = row.moved.and_then(|(name, below)| {
        let value = PathBuf::from((ground.variable)(name)?);
        value.is_absolute().then(|| value.join(below))
    });
    moved.unwrap_or_else(|| match row.base {
        Base::Root => Path::new("/").join(row.dir),
        Base::Home | Base::Workspace => ground.home.join(row.dir),
    })
}

fn reasoned(row: &Watched, path: PathBuf) -> Reasoned {
    let kind = if row.kind == Kind::Directory { PlaceKind::Directory } else { PlaceKind::File };
    let content = if row.compared == Compared::Whole { Compare::Whole } else { Compare::Judged };
    Reasoned {
        place: place(clean(&path), kind, content),
        whose: row.client.into(),
        why: format!("{}: {}", row.runs, row.reason),
    }
}

/// Without the slashes and dots that joining may leave.
fn clean(path: &Path) -> PathBuf {
    path.components().collect()
}

fn place(path: PathBuf, kind: PlaceKind, content: Compare) -> Place {
    Place { path, kind, content }
}

fn file(path: PathBuf, whose: &str, why: &str) -> Reasoned {
    Reasoned { place: place(path, PlaceKind::File, Compare::Whole), whose: whose.into(), why: why.into() }
}

fn of_policy(path: &Path) -> Reasoned {
    file(path.to_owned(), "policy", "the policy names it")
}

//! A whole agent in a jail of its own: what its client needs beside the workspace, compiled for one run.
//!
//! The state directory is the attack's way to the next session: settings, hooks, plugins and instructions in it are
//! obeyed by a client that may run without a jail. It is shown read-only with writable holes, or writable with
//! read-only names, as the client's table says; everything else of the home is absent.

mod program;
mod state;
mod words;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use mantlet_clients::{EVERY_WHOLE, OwnSandbox};
use mantlet_policy::Agent;
use serde::Serialize;

use crate::advice::Advisor;
use crate::ids::Ids;
use crate::layout;
use crate::plan::{Owner, Place, Refusal};
use crate::request::{Command, Request};
use crate::sys;
use crate::tree::Tree;

pub(crate) use program::BIN;
pub use words::{parse_run, run_words};

/// Which network a whole agent has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Network {
    /// Its own loopback and nothing else.
    #[default]
    None,
    /// The host's, as any program of the owner has it.
    Host,
}

/// What makes a call the run of a whole agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Whole {
    /// `--network`.
    pub network: Network,
    /// `--dry-run`: says what would be done, and does nothing.
    pub is_dry: bool,
}

/// What of a run is told: in the report, and by a dry run.
#[derive(Debug, Clone, Serialize)]
pub struct Told {
    /// The client whose table was used.
    pub client: Option<&'static str>,
    /// The network.
    pub network: Network,
    /// Parts of the client's state, and how they are shown.
    pub state: Vec<String>,
    /// Where the program and what it needs lie, read-only.
    pub program: Vec<String>,
    /// Names of the variables that are passed on.
    pub env: Vec<String>,
    /// What became of the client's own sandbox of commands.
    pub own_sandbox: String,
}

/// A run, ready for the plan.
pub(crate) struct Prepared {
    pub(crate) places: Vec<Place>,
    pub(crate) trees: Vec<Tree>,
    /// Files of the private home.
    pub(crate) copies: Vec<(PathBuf, Vec<u8>)>,
    /// Symlinks of the root, and where they lead.
    pub(crate) links: Vec<(PathBuf, PathBuf)>,
    /// Variables below those of the policy.
    pub(crate) env: Vec<(OsString, OsString)>,
    pub(crate) argv: Vec<OsString>,
    pub(crate) told: Told,
    pub(crate) notes: Vec<String>,
}

/// Who asks, and for whom.
pub(crate) struct Asked<'a> {
    pub(crate) agent: &'a Agent,
    pub(crate) owner: &'a Owner,
    pub(crate) advisor: &'a Advisor,
    pub(crate) ids: Ids,
    /// Whether nothing may be made.
    pub(crate) is_dry: bool,
    /// What no state of a client may overlap: the policy, Mantlet's own state, and the vault's places.
    pub(crate) own: Vec<PathBuf>,
}

/// Finds out what a run needs, making what is missing of the client's state.
///
/// # Errors
/// A [`Refusal`]: a program or a state directory that is not there, or that would show what may not be shown.
pub(crate) fn prepare(whole: Whole, request: &Request, asked: &Asked<'_>) -> Result<Prepared, Refusal> {
    if whole.network == Network::Host && sys::landlock_abi() < 6 {
        let what = "in the host's network its abstract sockets (X11, D-Bus) are in reach, and this kernel's Landlock \
                    cannot keep them out (ABI 6)";
        return Err(Refusal::new(what).hint("run with --network none, or on Linux 6.12 or newer"));
    }
    let given = match &request.command {
        Command::Argv(words) => words.clone(),
        _ => Vec::new(),
    };
    let preset = preset(asked.agent, &given);
    let mut argv = match (given.is_empty(), preset) {
        (false, _) => given,
        (true, Some(preset)) => preset.command.iter().map(OsString::from).collect(),
        (true, None) => {
            let name = asked.agent.name();
            return Err(Refusal::new(format!("no command was given, and agent `{name}` names no client"))
                .hint("end with -- COMMAND [ARGUMENT...], or write `client = \"...\"` in its section"));
        }
    };
    let mut out = Prepared {
        places: Vec::new(),
        trees: Vec::new(),
        copies: Vec::new(),
        links: Vec::new(),
        env: environment(preset),
        argv: Vec::new(),
        told: Told {
            client: preset.map(|p| p.client),
            network: whole.network,
            state: Vec::new(),
            program: Vec::new(),
            env: Vec::new(),
            own_sandbox: "none known".into(),
        },
        notes: Vec::new(),
    };
    out.told.env = out.env.iter().map(|(name, _)| name.to_string_lossy().into_owned()).collect();
    if let Some(preset) = preset {
        out.told.own_sandbox = switch_off(preset, &mut argv, &mut out.env);
        state::add(preset, asked, &mut out)?;
        let own = asked.owner.home.join(OWN_SHARE);
        for path in preset.machine.iter().map(PathBuf::from).chain([own]) {
            if let Ok(real) = std::fs::canonicalize(&path) {
                out.places.push(Place { source: real, target: path, is_writable: false, must_be: None });
            }
        }
    }
    program::add(&mut argv, asked, &mut out)?;
    if whole.network == Network::Host {
        show_names(&mut out);
    }
    out.argv = argv;
    Ok(out)
}

/// The table of the agent's client; of an agent without one, that of the client whose program is run.
fn preset(agent: &Agent, argv: &[OsString]) -> Option<&'static mantlet_clients::Whole> {
    match agent.client() {
        Some(client) => mantlet_clients::whole(client),
        None => mantlet_clients::WHOLE.iter().find(|row| is_program_of(row, argv)),
    }
}

fn is_program_of(row: &mantlet_clients::Whole, argv: &[OsString]) -> bool {
    let name = argv.first().and_then(|program| Path::new(program).file_name());
    name.is_some_and(|name| row.command.first().is_some_and(|own| name == *own))
}

fn environment(preset: Option<&mantlet_clients::Whole>) -> Vec<(OsString, OsString)> {
    let names = EVERY_WHOLE.iter().chain(preset.map_or(&[][..], |p| p.env));
    let passed = names.filter_map(|name| Some((OsString::from(name), std::env::var_os(name)?)));
    let set = preset.map_or(&[][..], |p| p.set).iter().map(|(name, value)| (name.into(), value.into()));
    passed.chain(set).collect()
}

/// A sandbox of the client's own needs namespaces, which nothing in a jail gets: its commands would fail.
fn switch_off(
    preset: &mantlet_clients::Whole,
    argv: &mut Vec<OsString>,
    env: &mut Vec<(OsString, OsString)>,
) -> String {
    match preset.own_sandbox {
        OwnSandbox::None => "none".into(),
        OwnSandbox::Variable(name, value) => {
            env.push((name.into(), value.into()));
            format!("switched off ({name}={value}): it cannot nest")
        }
        OwnSandbox::Words { .. } if !is_program_of(preset, argv) => {
            "not the client's own program: left as it is".into()
        }
        OwnSandbox::Words { add, unless } => {
            let decides = |word: &OsString| unless.iter().any(|own| word.to_string_lossy().starts_with(own));
            if argv.iter().skip(1).any(decides) {
                return "decided by the command line".into();
            }
            argv.splice(1..1, add.iter().map(OsString::from));
            format!("switched off ({}): it cannot nest", add.join(" "))
        }
    }
}

/// Where `mantlet install` puts plugins for clients, below the home.
const OWN_SHARE: &str = ".local/share/mantlet";

/// The files of /etc that tell names on the host's network, in place of those that tell there is none.
pub(crate) const NAMES: [&str; 2] = ["/etc/hosts", "/etc/resolv.conf"];

fn show_names(out: &mut Prepared) {
    for path in NAMES.map(PathBuf::from) {
        if let Ok(source) = std::fs::canonicalize(&path) {
            out.places.push(Place { source, target: path, is_writable: false, must_be: None });
        }
    }
}

impl Prepared {
    /// Shows something read-only, if the jail does not show it already.
    fn show(&mut self, path: &Path, workspace: &Path) {
        let is_shown = layout::SYSTEM.iter().any(|system| path.starts_with(system)) || path.starts_with(workspace);
        if !is_shown && self.places.iter().all(|place| place.target != path || place.is_writable) {
            let place = Place { source: path.to_owned(), target: path.to_owned(), is_writable: false, must_be: None };
            self.places.push(place);
        }
    }
}

//! What a refusal of the jailer advises: the `mantlet allow` call for a path, or for a program that the jail hides.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use mantlet_ledger::posix_word;
pub(crate) use mantlet_policy::Advice;
use mantlet_policy::{Agent, AllowError, Grant, Host as _};

use crate::host::RealHost;
use crate::layout;
use crate::plan::{Place, Plan};

/// Which list a path would be added to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Opening {
    Read,
    Write,
}

/// The agent of a call, and the words that make a printed call speak of the same policy.
pub(crate) struct Advisor {
    agent: Agent,
    host: RealHost,
    source: Source,
}

/// Where the policy came from.
pub(crate) enum Source {
    /// Where `mantlet allow` looks by itself.
    Usual,
    /// `--policy`.
    Given(PathBuf),
    /// No file: the default for this workspace.
    Default,
}

impl Advisor {
    pub(crate) fn new(agent: &Agent, host: &RealHost, source: Source) -> Advisor {
        Advisor { agent: agent.clone(), host: host.clone(), source }
    }

    /// The agent's name.
    pub(crate) fn agent(&self) -> &str {
        self.agent.name()
    }

    /// What would open a path.
    pub(crate) fn open(&self, opening: Opening, path: &Path) -> Advice {
        if matches!(self.source, Source::Default) && self.agent.workspace().to_str().is_none() {
            return Advice::Words("no policy can name this workspace, because its path is not UTF-8: rename it".into());
        }
        let Some(text) = path.to_str().map(str::to_owned) else {
            return Advice::Words("no policy can name it, because its name is not UTF-8: rename it".into());
        };
        let grant = match opening {
            Opening::Read => Grant::Read(text),
            Opening::Write => Grant::Write(text),
        };
        mantlet_policy::advise(&self.agent, &grant, &self.host, &self.source_words(), posix_word)
    }

    /// Whether a thing of the owner's may be shown read-only though no rule names it.
    ///
    /// # Errors
    /// Why not: it holds a secret, or a rule of the owner's takes it away.
    pub(crate) fn may_show(&self, path: &Path) -> Result<(), String> {
        let Some(text) = path.to_str() else { return Err("its name is not UTF-8".into()) };
        let home = self.host.home();
        let secrets = mantlet_clients::SECRETS.iter().filter_map(|row| Some((row.path.strip_prefix("~/")?, row)));
        for (name, row) in secrets {
            let literal = name.split('*').next().unwrap_or(name);
            let place = home.join(literal);
            if place.starts_with(path) && std::fs::symlink_metadata(&place).is_ok() {
                return Err(format!("it holds {} ({})", row.path, row.what));
            }
        }
        match mantlet_policy::would_help(&self.agent, &Grant::Read(text.to_owned()), &self.host) {
            Ok(_) => Ok(()),
            Err(error) => Err(error.on_one_line()),
        }
    }

    pub(crate) fn source_words(&self) -> String {
        match &self.source {
            Source::Usual => String::new(),
            Source::Given(file) => format!(" --policy {}", posix_word(file)),
            Source::Default => format!(" --workspace {}", posix_word(self.agent.workspace())),
        }
    }

    /// For a program that could not be executed: the owner's rule that takes it away, if one does.
    pub(crate) fn denied_program(&self, plan: &Plan) -> Option<String> {
        let program = plan.argv.first().filter(|program| program.as_bytes().contains(&b'/'))?;
        let path = plan.cwd.join(OsStr::from_bytes(program.as_bytes()));
        let grant = Grant::Read(path.to_str()?.to_owned());
        match mantlet_policy::would_help(&self.agent, &grant, &self.host) {
            Err(error @ AllowError::RuleWins { .. }) => Some(error.on_one_line()),
            _ => None,
        }
    }

    /// For a program that was not found inside: the calls that would show it, if it exists outside.
    pub(crate) fn hidden_program(&self, plan: &Plan) -> Option<String> {
        let program = plan.argv.first()?;
        let found = found_outside(plan, program.as_bytes())?;
        let mut missing: Vec<PathBuf> = Vec::new();
        if !is_visible(&found, &plan.places) {
            missing.push(found.clone());
        }
        // The kernel says of a script that it is not found when it is its interpreter that is not.
        if let Some(interpreter) = interpreter(&found).filter(|i| i.is_file() && !is_visible(i, &plan.places)) {
            missing.push(interpreter);
        }
        let mut calls = Vec::new();
        for path in &missing {
            match self.open(Opening::Read, path) {
                Advice::Call(call) => calls.push(call),
                Advice::Words(why) => {
                    return Some(format!("{} exists outside the jail; {why}", posix_word(path)));
                }
            }
        }
        (!calls.is_empty()).then(|| format!("it exists outside the jail: {}", calls.join(" && ")))
    }
}

/// Where a program is outside: by its path, or in the caller's PATH.
fn found_outside(plan: &Plan, program: &[u8]) -> Option<PathBuf> {
    let name = Path::new(OsStr::from_bytes(program));
    if program.contains(&b'/') {
        return Some(plan.cwd.join(name)).filter(|path| path.is_file());
    }
    let dirs = std::env::var_os("PATH")?;
    let candidates = std::env::split_paths(&dirs).filter(|dir| dir.is_absolute()).map(|dir| dir.join(name));
    candidates.into_iter().find(|path| path.is_file())
}

fn is_visible(path: &Path, places: &[Place]) -> bool {
    places.iter().any(|place| path.starts_with(&place.target)) || layout::SYSTEM.iter().any(|s| path.starts_with(s))
}

/// The program that a script's first line names.
fn interpreter(script: &Path) -> Option<PathBuf> {
    let mut line = Vec::new();
    File::open(script).ok()?.take(256).read_to_end(&mut line).ok()?;
    let line = line.strip_prefix(b"#!")?.split(|b| *b == b'\n').next()?.trim_ascii();
    let path = line.split(|b| b.is_ascii_whitespace()).next()?;
    path.starts_with(b"/").then(|| PathBuf::from(OsStr::from_bytes(path)))
}

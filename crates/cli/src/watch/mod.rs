//! `mantlet watch`: protected files, watched for their owner. It puts together what the room `watch` notices and undoes, what
//! settings and databases of clients mean, and who is told.

mod command;
mod copy;
mod hold;
mod line;
mod meaning;
mod places;
mod run;
mod status;
mod teller;
mod watching;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use mantlet_daemon::alert::{Alerter, Settings, into_ledger};
use mantlet_ledger::{Change, Writer};
use mantlet_policy::{Host as _, Watch as Said};
use mantlet_sandbox::{Loaded, RealHost};
use mantlet_watch::{Compare, Notice, Options, Place, PlaceKind, Report, Watch, Whole};

pub(crate) use self::run::WORD;
pub(crate) use command::{WatchArgs, run};
pub(crate) use hold::Hold;
pub(crate) use watching::watching;

use crate::policy_cmd::with_hint;
use meaning::Meaning;
use places::{Ground, Reasoned, places};
use teller::Teller;

/// The policy that a watch works by, and the host.
pub(crate) struct Source {
    file: Option<PathBuf>,
    host: RealHost,
    loaded: Loaded,
}

impl Source {
    /// Reads the policy; the usual one where none is named.
    pub(crate) fn new(file: Option<&Path>) -> anyhow::Result<Source> {
        if crate::policy_cmd::is_in_jail() {
            bail!("nothing in a jail watches or accepts\nhint: ask the owner to do it outside");
        }
        let host = RealHost::new()?;
        let loaded = mantlet_sandbox::load(file, &host).map_err(|error| anyhow::anyhow!(with_hint(&error)))?;
        let loaded =
            loaded.context("there is no policy\nhint: mantlet watch works by mantlet.toml: mantlet policy check")?;
        Ok(Source { file: file.map(Path::to_owned), host, loaded })
    }

    /// As [`Source::new`], once the policy is as the baseline says; and what had to be undone for that.
    ///
    /// The attack: a policy that protects less, or none that can be read, and a kill so that the next watch obeys it.
    pub(crate) fn settled(file: Option<&Path>) -> anyhow::Result<(Source, Vec<Change>)> {
        const TRIES: usize = 8;
        let state = mantlet_sandbox::state_dir()?.join("watch");
        if crate::policy_cmd::is_in_jail() || !state.join("baseline").exists() {
            return Ok((Source::new(file)?, Vec::new()));
        }
        let host = RealHost::new()?;
        let place = |path, kind| Place { path, kind, content: Compare::Whole };
        let places = match file {
            Some(_) => vec![place(mantlet_sandbox::locate(file, &host)?, PlaceKind::File)],
            None => vec![
                place("/etc/mantlet".into(), PlaceKind::Directory),
                place(mantlet_sandbox::user_file(&host), PlaceKind::File),
            ],
        };
        // Nothing of it is signed: the rest of the baseline stays as it is.
        let mut watch = watching::open(|| Watch::open(Options::new(state.clone()), places.clone(), Box::new(Whole)))?;
        let mut undone = Undone::default();
        let paths: Vec<PathBuf> = places.iter().map(|place| place.path.clone()).collect();
        for _ in 0..TRIES {
            watch.rescan(&mut undone);
            let source = Source::new(file);
            // Somebody may have been quick. What cannot be undone is told by the watch, and stands.
            if watch.differences(&paths).is_ok_and(|differences| differences.is_empty()) {
                return Ok((source?, undone.0));
            }
        }
        Ok((Source::new(file)?, undone.0))
    }

    /// As [`Source::settled`], from the words behind [`WORD`].
    pub(crate) fn of_words(words: &[OsString]) -> anyhow::Result<(Source, Vec<Change>)> {
        let file = match words {
            [name, file] if name == "--policy" => Some(PathBuf::from(file)),
            [] => None,
            _ => bail!("the watching process takes --policy FILE"),
        };
        Source::settled(file.as_deref())
    }

    fn words(&self) -> Vec<OsString> {
        self.file.iter().flat_map(|file| [OsString::from("--policy"), file.clone().into()]).collect()
    }

    /// The owner's state directory, judged.
    fn owner(&self) -> anyhow::Result<PathBuf> {
        Ok(mantlet_sandbox::state_dir()?)
    }

    fn state(&self) -> anyhow::Result<PathBuf> {
        Ok(self.owner()?.join("watch"))
    }

    /// Whether a watch can work by the policy as it stands, where that is among what is to be accepted: none that cannot be
    /// read is, since the next watch would not begin.
    fn must_stay_usable(&self, paths: &[PathBuf]) -> anyhow::Result<()> {
        let Some(file) = self.loaded.file.as_deref() else { return Ok(()) };
        let file = file.canonicalize().unwrap_or_else(|_| file.to_owned());
        if paths.iter().any(|path| file.starts_with(path) || path == self.loaded.file.as_deref().unwrap_or(path)) {
            Source::new(self.file.as_deref()).context("a policy that cannot be used is not accepted")?;
        }
        Ok(())
    }

    fn has_baseline(&self) -> anyhow::Result<bool> {
        Ok(self.state()?.join("baseline").exists())
    }

    fn options(&self) -> anyhow::Result<Options> {
        let usual = Said::default();
        let said = self.loaded.policy.watch().unwrap_or(&usual);
        let mut options = Options::new(self.state()?);
        options.rescan = said.rescan;
        options.tries = usize::try_from(said.tries).context("too many tries")?;
        options.escalation = run::escalation(said.then);
        Ok(options)
    }

    fn places(&self) -> Vec<Reasoned> {
        let programs = programs();
        let variable = |name: &str| std::env::var_os(name);
        let policy_file = self.loaded.file.as_deref();
        let ground = Ground { home: self.host.home(), variable: &variable, policy_file, programs: &programs };
        places(&self.loaded.policy, &ground)
    }

    fn watch(&self, options: Options) -> Result<Watch, mantlet_watch::Error> {
        let agents = self.loaded.policy.agents();
        let workspaces: Vec<(&str, PathBuf)> =
            agents.iter().filter_map(|agent| Some((agent.client()?, agent.workspace().to_owned()))).collect();
        let meaning = Meaning::new(self.host.home(), &|name| std::env::var_os(name), &workspaces);
        let mut places: Vec<Place> = self.places().into_iter().map(|reasoned| reasoned.place).collect();
        let judged = places.iter().filter(|place| place.content == Compare::Judged);
        // What cannot be read takes in nothing that is known; as it stands it is compared all the same.
        let included: Vec<PathBuf> = judged.filter_map(|place| meaning.included(&place.path).ok()).flatten().collect();
        places.extend(included.into_iter().map(|path| Place { path, kind: PlaceKind::File, content: Compare::Whole }));
        Watch::open(options, places, Box::new(meaning))
    }

    fn teller(&self) -> anyhow::Result<Teller> {
        let policy = &self.loaded.policy;
        let dir = self.owner()?.join("ledger");
        let workspaces: Vec<&Path> = policy.agents().iter().map(mantlet_policy::Agent::workspace).collect();
        let ledger = Writer::open_with(&dir, &workspaces, mantlet_sandbox::ledger_keep(policy.ledger()))?;
        let alerter = match Settings::new(policy) {
            Some(settings) => {
                let settings = settings.with_vault(crate::vault::alert::lookup());
                Some(Alerter::start(settings, into_ledger(&dir, policy)?).context("cannot start what tells you")?)
            }
            None => None,
        };
        Ok(Teller { ledger, alerter, policy: policy.hash().to_owned(), state: self.owner()? })
    }
}

/// What is undone before there is anybody who tells.
#[derive(Default)]
struct Undone(Vec<Change>);

impl Report for Undone {
    fn change(&mut self, change: Change) {
        self.0.push(change);
    }

    fn halt(&mut self, _path: &Path, _tries: u64) {}

    fn notice(&mut self, _notice: Notice) {}
}

/// This program and the jailer beside it, where they are installed: where they are built, every build would be undone.
fn programs() -> Vec<PathBuf> {
    let Ok(own) = std::env::current_exe() else { return Vec::new() };
    let is_installed = own.parent().and_then(Path::file_name).is_some_and(|name| name == "bin" || name == "sbin");
    let beside = own.with_file_name("mantlet-run");
    if is_installed { vec![own, beside] } else { Vec::new() }
}

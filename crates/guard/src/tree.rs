//! The jail's own tree: what hangs where in the root that `mantlet-run` builds for the same policy.
//!
//! Nothing is built here. It says of each path whether the jail shows the host's object there, and under which rules.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use mantlet_policy::{Agent, Opened, Rules, Unresolved, layout};

/// Under which rules an object stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Area {
    /// In the workspace.
    Work,
    /// In a place of a `write` rule.
    Writable,
    /// In a place of a `read` rule.
    Readable,
    /// Programs and libraries of the system, and the few files they need.
    System,
    /// A device that holds nothing.
    Device,
}

/// Directories that each jail makes anew, beside the home.
const OWN: [&str; 6] = ["/proc", "/dev/pts", "/dev/shm", "/tmp", "/var/tmp", "/run/mantlet"];

/// The jail's tree for one agent.
pub(crate) struct Tree {
    pub(crate) workspace: PathBuf,
    pub(crate) rules: Rules,
    places: Vec<Opened>,
    system: Vec<PathBuf>,
    devices: Vec<PathBuf>,
    /// Directories of the jail's own: nothing of the host's is in them, and a path may lead through them.
    own: Vec<PathBuf>,
    /// What rules take away, or protect, outside the workspace: under its names in the jail.
    pub(crate) denied: Vec<(PathBuf, String)>,
    pub(crate) protected: Vec<(PathBuf, String)>,
}

/// What is at a path of the jail, when that is not simply what its directory holds.
pub(crate) enum At<'t> {
    /// An object of the host's, under a name of its own.
    Host(&'t Path, Area),
    /// A directory that the jail makes, because something hangs below it.
    Made,
    /// Nothing.
    Nothing,
}

impl Tree {
    pub(crate) fn new(agent: &Agent, home: &Path, rules: Rules) -> Result<Tree, Unresolved> {
        let canonical = |path: &Path| std::fs::canonicalize(path);
        let places = mantlet_policy::opened(agent, canonical);
        let system: Vec<PathBuf> = layout::system().collect();
        let opened = places.iter().map(|place| (place.source.clone(), place.target.clone()));
        let real_system = system.iter().filter(|path| !path.is_symlink()).map(|path| (path.clone(), path.clone()));
        let shown: Vec<(PathBuf, PathBuf)> = opened.chain(real_system).collect();
        let named = |rules| mantlet_policy::named_outside(rules, agent.workspace(), &shown, canonical);
        Ok(Tree {
            workspace: agent.workspace().to_owned(),
            denied: named(agent.files().deny())?,
            protected: named(agent.files().protect())?,
            own: OWN.iter().map(PathBuf::from).chain([home.to_owned()]).collect(),
            rules,
            places,
            system,
            // A terminal is the call's own.
            devices: layout::DEVICES.iter().filter(|d| **d != "tty").map(|d| Path::new("/dev").join(d)).collect(),
        })
    }

    /// Says what is at a path below a directory that the jail makes, or what hangs over a path below any other.
    pub(crate) fn at(&self, path: &Path) -> At<'_> {
        if path == self.workspace {
            return At::Host(&self.workspace, Area::Work);
        }
        // Of two places under one name the later hangs over the earlier.
        if let Some(place) = self.places.iter().rev().find(|place| place.target == path) {
            return At::Host(&place.source, if place.is_writable { Area::Writable } else { Area::Readable });
        }
        if let Some(system) = self.system.iter().find(|system| *system == path) {
            return At::Host(system, Area::System);
        }
        if let Some(device) = self.devices.iter().find(|device| *device == path) {
            return At::Host(device, Area::Device);
        }
        let targets = self.places.iter().map(|place| place.target.as_path());
        let mut all = targets
            .chain(self.system.iter().map(PathBuf::as_path))
            .chain(self.own.iter().map(PathBuf::as_path))
            .chain([self.workspace.as_path()]);
        if all.any(|target| target.starts_with(path)) { At::Made } else { At::Nothing }
    }

    /// The path of something in the workspace, relative to it.
    pub(crate) fn inside<'p>(&self, path: &'p Path) -> Option<&'p [u8]> {
        path.strip_prefix(&self.workspace).ok().map(|rest| rest.as_os_str().as_bytes())
    }

    /// The rule that takes away exactly this path of the jail.
    pub(crate) fn denying(&self, path: &Path, area: Area) -> Option<&str> {
        match (area, self.inside(path)) {
            (Area::Work, Some(inside)) => self.rules.denying(inside).map(|(rule, _)| rule),
            _ => self.denied.iter().find(|(denied, _)| denied == path).map(|(_, rule)| rule.as_str()),
        }
    }
}

//! Control groups: the kernel's own limits of memory and processes, where the host lends them.
//!
//! Version 2 where the parent group is delegated to the caller; version 1 where root finds it. Otherwise the
//! sampler and the resource limits stand alone, and the report says so.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use mantlet_policy::Limits;

use crate::tier::{Extent, Tier};

/// The groups of one call, not yet made.
pub(crate) struct Cgroups {
    paths: Vec<PathBuf>,
    writes: Vec<(PathBuf, String)>,
    why_not: String,
}

impl Cgroups {
    /// Looks where groups could be made for this call.
    pub(crate) fn plan(call: &str, limits: &Limits) -> Cgroups {
        let name = format!("mantlet-{call}");
        let mut plan = Cgroups { paths: Vec::new(), writes: Vec::new(), why_not: String::new() };
        let Ok(own) = fs::read_to_string("/proc/self/cgroup") else {
            plan.why_not = "no control groups in this kernel".into();
            return plan;
        };
        let (memory, processes) = (limits.memory.to_string(), (u64::from(limits.processes) + 1).to_string());
        if let Some(parent) = delegated(&own) {
            let group = parent.join(&name);
            for (file, value) in [("memory.max", &memory), ("memory.oom.group", &"1".into()), ("pids.max", &processes)]
            {
                plan.writes.push((group.join(file), value.clone()));
            }
            plan.paths.push(group);
        } else if rustix::process::geteuid().is_root() {
            for (controller, file, value) in
                [("memory", "memory.limit_in_bytes", &memory), ("pids", "pids.max", &processes)]
            {
                let Some(top) = version_1(&own, controller) else { continue };
                let group = top.join(&name);
                plan.writes.push((group.join(file), value.clone()));
                plan.paths.push(group);
            }
        }
        if plan.paths.is_empty() {
            plan.why_not = "no control group is delegated to this user".into();
        }
        plan
    }

    /// Removes this call's groups.
    pub(crate) fn remove_own(&self) {
        Cgroups::remove(&self.paths);
    }

    pub(crate) fn paths(&self) -> &[PathBuf] {
        &self.paths
    }

    /// Makes the groups, for the jail's init to be in before anything of the caller's runs: moved there (version 2), or
    /// to go there itself through the descriptors in the answer (version 1, see [`join`]).
    pub(crate) fn enter(&self, pid: i32, tier: Tier) -> (Extent, Vec<OwnedFd>) {
        if self.paths.is_empty() {
            return (stands_in(&self.why_not, tier), Vec::new());
        }
        match self.try_enter(pid) {
            Ok(doors) => (Extent::Full("control group"), doors),
            Err(e) => {
                Cgroups::remove(&self.paths);
                (stands_in(&format!("the control group could not be used ({e})"), tier), Vec::new())
            }
        }
    }

    fn try_enter(&self, pid: i32) -> io::Result<Vec<OwnedFd>> {
        for path in &self.paths {
            fs::create_dir(path)?;
        }
        for (file, value) in &self.writes {
            match fs::write(file, value) {
                // memory.oom.group came later than the rest.
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                other => other?,
            }
        }
        let mut doors = Vec::new();
        for path in &self.paths {
            match fs::OpenOptions::new().write(true).open(path.join("tasks")) {
                Ok(door) => doors.push(door.into()),
                Err(_) => fs::write(path.join("cgroup.procs"), pid.to_string())?,
            }
        }
        Ok(doors)
    }

    /// Removes groups. Their processes are dead, but the kernel may take a moment to let go of them.
    pub(crate) fn remove(paths: &[PathBuf]) {
        let deadline = Instant::now() + Duration::from_secs(2);
        for path in paths {
            while let Err(e) = fs::remove_dir(path) {
                if e.kind() != io::ErrorKind::ResourceBusy || Instant::now() > deadline {
                    break;
                }
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }
}

/// Goes into a group of version 1. A process that moves itself, thread by thread, and is one thread, takes no lock; to
/// move another one waits for every processor's grace period, ten milliseconds on an idle machine.
pub(crate) fn join(door: OwnedFd) -> io::Result<()> {
    io::Write::write_all(&mut fs::File::from(door), b"0")
}

/// What is left without a control group.
fn stands_in(why: &str, tier: Tier) -> Extent {
    let rest = match tier {
        Tier::Full => "resource limits and a sampler stand in",
        Tier::Landlock => "wall clock, output, bytes written and the limits of single processes only",
    };
    Extent::Partial(format!("{why}: {rest}"))
}

/// The parent of our own version 2 group, if we may make groups there and it hands on both controllers.
fn delegated(own: &str) -> Option<PathBuf> {
    let inside = own.lines().find_map(|l| l.strip_prefix("0::"))?;
    let mount = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"]
        .into_iter()
        .find(|m| Path::new(m).join("cgroup.procs").exists())?;
    let parent = Path::new(mount).join(inside.trim_start_matches('/')).parent()?.to_owned();
    let controllers = fs::read_to_string(parent.join("cgroup.subtree_control")).ok()?;
    let has = |name| controllers.split_ascii_whitespace().any(|c| c == name);
    let access = rustix::fs::Access::WRITE_OK;
    (has("memory") && has("pids") && rustix::fs::access(parent.join("cgroup.procs"), access).is_ok()).then_some(parent)
}

fn version_1(own: &str, controller: &str) -> Option<PathBuf> {
    let inside = own.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let names = fields.next()?;
        names.split(',').any(|n| n == controller).then(|| fields.next())?
    })?;
    let top = Path::new("/sys/fs/cgroup").join(controller).join(inside.trim_start_matches('/'));
    top.join("cgroup.procs").exists().then_some(top)
}

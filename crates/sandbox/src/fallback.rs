//! The tier `landlock`: no namespaces, so what needs a mount cannot be had, and a run that needs it is refused.

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use crate::ids::Mapping;
use crate::journal::State;
use crate::plan::{Place, Plan};
use crate::sys::{self, Wait};
use crate::tier::Tier;

/// The least Landlock ABI: below 6 a signal to a process outside could not be refused.
const LEAST_ABI: u32 = 6;

/// The lists of children, for the processes of this caller.
const CHILDREN: &str = "/proc/thread-self/children";

/// Refuses a run whose policy this tier cannot enforce.
pub(crate) fn check(plan: &Plan) -> Result<(), String> {
    let abi = sys::landlock_abi();
    if abi < LEAST_ABI {
        return Err(format!("the tier `landlock` needs Landlock ABI {LEAST_ABI}, this kernel has {abi}"));
    }
    if plan.ids.mapping == Mapping::Idmapped {
        return Err("the workspace belongs to root, and ids are mapped only in the tier `full`".into());
    }
    // Without a pid namespace they are how everything a command started is found and killed.
    if !Path::new(CHILDREN).exists() {
        return Err(format!("the tier `landlock` needs {CHILDREN}, which this kernel or container does not show"));
    }
    if plan.accepts_no_deny {
        return Ok(());
    }
    if let Some(spot) = plan.denied.iter().chain(&plan.protected).next() {
        return Err(format!(
            "the tier `landlock` cannot deny or protect {:?} inside a writable place (rule {:?})\nhint: set accept = [\"deny\"] for agent {:?} to run without that protection",
            spot.path, spot.rule, plan.agent
        ));
    }
    Ok(())
}

/// What the owner can do where the tier `full` is not to be had.
pub(crate) fn way_out(plan: &Plan) -> String {
    let doctor = "run `mantlet doctor` for the cause and the fix";
    match (plan.ids.mapping, plan.least_tier) {
        (Mapping::Idmapped, _) => format!(
            "{doctor}, or give the workspace to an ordinary user: chown -R USER {}",
            crate::text::shell_word(&plan.workspace)
        ),
        (_, Tier::Full) => format!("{doctor}, or set tier = \"landlock\" for this agent"),
        (_, Tier::Landlock) => doctor.to_owned(),
    }
}

/// Gives the run a HOME and a TMPDIR of its own: without mounts the real ones would be the host's.
pub(crate) fn prepare(plan: &mut Plan, state: &State) -> io::Result<()> {
    let top = private(state, &plan.call, plan.ids.mapping);
    let build = |path: &Path| fs::DirBuilder::new().mode(0o700).create(path);
    if let (Mapping::Caller, Some(parent)) = (plan.ids.mapping, top.parent()) {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
    }
    // One that exists is somebody else's.
    build(&top)?;
    for (name, variable) in [("home", &b"HOME="[..]), ("tmp", &b"TMPDIR="[..])] {
        let path = top.join(name);
        build(&path)?;
        give(&path, plan)?;
        plan.env.retain(|line| !line.as_bytes().starts_with(variable));
        let mut line = variable.to_vec();
        line.extend_from_slice(path.as_os_str().as_bytes());
        plan.env.push(CString::new(line)?);
        plan.places.push(Place { source: path.clone(), target: path, is_writable: true, must_be: None });
    }
    if plan.way_out.is_some() && !plan.is_unconfined {
        let agent = &plan.agent;
        plan.notes.push(format!(
            "there is no way out in the tier `landlock`, which cannot confine it by name: set accept = [\"unconfined\"] for \
             agent {agent:?} to give it the host's whole network"
        ));
    }
    // Last: until here nobody but the caller could reach into it.
    give(&top, plan)
}

fn give(path: &Path, plan: &Plan) -> io::Result<()> {
    match plan.ids.mapping {
        Mapping::Caller => Ok(()),
        _ => std::os::unix::fs::chown(path, Some(plan.ids.uid), Some(plan.ids.gid)),
    }
}

/// Below root's own state directory the jail's uid could not reach it.
fn private(state: &State, call: &str, mapping: Mapping) -> PathBuf {
    match mapping {
        Mapping::Caller => state.top.join("private").join(call),
        _ => Path::new("/tmp").join(format!("mantlet-{call}")),
    }
}

/// Removes what `prepare` made, whichever caller it made it for.
pub(crate) fn remove_private(state: &State, call: &str) {
    drop(fs::remove_dir_all(private(state, call, Mapping::Caller)));
    if rustix::process::geteuid().is_root() {
        drop(fs::remove_dir_all(private(state, call, Mapping::Owner)));
    }
}

/// Kills everything below this process, which is a child subreaper, so orphans come back to it.
/// Answers how `init` ended, and whether nothing is left.
pub(crate) fn kill_tree(init: i32) -> (i32, bool) {
    let own = rustix::process::getpid().as_raw_nonzero().get();
    // Let go by itself first, if it has: its status is the command's.
    let mut code = sys::reap(init, Wait::Poll).ok().flatten().map(|ended| ended.code);
    for _ in 0..500 {
        let is_done = kill_below(own) == 0;
        while let Ok(Some(ended)) = sys::reap(-1, Wait::Poll) {
            if ended.pid == init {
                code = Some(ended.code);
            }
        }
        if is_done {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    (code.unwrap_or(125), descendants(own).is_empty())
}

/// Kills what descends from a process now. Answers how many these were.
pub(crate) fn kill_below(root: i32) -> usize {
    let children = descendants(root);
    // Stopped first, so that nothing is forked between the listing and the kill.
    for signal in [libc::SIGSTOP, libc::SIGKILL] {
        for pid in &children {
            drop(sys::kill(*pid, signal));
        }
    }
    children.len()
}

fn descendants(root: i32) -> Vec<i32> {
    let mut out = Vec::new();
    let mut open = vec![root];
    while let Some(pid) = open.pop() {
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        for child in children.split_ascii_whitespace().filter_map(|c| c.parse::<i32>().ok()) {
            out.push(child);
            open.push(child);
        }
    }
    out
}

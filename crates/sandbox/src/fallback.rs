//! The tier `landlock`: no namespaces, so what needs a mount cannot be had, and a run that needs it is refused.

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;

use crate::ids::Mapping;
use crate::journal::State;
use crate::plan::{Place, Plan};
use crate::sys::{self, Wait};

/// The least Landlock ABI: below 6 a signal to a process outside could not be refused.
const LEAST_ABI: u32 = 6;

/// Refuses a run whose policy this tier cannot enforce.
pub(crate) fn check(plan: &Plan) -> Result<(), String> {
    let abi = sys::landlock_abi();
    if abi < LEAST_ABI {
        return Err(format!("the tier `landlock` needs Landlock ABI {LEAST_ABI}, this kernel has {abi}"));
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

/// Gives the run a HOME and a TMPDIR of its own: without mounts the real ones would be the host's.
pub(crate) fn prepare(plan: &mut Plan, state: &State) -> io::Result<()> {
    let top = private(state, &plan.call);
    for (name, variable) in [("home", &b"HOME="[..]), ("tmp", &b"TMPDIR="[..])] {
        let path = top.join(name);
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&path)?;
        if plan.ids.mapping != Mapping::Caller {
            for path in [&top, &path] {
                std::os::unix::fs::chown(path, Some(plan.ids.uid), Some(plan.ids.gid))?;
            }
        }
        plan.env.retain(|line| !line.as_bytes().starts_with(variable));
        let mut line = variable.to_vec();
        line.extend_from_slice(path.as_os_str().as_bytes());
        plan.env.push(CString::new(line)?);
        plan.places.push(Place { source: path.clone(), target: path, is_writable: true, must_be: None });
    }
    Ok(())
}

fn private(state: &State, call: &str) -> PathBuf {
    state.top.join("private").join(call)
}

/// Removes what `prepare` made.
pub(crate) fn remove_private(state: &State, call: &str) {
    drop(fs::remove_dir_all(private(state, call)));
}

/// Kills everything below this process, which is a child subreaper, so orphans come back to it.
/// Answers how `init` ended.
pub(crate) fn kill_tree(init: i32) -> i32 {
    let own = rustix::process::getpid().as_raw_nonzero().get();
    // Let go by itself first, if it has: its status is the command's.
    let mut code = sys::reap(init, Wait::Poll).ok().flatten().map(|ended| ended.code);
    for _ in 0..500 {
        let children = descendants(own);
        // Stopped first, so that nothing is forked between the listing and the kill.
        for signal in [libc::SIGSTOP, libc::SIGKILL] {
            for pid in &children {
                drop(sys::kill(*pid, signal));
            }
        }
        while let Ok(Some(ended)) = sys::reap(-1, Wait::Poll) {
            if ended.pid == init {
                code = Some(ended.code);
            }
        }
        if children.is_empty() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    code.unwrap_or(125)
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

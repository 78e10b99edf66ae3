//! Names that are exchanged while the guard decides: it never allows what neither state would allow.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use mantlet_guard::{Decision, Guard, ToolCall};
use mantlet_sandbox::RealHost;
use rustix::fs::{CWD, RenameFlags};

use crate::asks::{AS_IT_IS, TOOLS, policy};
use crate::chance::Chance;

/// Decisions for each pair of states.
const EACH: usize = 160;

/// Two states of one name, and what is asked of it: `SLOT` is the name.
struct Race {
    kind: &'static str,
    act: &'static str,
    states: [State; 2],
    path: &'static str,
}

#[derive(Clone, Copy)]
enum State {
    /// A symlink to this, below the world.
    Link(&'static str),
    /// A hard link of this.
    Hard(&'static str),
    /// A directory with one thing in it: its name, and where a symlink of that name leads.
    DirWithLink(&'static str, &'static str),
    /// A directory with one plain file in it.
    DirWithFile(&'static str),
    /// A plain file.
    Plain,
}

use State::{DirWithFile, DirWithLink, Hard, Link, Plain};

const RACES: &[Race] = &[
    Race { kind: "race-closed", act: "read", states: [Link("outside/two.txt"), Hard("work/a/.env")], path: "SLOT" },
    Race {
        kind: "race-closed",
        act: "read",
        states: [DirWithLink("x", "outside/two.txt"), Link("outside/d")],
        path: "SLOT/x",
    },
    Race { kind: "race-closed", act: "read", states: [Link("work/private/in"), Link("outside/d")], path: "SLOT/x" },
    Race {
        kind: "race-closed",
        act: "write",
        states: [Link("work/b/AGENTS2/AGENTS.md"), Link("read/f")],
        path: "SLOT",
    },
    Race {
        kind: "race-closed",
        act: "write",
        states: [DirWithLink("x", "outside/two.txt"), DirWithLink("x", "read/f")],
        path: "SLOT/x",
    },
    Race {
        kind: "race-closed",
        act: "read",
        states: [DirWithLink("x", "work/a/.env"), Link("outside")],
        path: "SLOT/x/../d/x",
    },
    Race { kind: "race-closed", act: "list", states: [Link("outside/d"), Link("work/private")], path: "SLOT/." },
    Race { kind: "race-open", act: "read", states: [Plain, Link("work/a/ok.txt")], path: "SLOT" },
    Race {
        kind: "race-open",
        act: "read",
        states: [DirWithFile("x"), DirWithLink("x", "work/a/ok.txt")],
        path: "SLOT/x",
    },
    Race { kind: "race-open", act: "write", states: [Plain, Plain], path: "SLOT" },
    Race { kind: "race-open", act: "create", states: [DirWithFile("x"), DirWithFile("y")], path: "SLOT/new" },
    Race { kind: "race-open", act: "list", states: [DirWithFile("x"), Link("work/b/fine")], path: "SLOT" },
    Race { kind: "race-mixed", act: "read", states: [Plain, Link("outside/two.txt")], path: "SLOT" },
    Race { kind: "race-mixed", act: "write", states: [Plain, Link("work/b/AGENTS2/AGENTS.md")], path: "SLOT" },
];

pub(crate) fn run(
    world: &Path,
    chance: &mut Chance,
    counts: &mut BTreeMap<&'static str, [usize; 2]>,
    wrong: &mut Vec<String>,
) {
    for (name, text) in [
        ("outside/two.txt", "2"),
        ("outside/d/x", "x"),
        ("read/f", "f"),
        ("work/b/AGENTS2/AGENTS.md", "a"),
        ("work/b/fine/f", "f"),
    ] {
        fs::create_dir_all(world.join(name).parent().unwrap()).unwrap();
        fs::write(world.join(name), text).unwrap();
    }
    let policy = mantlet_sandbox::load(Some(&policy(world)), &RealHost::new().unwrap()).unwrap().unwrap().policy;
    let guard = Guard::with_tools(policy.agent("main").unwrap(), &world.join("home"), TOOLS, AS_IT_IS).unwrap();
    let cwd = world.join("work");
    for (index, race) in RACES.iter().enumerate() {
        let slots = [cwd.join(format!("slot{index}")), cwd.join(format!("other{index}"))];
        for (state, slot) in race.states.iter().zip(&slots) {
            make(world, *state, slot);
        }
        let path = race.path.replace("SLOT", &format!("slot{index}"));
        let input = serde_json::json!({ "path": path });
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| swap(&slots, &is_over));
            for _ in 0..EACH {
                // Not in step with the other side.
                (0..chance.below(2000)).for_each(|_| std::hint::spin_loop());
                let decision = guard.decide(&ToolCall { tool: race.act, input: &input, cwd: &cwd, mcp_server: None });
                let is_allowed = matches!(decision, Decision::Allow(_));
                counts.entry(race.kind).or_default()[usize::from(!is_allowed)] += 1;
                if is_allowed && race.kind == "race-closed" {
                    wrong.push(format!("race {index} {} {path}: {decision:?}", race.act));
                }
            }
            is_over.store(true, Ordering::SeqCst);
        });
    }
}

/// Exchanges two names without a moment in which one is missing.
fn swap(slots: &[PathBuf; 2], is_over: &AtomicBool) {
    while !is_over.load(Ordering::SeqCst) {
        rustix::fs::renameat_with(CWD, &slots[0], CWD, &slots[1], RenameFlags::EXCHANGE).unwrap();
    }
}

fn make(world: &Path, state: State, at: &Path) {
    match state {
        Link(to) => symlink(world.join(to), at).unwrap(),
        Hard(from) => fs::hard_link(world.join(from), at).unwrap(),
        DirWithLink(name, to) => {
            fs::create_dir(at).unwrap();
            symlink(world.join(to), at.join(name)).unwrap();
        }
        DirWithFile(name) => {
            fs::create_dir(at).unwrap();
            fs::write(at.join(name), "x").unwrap();
        }
        Plain => fs::write(at, "x").unwrap(),
    }
}

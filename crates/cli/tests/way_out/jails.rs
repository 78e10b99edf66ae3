//! Jails as users have them: a policy in a file, `mantlet exec`, and the ledger to read what was told.

use std::cell::Cell;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::world::agent::Agent;
use crate::world::bypass::{Inside, Jails};
use crate::world::ground::{World, left_open};

/// An ordinary user, in the world.
const USER: u32 = 1000;

/// Who calls Mantlet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Who {
    /// Root of the world, for a workspace of an ordinary user.
    Root,
    /// An ordinary user.
    User,
}

impl Who {
    /// The one of this name.
    pub(crate) fn named(name: &str) -> Who {
        [Who::Root, Who::User].into_iter().find(|who| format!("{who:?}") == name).unwrap()
    }
}

/// Everybody that it can be tried as: a world of one user has no root that could give a jail to another.
pub(crate) fn everybody() -> &'static [Who] {
    if rustix::process::geteuid().is_root() { &[Who::User, Who::Root] } else { &[Who::User] }
}

/// Jails of somebody, in a world.
pub(crate) struct Real<'a> {
    world: &'a World,
    who: Who,
    number: Cell<u32>,
}

/// Where one jail's files are.
struct Place {
    top: PathBuf,
    who: Who,
}

impl Place {
    fn policy(&self) -> PathBuf {
        self.top.join("mantlet.toml")
    }

    /// `mantlet` as the one who calls, at the end of a command.
    fn mantlet(&self, mut command: Command) -> Command {
        if self.who == Who::User {
            // Through another user: who is somebody else's 0 would pass for a root.
            for id in [USER + 1, USER] {
                command.args(["unshare", "--user", &format!("--map-user={id}"), &format!("--map-group={id}"), "--"]);
            }
        }
        command.arg(env!("CARGO_BIN_EXE_mantlet"));
        command.env_clear().env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin").env("LANG", "C.UTF-8");
        command.env("HOME", &self.top).env("XDG_STATE_HOME", self.top.join("state"));
        command
    }

    /// `mantlet exec` of this place's policy, at the end of a command.
    fn exec(&self, command: Command) -> Command {
        let mut command = self.mantlet(command);
        command.args(["exec", "--agent", "main", "--policy"]).arg(self.policy());
        command.arg("--report").arg(self.top.join("report.json")).arg("--cwd").arg(self.top.join("work")).arg("--");
        command
    }
}

impl<'a> Real<'a> {
    pub(crate) fn new(world: &'a World, who: Who) -> Self {
        Real { world, who, number: Cell::new(0) }
    }

    fn place(&self, role: &str, egress: &str) -> Place {
        self.number.set(self.number.get() + 1);
        let top = self.world.scratch.join(format!("{:?}{}", self.who, self.number.get()));
        let work = top.join("work");
        fs::create_dir_all(&work).unwrap();
        fs::create_dir(top.join("state")).unwrap();
        fs::set_permissions(&top, fs::Permissions::from_mode(0o755)).unwrap();
        if self.who == Who::Root {
            chown(&work, Some(USER), Some(USER)).unwrap();
        }
        let place = Place { top, who: self.who };
        let work = work.display();
        let text = format!(
            "version = 1\n[agent.main]\nrole = \"{role}\"\nworkspace = \"{work}\"\n[agent.main.egress]\n{egress}\n"
        );
        fs::write(place.policy(), text).unwrap();
        place
    }

    pub(crate) fn begin(&self, role: &str, egress: &str) -> Jail {
        self.begin_at(self.place(role, egress))
    }

    /// One whose way out the daemon serves, which is started first.
    pub(crate) fn begin_with_daemon(&self, egress: &str) -> (Jail, Daemon) {
        let place = self.place("builder", egress);
        let daemon = Daemon::start(&place);
        (self.begin_at(place), daemon)
    }

    fn begin_at(&self, place: Place) -> Jail {
        // Left open in it: a connection of the host.
        let mut command = place.exec(left_open());
        Jail { agent: Some(Agent::start(&mut command)), place }
    }
}

impl Jails for Real<'_> {
    const ARE_REAL: bool = true;

    fn start(&self, role: &str, egress: &str) -> Box<dyn Inside> {
        Box::new(self.begin(role, egress))
    }

    fn refusal(&self, egress: &str) -> Option<String> {
        let place = self.place("builder", egress);
        let output = place.exec(Command::new("env")).arg("/bin/true").stdin(Stdio::null()).output().unwrap();
        match output.status.code() {
            Some(0) => None,
            Some(125) => Some(String::from_utf8_lossy(&output.stderr).into_owned()),
            other => panic!("{egress}: {other:?}: {}", String::from_utf8_lossy(&output.stderr)),
        }
    }
}

/// `mantlet daemon`.
pub(crate) struct Daemon(Child);

impl Daemon {
    fn start(place: &Place) -> Self {
        let mut command = place.mantlet(Command::new("env"));
        let mut child = command.arg("daemon").stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stderr.take().unwrap()).read_line(&mut line).unwrap();
        assert!(line.contains("serves the ways out"), "{line}");
        Daemon(child)
    }

    /// Kills it without a word.
    pub(crate) fn kill(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.end();
    }
}

/// One that runs.
pub(crate) struct Jail {
    agent: Option<Agent>,
    place: Place,
}

impl Jail {
    /// Puts another way out into its policy.
    pub(crate) fn rewrite(&self, from: &str, to: &str) {
        let text = fs::read_to_string(self.place.policy()).unwrap();
        assert!(text.contains(from), "{text}");
        fs::write(self.place.policy(), text.replacen(from, to, 1)).unwrap();
    }

    /// A daemon for it.
    pub(crate) fn daemon(&self) -> Daemon {
        Daemon::start(&self.place)
    }

    /// What the ledger has of its way out so far.
    pub(crate) fn entries(&self) -> Vec<serde_json::Value> {
        entries(&self.place.top)
    }

    /// Where Mantlet's state is.
    pub(crate) fn state(&self) -> PathBuf {
        self.place.top.join("state/mantlet")
    }

    /// Ends it, and returns what the ledger then has of its way out.
    pub(crate) fn end(mut self) -> Vec<serde_json::Value> {
        drop(self.agent.take());
        entries(&self.place.top)
    }
}

fn entries(top: &Path) -> Vec<serde_json::Value> {
    let text = fs::read_to_string(top.join("state/mantlet/ledger/ledger.jsonl")).unwrap_or_default();
    let entries = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    entries.filter(|entry| entry["kind"] == "egress").collect()
}

impl Inside for Jail {
    fn agent(&self) -> &Agent {
        self.agent.as_ref().unwrap()
    }

    fn refusals(&self) -> usize {
        let entries = entries(&self.place.top);
        let refused = entries.iter().filter(|entry| entry["outcome"] == "refused");
        refused.map(|entry| usize::try_from(entry["count"].as_u64().unwrap()).unwrap()).sum()
    }
}

//! The validated policy: what each agent may do, and the line of the file that says so.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::alert::Alert;
use crate::egress::Egress;
use crate::evidence::{Ledger, Watch};
use crate::sections::{Credential, Dlp, Handoff, NamedAction, Publish};

/// What validation needs to know of the host it judges for.
pub trait Host {
    /// Returns the owner's home directory, canonical.
    fn home(&self) -> &Path;
    /// Returns the state directories of agent clients, canonical: a workspace may not contain one.
    fn state_dirs(&self) -> &[PathBuf];
    /// Resolves every symlink of an existing path.
    ///
    /// # Errors
    /// The error of `realpath(3)`.
    fn canonical(&self, path: &Path) -> std::io::Result<PathBuf>;
    /// Returns where agent clients keep credentials inside and beside their state directories: no rule opens these.
    fn secrets(&self) -> &[PathBuf] {
        &[]
    }
    /// Returns where the vault's keys are, and where it puts what it opened for a service: no jail shows these.
    fn vault(&self) -> &[PathBuf] {
        &[]
    }
}

/// What an agent is for: a preset of a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Reads the world; no exec, writes only `outbox/`.
    Scout,
    /// Makes things: exec jailed, workspace read-write.
    Builder,
    /// Runs the system: as builder, plus named actions after the owner's yes.
    Operator,
    /// Talks to strangers: no exec, its own memory read-write.
    Public,
}

/// The least enforcement an agent may run with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tier {
    /// Landlock and seccomp only: nothing inside an allowed directory can be denied.
    Landlock,
    /// Namespaces, mounts, Landlock, seccomp and limits.
    Full,
}

/// What the end-of-call review does with a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Review {
    /// Names it in the report and leaves it.
    Report,
    /// Moves it out of the workspace.
    Quarantine,
    /// Moves it out of the workspace and makes the call fail with exit code 125.
    Fail,
}

/// Whether commands may run at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exec {
    /// In the jail.
    Jailed,
    /// Never: the role has no exec.
    Refused,
}

/// Where a rule comes from, for denials and `explain`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The role's preset.
    Role(Role),
    /// The built-in defaults that every agent has.
    Builtin,
    /// A line of the policy file, counted from 1.
    Line(usize),
}

/// One path rule of `[agent.X.files]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathRule {
    pub(crate) pattern: String,
    pub(crate) path: Option<PathBuf>,
    pub(crate) origin: Origin,
}

impl PathRule {
    /// Returns the pattern: in `read` and `write` as it was written; in `deny` and `protect` a glob, relative to the
    /// workspace where it lies inside, and without a trailing `/`.
    pub fn pattern(&self) -> &str {
        &self.pattern
    }
    /// Returns the absolute, lexically normal path when the pattern has no wildcard.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }
    /// Returns where the rule was written.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }
}

/// The file rules of an agent, beyond its role's preset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    pub(crate) read: Vec<PathRule>,
    pub(crate) write: Vec<PathRule>,
    pub(crate) deny: Vec<PathRule>,
    pub(crate) protect: Vec<PathRule>,
    pub(crate) review: Review,
    pub(crate) is_workspace_writable: bool,
}

impl Files {
    /// Returns what is readable outside the workspace. Literal paths only.
    pub fn read(&self) -> &[PathRule] {
        &self.read
    }
    /// Returns what is writable: for a builder beyond the workspace, for a scout or public inside it. Literal paths only.
    pub fn write(&self) -> &[PathRule] {
        &self.write
    }
    /// Returns what is absent even inside a readable place: globs, relative to the workspace, or absolute.
    pub fn deny(&self) -> &[PathRule] {
        &self.deny
    }
    /// Returns what is readable but not writable: globs, relative to the workspace, or absolute.
    pub fn protect(&self) -> &[PathRule] {
        &self.protect
    }
    /// Returns what the review does with a finding.
    pub fn review(&self) -> Review {
        self.review
    }
    /// Returns whether the role may write its whole workspace.
    pub fn is_workspace_writable(&self) -> bool {
        self.is_workspace_writable
    }
}

/// The environment of a jailed command beyond HOME, USER, PATH, LANG, TERM and TZ.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Env {
    pub(crate) pass: Vec<String>,
    pub(crate) set: BTreeMap<String, String>,
}

impl Env {
    /// Returns the names whose values are passed from the caller's environment.
    pub fn pass(&self) -> &[String] {
        &self.pass
    }
    /// Returns the names the policy itself gives a value.
    pub fn set(&self) -> &BTreeMap<String, String> {
        &self.set
    }
}

/// What one call may use up. Every limit has a default; none can be switched off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Anonymous and shared memory of the whole jail, its tmpfs and memfds, in bytes.
    pub memory: u64,
    /// Processes and threads at one time.
    pub processes: u32,
    /// Wall clock of one call.
    pub time: Duration,
    /// CPU time of one call, over all processes.
    pub cpu: Duration,
    /// Open files per process.
    pub open_files: u64,
    /// Largest file, in bytes.
    pub file_size: u64,
    /// Bytes written to the workspace and other writable places.
    pub disk: u64,
    /// Files made in the workspace and other writable places.
    pub disk_files: u64,
    /// Private tmpfs (/tmp, HOME, /dev/shm), in bytes.
    pub tmpfs: u64,
    /// Bytes of standard output and standard error.
    pub output: u64,
}

impl Default for Limits {
    fn default() -> Self {
        const GIB: u64 = 1 << 30;
        Limits {
            memory: 2 * GIB,
            processes: 256,
            time: Duration::from_secs(600),
            cpu: Duration::from_secs(1200),
            open_files: 1024,
            file_size: 4 * GIB,
            disk: 8 * GIB,
            disk_files: 500_000,
            tmpfs: GIB,
            output: GIB,
        }
    }
}

/// One agent under the policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agent {
    pub(crate) name: String,
    pub(crate) role: Role,
    pub(crate) client: Option<String>,
    pub(crate) workspace: PathBuf,
    pub(crate) tier: Tier,
    pub(crate) accept: Vec<Accept>,
    pub(crate) files: Files,
    pub(crate) env: Env,
    pub(crate) limits: Limits,
    pub(crate) tools: Vec<String>,
    pub(crate) egress: Egress,
    pub(crate) publish: Publish,
    pub(crate) dlp: Dlp,
    pub(crate) actions: Vec<NamedAction>,
    pub(crate) lines: BTreeMap<String, usize>,
}

/// An exception the owner takes knowingly, by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accept {
    /// Run in tier `landlock` although a deny or protect rule cannot be enforced there.
    Deny,
    /// Run in tier `landlock` with the host's whole network: addresses and names are confined in tier `full` only.
    Unconfined,
}

impl Agent {
    /// Returns the name of the section.
    pub fn name(&self) -> &str {
        &self.name
    }
    /// Returns the role.
    pub fn role(&self) -> Role {
        self.role
    }
    /// Returns the client it runs in, when the section names one.
    pub fn client(&self) -> Option<&str> {
        self.client.as_deref()
    }
    /// Returns the workspace, absolute and canonical.
    pub fn workspace(&self) -> &Path {
        &self.workspace
    }
    /// Returns the least tier the agent may run with.
    pub fn tier(&self) -> Tier {
        self.tier
    }
    /// Returns whether the owner accepted this exception.
    pub fn accepts(&self, what: Accept) -> bool {
        self.accept.contains(&what)
    }
    /// Returns whether commands may run.
    pub fn exec(&self) -> Exec {
        self.role.preset().exec
    }
    /// Returns the file rules.
    pub fn files(&self) -> &Files {
        &self.files
    }
    /// Returns the environment rules.
    pub fn env(&self) -> &Env {
        &self.env
    }
    /// Returns the limits.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }
    /// Returns the tools allowed by name beyond the client's known ones.
    pub fn tools(&self) -> &[String] {
        &self.tools
    }
    /// Returns where it may go.
    pub fn egress(&self) -> &Egress {
        &self.egress
    }
    /// Returns what may be reached inside from outside.
    pub fn publish(&self) -> &Publish {
        &self.publish
    }
    /// Returns what is done with secrets on their way.
    pub fn dlp(&self) -> Dlp {
        self.dlp
    }
    /// Returns the commands that may run outside the jail after the owner's yes.
    pub fn actions(&self) -> &[NamedAction] {
        &self.actions
    }
    /// Returns the line where a key was written, as `role`, `limits.memory`, `env.pass.LANG` or `egress.allow.github.com:443`.
    pub fn line(&self, key: &str) -> Option<usize> {
        self.lines.get(key).copied()
    }
}

/// A whole validated policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    pub(crate) agents: Vec<Agent>,
    pub(crate) credentials: Vec<Credential>,
    pub(crate) handoffs: Vec<Handoff>,
    pub(crate) ledger: Option<Ledger>,
    pub(crate) watch: Option<Watch>,
    pub(crate) alert: Option<Alert>,
    pub(crate) hash: String,
}

impl Policy {
    /// Returns the agents in the order of the file.
    pub fn agents(&self) -> &[Agent] {
        &self.agents
    }
    /// Returns the credentials, by name. Nothing enforces them yet.
    pub fn credentials(&self) -> &[Credential] {
        &self.credentials
    }
    /// Returns the handoffs. Nothing enforces them yet.
    pub fn handoffs(&self) -> &[Handoff] {
        &self.handoffs
    }
    /// Returns how the evidence is kept, where the file says so.
    pub fn ledger(&self) -> Option<&Ledger> {
        self.ledger.as_ref()
    }
    /// Returns what must not change, where the file says so.
    pub fn watch(&self) -> Option<&Watch> {
        self.watch.as_ref()
    }
    /// Returns how the owner is told.
    pub fn alert(&self) -> Option<&Alert> {
        self.alert.as_ref()
    }
    /// Returns the SHA-256 of the compiled policy, in lower-case hex: the same for the same meaning, whatever the comments and order.
    pub fn hash(&self) -> &str {
        &self.hash
    }
    /// Returns the agent of that name.
    pub fn agent(&self, name: &str) -> Option<&Agent> {
        self.agents.iter().find(|a| a.name == name)
    }
    /// Returns the only agent that runs in `client`, if there is exactly one.
    pub fn agent_for_client(&self, client: &str) -> Option<&Agent> {
        let mut found = self.agents.iter().filter(|a| a.client.as_deref() == Some(client));
        found.next().filter(|_| found.next().is_none())
    }
}

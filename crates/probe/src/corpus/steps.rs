//! What a case plants before its attack: files, variables, listeners, processes, keys, descriptors.

use std::collections::BTreeMap;

use serde::Deserialize;

/// What is planted in the throwaway world before the attack, by its owner.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Step {
    /// A file, with its parents.
    File(FileStep),
    /// A directory, with its parents.
    Dir(String),
    /// A shell command of the owner's.
    Sh(String),
    /// A variable of the environment that the agent's command is started from.
    Env(EnvStep),
    /// A listener that answers each caller with a text: `unix:PATH`, `abstract:NAME`, `tcp:ADDR`, `udp:ADDR`.
    Listen(ListenStep),
    /// A process of the owner's that sleeps; its number is `{pid:NAME}`.
    Process(ProcessStep),
    /// A key in a keyring of the owner's.
    Key(KeyStep),
    /// An object of System V or POSIX interprocess communication.
    Ipc(IpcStep),
    /// A descriptor that the agent's command inherits.
    Fd(FdStep),
    /// The agent's command is started on a terminal.
    Terminal(TerminalStep),
}

/// A planted file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FileStep {
    /// Its path.
    pub path: String,
    /// Its content.
    pub text: String,
    /// Its permissions.
    #[serde(default = "private")]
    pub mode: u32,
}

fn private() -> u32 {
    0o600
}

/// A planted variable.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EnvStep {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
}

/// A planted listener.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListenStep {
    /// Where it listens.
    pub at: String,
    /// What it answers.
    pub says: String,
}

/// A planted process.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ProcessStep {
    /// The name that `{pid:NAME}` refers to.
    pub name: String,
    /// A variable it has in its environment.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Words on its command line.
    #[serde(default)]
    pub words: Vec<String>,
    /// A file it holds open as descriptor 7.
    #[serde(default)]
    pub holds: Option<String>,
    /// Where it stands.
    #[serde(default)]
    pub cwd: Option<String>,
}

/// A planted key.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeyStep {
    /// The keyring that holds it.
    pub ring: Ring,
    /// Its description.
    pub name: String,
    /// Its payload.
    pub text: String,
}

/// A keyring.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Ring {
    /// The session keyring, inherited by every child.
    Session,
    /// The keyring of the uid.
    User,
    /// The keyring of the process, kept over fork.
    Process,
}

/// A planted IPC object.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct IpcStep {
    /// What it is: `shm`, `msg`, `sem`, `mq`.
    pub kind: IpcKind,
    /// Its key or name.
    pub key: String,
    /// What it holds.
    pub text: String,
}

/// The kind of an IPC object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum IpcKind {
    /// System V shared memory.
    Shm,
    /// System V message queue.
    Msg,
    /// System V semaphore: its value is the text's length.
    Sem,
    /// POSIX message queue.
    Mq,
}

/// An inherited descriptor.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FdStep {
    /// Its number.
    pub number: i32,
    /// What it refers to.
    pub path: String,
    /// How it was opened.
    pub how: FdHow,
}

/// How an inherited descriptor was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum FdHow {
    /// A file, for reading.
    Read,
    /// A file, for appending.
    Append,
    /// A directory.
    Dir,
    /// With O_PATH only.
    Path,
    /// Connected to the unix listener at the path.
    Unix,
    /// A memfd that holds the content of the file at the path.
    Memfd,
}

/// The terminal of the agent's command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum TerminalStep {
    /// It is the controlling terminal and standard input.
    Controlling,
}

/// What a case needs of the host before its control can succeed at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Need {
    /// The caller is root: nobody else could do it without a jail either.
    Root,
    /// The kernel has the x32 system calls.
    X32,
    /// `kernel.perf_event_paranoid` lets an ordinary user in.
    Perf,
    /// `kernel.io_uring_disabled` is 0.
    IoUring,
    /// `dev.tty.legacy_tiocsti` is on.
    Tiocsti,
    /// The kernel has the 32-bit system calls.
    I386,
    /// The kernel has multipath TCP.
    Mptcp,
    /// The kernel has AF_VSOCK.
    Vsock,
    /// The kernel has fchmodat2 (Linux 6.6).
    Fchmodat2,
    /// The host shows a block device.
    Disk,
}

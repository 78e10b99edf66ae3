//! A live call through the real client: proof that its seam fires, which no look at a settings file is.
//!
//! A model of our own on loopback makes the client read a planted file outside the workspace, and run one harmless
//! command in it. The client gets a throwaway home and no credential.

mod dialect;
mod launch;
mod model;

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

pub use launch::version;

use crate::{ChangeError, Content, FilePlan};

/// One tool call that the model asks for.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// The tool's name, as the client knows it.
    pub tool: &'static str,
    /// Its arguments.
    pub arguments: Value,
}

/// How a client is started for a trial.
#[derive(Debug, Clone, PartialEq)]
pub struct Start {
    /// The words behind the program.
    pub args: Vec<String>,
    /// What is set in its environment beyond the usual few.
    pub env: Vec<(String, String)>,
    /// What must be refused: it reads the planted file.
    pub denied: Call,
    /// What must work: its result holds [`Stage::WORKED`].
    pub allowed: Call,
}

/// The throwaway world of one trial.
#[derive(Debug, Clone)]
pub struct Stage {
    /// The client's program.
    pub program: PathBuf,
    /// A directory that nobody else can write, gone afterwards.
    pub top: PathBuf,
    /// A file to show in the place of another, for root: the trial's policy over the machine's.
    pub covered: Option<(PathBuf, PathBuf)>,
    /// How long the client may take.
    pub limit: Duration,
}

impl Stage {
    /// What the allowed call says.
    pub const WORKED: &str = "mantlet-canary-worked";

    /// The client's home.
    pub fn home(&self) -> PathBuf {
        self.top.join("home")
    }

    /// The workspace that the trial's policy names.
    pub fn workspace(&self) -> PathBuf {
        self.home().join("project")
    }

    /// The planted file: outside the workspace, and no built-in secret, so that only the policy keeps it shut.
    pub fn planted(&self) -> PathBuf {
        self.home().join("outside/mantlet-canary.txt")
    }

    /// The trial's policy, where a user's is.
    pub fn policy(&self) -> PathBuf {
        self.home().join(".config/mantlet/mantlet.toml")
    }

    /// The ledger that the seam writes to.
    fn ledger(&self) -> PathBuf {
        self.home().join(".local/state/mantlet/ledger/ledger.jsonl")
    }
}

/// Why a trial did not show the seam at work.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CanaryError {
    /// The trial could not be set up.
    #[error(transparent)]
    Change(#[from] ChangeError),
    /// The model's port or the client could not be started.
    #[error("cannot {step}: {source}")]
    Start {
        /// What was tried.
        step: &'static str,
        /// The answer.
        source: std::io::Error,
    },
    /// The client did not end in time.
    #[error("the client did not finish in {} seconds\n{said}", limit.as_secs())]
    Late {
        /// The limit.
        limit: Duration,
        /// The end of what it printed, escaped.
        said: String,
    },
    /// The client made no call at all.
    #[error(
        "the client asked the model {requests} times and made {calls} of 2 tool calls, so nothing is shown\n{said}"
    )]
    Silent {
        /// How often it asked.
        requests: usize,
        /// How many calls it answered.
        calls: usize,
        /// The end of what it printed, escaped.
        said: String,
    },
    /// The planted file reached the model.
    #[error("NOT PROTECTED: the client's tool read a file outside the workspace, and the model received it")]
    Leaked,
    /// The call did not succeed, but Mantlet has not refused it.
    #[error("the call failed, but Mantlet's ledger has no entry for it, so something else stopped it: {result}")]
    NotOurs {
        /// What the model got, masked and escaped.
        result: String,
    },
    /// What is allowed does not work.
    #[error("the allowed call in the workspace does not work: {result}")]
    Blocked {
        /// What the model got, masked and escaped.
        result: String,
    },
}

/// What a trial showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// What the model got for the denied call, masked and escaped.
    pub denial: String,
}

/// Runs the client once. `dress` prepares the home (see [`dress`]) and `start` the command; both are told where the
/// model listens.
///
/// # Errors
/// Anything but a refusal by Mantlet of the one call, and success of the other.
pub fn trial(
    stage: &Stage,
    dress: impl FnOnce(&Stage, &str) -> Result<(), CanaryError>,
    start: impl FnOnce(&Stage, &str) -> Start,
) -> Result<Seen, CanaryError> {
    let secret = plant(stage)?;
    let model =
        model::Model::listen().map_err(|source| CanaryError::Start { step: "open a port on loopback", source })?;
    dress(stage, &model.url())?;
    let start = start(stage, &model.url());
    model.script(vec![start.denied.clone(), start.allowed.clone()]);
    let run = launch::run(stage, &start);
    let heard = model.close();
    let run = run?;
    // What matters most first: however the client ended, the file must not have left.
    if heard.bodies.iter().any(|body| body.contains(&secret)) {
        return Err(CanaryError::Leaked);
    }
    let [denial, allowed] = heard.results.as_slice() else {
        if run.is_late {
            return Err(CanaryError::Late { limit: stage.limit, said: run.said });
        }
        return Err(CanaryError::Silent { requests: heard.bodies.len(), calls: heard.results.len(), said: run.said });
    };
    let shown = |text: &str| {
        let text: String = text.chars().take(600).collect();
        mantlet_ledger::escape(mantlet_dlp::mask(&text).as_bytes())
    };
    let ledger = std::fs::read_to_string(stage.ledger()).unwrap_or_default();
    if !ledger.lines().any(|line| line.contains("mantlet-canary.txt")) {
        return Err(CanaryError::NotOurs { result: shown(denial) });
    }
    if !allowed.contains(Stage::WORKED) {
        return Err(CanaryError::Blocked { result: shown(allowed) });
    }
    Ok(Seen { denial: shown(denial) })
}

/// Puts the settings that are tried into the throwaway home: `real` is what was installed, `staged` the same plan for
/// that home, `props` what only the trial needs; `policy` is the text of its policy.
///
/// # Errors
/// A file cannot be read, written or edited.
pub fn dress(
    stage: &Stage,
    real: &[FilePlan],
    staged: &[FilePlan],
    props: &[FilePlan],
    policy: &str,
) -> Result<(), CanaryError> {
    for (from, to) in real.iter().zip(staged).filter(|(_, to)| to.path.starts_with(stage.home())) {
        if let Some(text) = crate::place::read_text(&from.path)? {
            let is_program = matches!(to.content, Content::Whole { is_program: true, .. });
            put(&to.path, &text, if is_program { 0o700 } else { 0o600 })?;
        }
    }
    for file in props {
        let text = crate::place::read_text(&file.path)?.unwrap_or_default();
        let text = match &file.content {
            Content::Whole { text, .. } => text.clone(),
            Content::Edited(format) => {
                let edit = |source| ChangeError::Edit { path: file.path.clone(), source };
                crate::apply(&text, *format, &file.ops()).map_err(edit)?.0
            }
            // A trial wants settings; nothing of these is one.
            Content::Rows(_) | Content::Gone => continue,
        };
        put(&file.path, &text, 0o600)?;
    }
    put(&stage.policy(), policy, 0o600)
}

fn put(path: &Path, text: &str, mode: u32) -> Result<(), CanaryError> {
    use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
    let failed = |source| ChangeError::Io { step: "write", path: path.to_owned(), source };
    let parent = path.parent().unwrap_or(path);
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(parent).map_err(failed)?;
    std::fs::write(path, text).map_err(failed)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).map_err(failed)?;
    Ok(())
}

/// Makes the home, the workspace and the planted file; returns what is in it.
fn plant(stage: &Stage) -> Result<String, CanaryError> {
    let fail = |path: &Path| {
        let path = path.to_owned();
        move |source| CanaryError::Change(ChangeError::Io { step: "make", path, source })
    };
    let planted = stage.planted();
    for dir in [stage.workspace(), planted.parent().unwrap_or(&stage.top).to_owned()] {
        std::fs::create_dir_all(&dir).map_err(fail(&dir))?;
    }
    let mut random = [0u8; 16];
    let mut source = std::fs::File::open("/dev/urandom").map_err(fail(Path::new("/dev/urandom")))?;
    std::io::Read::read_exact(&mut source, &mut random).map_err(fail(Path::new("/dev/urandom")))?;
    let secret: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    std::fs::write(&planted, format!("planted {secret}\n")).map_err(fail(&planted))?;
    let note = stage.workspace().join("note.txt");
    std::fs::write(&note, format!("{}\n", Stage::WORKED)).map_err(fail(&note))?;
    Ok(secret)
}

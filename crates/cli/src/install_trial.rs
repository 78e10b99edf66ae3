//! One live call through the real client, in a throwaway home with the settings that are tried.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use mantlet_change::canary::{self, Stage};
use mantlet_change::seams::Site;
use mantlet_change::{Record, Seen, Verified};
use mantlet_ledger::rfc3339;

use crate::install::Call;
use crate::throwaway::Throwaway;

/// Slow clients on slow machines take a minute to start.
const LIMIT: Duration = Duration::from_secs(180);

const SYSTEM: &str = "/etc/mantlet/mantlet.toml";

/// Whether this very version was tried before.
pub(crate) fn is_known(record: &Record, program: &Path) -> anyhow::Result<bool> {
    let Seen::Verified(verified) = &record.seen else { return Ok(false) };
    let throwaway = Throwaway::new("version")?;
    Ok(canary::version(program, &throwaway.path)? == verified.version)
}

/// Says what was shown, and what the model was told about the refused call.
pub(crate) fn run(call: &Call, program: &Path) -> anyhow::Result<(Verified, String)> {
    let start = call.seam.start.context("this client cannot be tried")?;
    let throwaway = Throwaway::new("verify")?;
    let version = canary::version(program, &throwaway.path)?;
    let mut stage = Stage { program: program.into(), top: throwaway.path.clone(), covered: None, limit: LIMIT };
    // The machine's policy goes before the user's: the trial's own must lie over it, for the trial only.
    if Path::new(SYSTEM).exists() && rustix::process::geteuid().is_root() {
        stage.covered = Some((stage.policy(), PathBuf::from(SYSTEM)));
    }
    let site = Site { home: stage.home(), moved: Vec::new(), ..call.site.clone() };
    let (real, staged) = ((call.seam.files)(&call.site), (call.seam.files)(&site));
    let policy = format!(
        "version = 1\n\n[agent.{}]\nrole = \"builder\"\nclient = \"{}\"\nworkspace = \"~/project\"\n",
        call.seam.agent, call.seam.client
    );
    let props = |stage: &Stage, model: &str| (call.seam.props)(&call.site, stage, model);
    let seen = canary::trial(
        &stage,
        |stage, model| canary::dress(stage, &real, &staged, &props(stage, model), &policy),
        start,
    )?;
    let time = rfc3339(std::time::SystemTime::now());
    Ok((Verified { version, time }, seen.denial))
}

//! The policy's section for a client that is installed: without one, every call would be refused.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use mantlet_change::{FilePlan, Format, Level, Prepared};
use serde_json::json;

use crate::install::{Call, InstallArgs, question};

const SYSTEM: &str = "/etc/mantlet/mantlet.toml";
const WHY: &str = "An agent that nobody has said anything about: it gets this workspace, and nothing else.";

/// The policy's section for the client.
pub(crate) enum Section {
    /// It is in this file already; an earlier install may have put it there.
    There(PathBuf),
    /// It is added by this edit.
    Added(FilePlan),
}

/// Says whether the policy has a section for the client, or how one is added.
pub(crate) fn section(call: &Call, args: &InstallArgs) -> anyhow::Result<Section> {
    let loaded = mantlet_sandbox::load(None, &call.host).map_err(with_hint)?;
    let client = call.seam.client;
    let (path, policy) = match &loaded {
        Some(loaded) => (loaded.file.clone().context("a policy without a file")?, Some(&loaded.policy)),
        None if call.site.level == Level::Managed => (PathBuf::from(SYSTEM), None),
        None => (mantlet_sandbox::user_file(&call.host), None),
    };
    let sections = policy.map_or(0, |policy| policy.agents().iter().filter(|a| a.client() == Some(client)).count());
    if sections > 1 {
        bail!(
            "{}: {sections} agents run in {client}, and nothing says which one a call belongs to\nhint: leave `client = \"{client}\"` in one section only",
            path.display()
        );
    }
    if sections == 1 {
        return Ok(Section::There(path));
    }
    let name = call.site.agent.as_str();
    let file = FilePlan::edited(path, Format::Toml);
    let known = policy.and_then(|policy| policy.agent(name));
    if let Some(agent) = known {
        return match agent.client() {
            Some(theirs) => bail!("agent `{name}` runs in {theirs}\nhint: name another section with --agent"),
            None => Ok(Section::Added(file.set(&["agent", name, "client"], client, WHY))),
        };
    }
    let workspace = match &args.workspace {
        Some(given) => given.clone(),
        None if std::io::stdin().is_terminal() => question("The agent's workspace (a directory): ")?,
        None => {
            bail!("the policy has no agent that runs in {client}\nhint: --workspace DIR adds one that may work there")
        }
    };
    let workspace = from_here(&workspace)?;
    let file = if policy.is_none() { file.set(&["version"], 1, WHY) } else { file };
    let section = json!({"role": "builder", "client": client, "workspace": workspace});
    Ok(Section::Added(file.set(&["agent", name], section, WHY)))
}

/// The whole new policy must be valid, and name the client's agent.
pub(crate) fn check(call: &Call, path: &Path, prepared: &Prepared) -> anyhow::Result<()> {
    let text = prepared.text_of(path).context("the policy is not in the plan")?;
    let policy = mantlet_policy::parse(text, path, &call.host)
        .map_err(|errors| anyhow::anyhow!("the policy would not be valid\n{errors}"))?;
    if policy.agent_for_client(call.seam.client).is_none() {
        bail!("the policy would name no agent for {}\nhint: add a section by hand", call.seam.client);
    }
    Ok(())
}

/// `~/x` stays as it is; all else is made absolute from where the owner stands.
fn from_here(text: &str) -> anyhow::Result<String> {
    if text == "~" || text.starts_with("~/") {
        return Ok(text.to_owned());
    }
    let real = std::fs::canonicalize(text).with_context(|| format!("there is no workspace {text}"))?;
    real.into_os_string().into_string().map_err(|path| anyhow::anyhow!("{} is not UTF-8", path.display()))
}

fn with_hint(error: mantlet_sandbox::SourceError) -> anyhow::Error {
    match error.hint() {
        Some(hint) => anyhow::anyhow!("{error}\nhint: {hint}"),
        None => anyhow::anyhow!("{error}"),
    }
}

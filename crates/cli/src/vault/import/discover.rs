//! Puts together what was found and what is to be done: which SecretRef takes whose place, in which order files change.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use mantlet_change::{FilePlan, Format, Op};
use mantlet_clients::json::{Dialect, Node, parse};
use mantlet_clients::openclaw::{ENV_SECRETS, HELD, Use, config_secret};
use serde_json::json;

use super::config::{self, Reading};
use super::profiles::{self, Store};
use super::site::Site;
use super::survey::{Fate, Found, Survey, Value, reference, set};
use super::variables::{self, Line};
use super::{Histories, residue};

const CONFIG: &str =
    "A command of the agent, a backup or any other program that reads openclaw.json: the key is not in it.";
const ENVIRONMENT: &str = "A command of the agent that prints its environment, which it has from the gateway with all of this file: the key is in neither.";
const DATABASE: &str =
    "Whoever reads or copies OpenClaw's database: the key is not in it, nor in the pages that it has deleted.";
const COPY: &str = "Whoever reads this copy of the configuration: OpenClaw keeps keys in it that it has replaced.";
const TYPED: &str = "Whoever reads the typed commands: the keys in them are masked.";
const PROGRAM: &str = "A program of that name elsewhere: OpenClaw calls only this one, which answers from the vault.";

/// Looks everywhere, changes nothing.
pub(super) fn survey(site: &Site, histories: Histories) -> anyhow::Result<Survey> {
    let mut work = Work::new(site)?;
    work.configuration();
    work.variables();
    work.profiles()?;
    work.copies()?;
    work.histories(histories)?;
    work.held();
    work.finish()
}

struct Work<'s> {
    site: &'s Site,
    root: Option<Node>,
    reading: Reading,
    lines: Vec<Line>,
    provider: String,
    config: Vec<Op>,
    /// Keys of the configuration that held a value in the clear, and its name in the vault.
    sealed: Vec<(String, String)>,
    later: Vec<FilePlan>,
    survey: Survey,
}

impl<'s> Work<'s> {
    fn new(site: &'s Site) -> anyhow::Result<Work<'s>> {
        let text = match std::fs::read_to_string(&site.config) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", site.config.display())),
        };
        let Ok(root) = parse(text.trim_start_matches('\u{feff}'), Dialect::Json5) else {
            bail!("{} cannot be read\nhint: openclaw config validate", site.config.display());
        };
        let reading = root.as_ref().map(config::read).unwrap_or_default();
        let provider = free_alias(root.as_ref(), site);
        let lines = variables::lines(site)?;
        let (config, sealed, later, survey) = (Vec::new(), Vec::new(), Vec::new(), Survey::default());
        Ok(Work { site, root, reading, lines, provider, config, sealed, later, survey })
    }

    fn found(&mut self, file: PathBuf, key: String, opens: impl Into<String>, used: Option<Use>, fate: Fate) {
        self.survey.found.push(Found { file, key, opens: opens.into(), used, fate });
    }

    fn configuration(&mut self) {
        let file = self.site.config.clone();
        for (path, value, row) in std::mem::take(&mut self.reading.plain) {
            let name = self.survey.values.add(&format!("config/{}", path.join("/")), value);
            self.config.push(set(&path, reference(&self.provider, &name)));
            self.sealed.push((path.join("."), name));
            self.found(file.clone(), path.join("."), row.opens, Some(row.used), Fate::Replaced);
        }
        for key in std::mem::take(&mut self.reading.unfit) {
            self.found(file.clone(), key, "unknown", None, Fate::Held("OpenClaw takes no SecretRef here".into()));
        }
        for (key, source) in std::mem::take(&mut self.reading.stored) {
            let why = match source.as_str() {
                "store" => "its SecretRef leads to OpenClaw's own store, which keeps values in the clear",
                _ => "its SecretRef leads to a file, which keeps values in the clear",
            };
            self.found(file.clone(), key, "unknown", None, Fate::Held(why.into()));
        }
        if self.reading.includes {
            let why = "what is included from other files is not looked into".into();
            self.found(file, "$include".into(), "unknown", None, Fate::Held(why));
        }
    }

    /// What a variable is for: the keys of the configuration that get a SecretRef in its place, or why it has to stay.
    fn purpose(&self, name: &str, value: &mantlet_vault::Secret) -> Result<Vec<Vec<String>>, String> {
        if let Some(key) = self.reading.elsewhere.get(name) {
            return Err(format!("openclaw.json also uses it at {key}, where no SecretRef can stand"));
        }
        let named = self.reading.named.iter().filter(|(_, variable)| variable == name);
        let keys: Vec<Vec<String>> = named.map(|(path, _)| path.clone()).collect();
        if !keys.is_empty() {
            return Ok(keys);
        }
        let Some(row) = ENV_SECRETS.iter().find(|row| row.name == name) else {
            return Err("programs read it from the environment, and no key of openclaw.json says the same".into());
        };
        if !row.within.is_empty() && !self.has(row.within) {
            return Err(format!("openclaw.json has no {}, where its SecretRef would be", row.within));
        }
        if self.sealed.iter().any(|(key, sealed)| key == row.path && self.survey.values.is(sealed, value)) {
            return Ok(Vec::new());
        }
        if self.has(row.path) {
            return Err(format!("openclaw.json says {} already; other programs may still read this", row.path));
        }
        Ok(vec![row.path.split('.').map(str::to_owned).collect()])
    }

    fn has(&self, path: &str) -> bool {
        let found = path.split('.').try_fold(self.root.as_ref(), |node, name| node.map(|node| node.member(name)));
        found.flatten().is_some()
    }

    fn variables(&mut self) {
        let mut lines = std::mem::take(&mut self.lines);
        let mut done: Vec<String> = Vec::new();
        for line in &mut lines {
            for part in &mut line.parts {
                let text = mantlet_vault::Secret::new(part.value.expose().to_vec());
                let Some((fate, opens, used)) = self.variable(&part.name, text, &mut done) else { continue };
                part.is_moved = matches!(fate, Fate::Moved(_));
                self.found(line.file.clone(), part.name.clone(), opens, used, fate);
            }
        }
        for (path, name, value) in std::mem::take(&mut self.reading.set) {
            let Some((fate, opens, used)) = self.variable(&name, value, &mut done) else { continue };
            if matches!(fate, Fate::Moved(_)) {
                self.config.push(Op::Remove { path: path.clone() });
            }
            self.found(self.site.config.clone(), path.join("."), opens, used, fate);
        }
        for line in &lines {
            let Some(op) = line.edit() else { continue };
            match self.later.iter_mut().find(|plan| plan.path == line.file) {
                Some(plan) => *plan = plan.clone().with(op, ENVIRONMENT),
                None => self.later.push(FilePlan::edited(line.file.clone(), Format::Plain).with(op, ENVIRONMENT)),
            }
        }
    }

    /// What becomes of a variable; nothing when there is no credential in it.
    fn variable(
        &mut self,
        name: &str,
        value: mantlet_vault::Secret,
        done: &mut Vec<String>,
    ) -> Option<(Fate, &'static str, Option<Use>)> {
        let text = value.expose_text()?;
        let is_named = self.reading.named.iter().any(|(_, variable)| variable == name);
        let looks = !mantlet_dlp::findings(format!("{name}={text}").as_bytes()).is_empty();
        let is_known = ENV_SECRETS.iter().any(|row| row.name == name);
        if text.is_empty() || !(is_named || is_known || looks) {
            return None;
        }
        if done.iter().any(|before| before == name) {
            // A place that comes earlier counts for the gateway; what this one says is sealed and taken out with it.
            self.survey.values.add(&format!("env/{name}"), value.into());
            return Some((Fate::Moved("the same key".into()), "see there", None));
        }
        let keys = match self.purpose(name, &value) {
            Ok(keys) => keys,
            Err(why) => return Some((Fate::Held(why), "unknown", None)),
        };
        done.push(name.to_owned());
        if keys.is_empty() {
            // The configuration says the same, and comes first.
            let row = ENV_SECRETS.iter().find(|row| row.name == name)?;
            let path: Vec<&str> = row.path.split('.').collect();
            let opens = config_secret(&path);
            let fate = Fate::Moved(row.path.to_owned());
            return Some((fate, opens.map_or("unknown", |row| row.opens), opens.map(|row| row.used)));
        }
        let sealed = self.survey.values.add(&format!("env/{name}"), value.into());
        for key in &keys {
            self.config.push(set(key, reference(&self.provider, &sealed)));
        }
        let first: Vec<&str> = keys.first()?.iter().map(String::as_str).collect();
        let row = config_secret(&first);
        let shown = keys.iter().map(|key| key.join(".")).collect::<Vec<_>>().join(", ");
        Some((Fate::Moved(shown), row.map_or("unknown", |row| row.opens), row.map(|row| row.used)))
    }

    fn profiles(&mut self) -> anyhow::Result<()> {
        for Store { database, row, owner, profiles, held } in profiles::stores(self.site)? {
            let mut ops = Vec::new();
            for profile in profiles {
                let (key, opens) = (profile.key(), profile.provider.clone());
                let value: Value = mantlet_vault::Secret::new(profile.value.expose().to_vec()).into();
                let name = self.survey.values.add(&profile.name(&owner), value);
                ops.extend(profile.edits(reference(&self.provider, &name)));
                self.found(database.clone(), key, opens, Some(Use::Sent), Fate::Replaced);
            }
            for (key, why) in held {
                self.found(database.clone(), key, "unknown", None, Fate::Held(why));
            }
            if !ops.is_empty() {
                self.survey.databases.push(database.clone());
                self.later.push(FilePlan::rows(database, vec![(row, ops)], DATABASE));
            }
        }
        Ok(())
    }

    fn copies(&mut self) -> anyhow::Result<()> {
        for path in residue::copies(self.site, &self.survey.values)? {
            self.found(path.clone(), "the whole file".into(), "what the configuration opens", None, Fate::Removed);
            self.later.push(FilePlan::gone(path, COPY));
        }
        Ok(())
    }

    fn histories(&mut self, histories: Histories) -> anyhow::Result<()> {
        for history in residue::histories(self.site, &self.survey.values)? {
            let fate = match histories {
                Histories::Masked => Fate::Masked,
                Histories::Reported => Fate::Held("typed commands stay as they are; --history masks them".into()),
            };
            self.found(history.file.clone(), history.key(), "what was typed", None, fate);
            if histories == Histories::Masked {
                self.later.push(history.masked(TYPED));
            }
        }
        Ok(())
    }

    fn held(&mut self) {
        for (pattern, why) in HELD {
            for path in Site::matching(&self.site.state, pattern) {
                let is_empty = std::fs::read_dir(&path).is_ok_and(|mut entries| entries.next().is_none());
                if !is_empty {
                    self.found(path, "all of it".into(), "unknown", None, Fate::Held((*why).into()));
                }
            }
        }
    }

    /// The program before the configuration that names it, and that before anything is taken away.
    fn finish(mut self) -> anyhow::Result<Survey> {
        if !self.config.is_empty() || !self.survey.values.is_empty() {
            let provider = json!({"source": "exec", "command": self.site.provider.to_string_lossy()});
            let path = ["secrets".to_owned(), "providers".to_owned(), self.provider.clone()];
            let plan = FilePlan::edited(self.site.config.clone(), Format::Json5).with(set(&path, provider), PROGRAM);
            let plan = self.config.drain(..).fold(plan, |plan, op| plan.with(op, CONFIG));
            self.survey.files.push(FilePlan::program(self.site.provider.clone(), self.site.script()?, PROGRAM));
            self.survey.files.push(plan);
        }
        self.survey.files.append(&mut self.later);
        Ok(self.survey)
    }
}

/// `mantlet`, unless somebody has a provider of that name.
fn free_alias(root: Option<&Node>, site: &Site) -> String {
    use mantlet_clients::json::Shape;
    let providers = root.and_then(|root| root.member("secrets")?.member("providers"));
    let is_ours = |node: &Node| {
        let command = node.member("command").map(|command| &command.shape);
        matches!(command, Some(Shape::Text(text)) if *text == site.provider.to_string_lossy())
    };
    let mut names = std::iter::once("mantlet".to_owned()).chain((2..).map(|number| format!("mantlet-{number}")));
    let free = names.find(|name| providers.and_then(|all| all.member(name)).is_none_or(is_ours));
    free.unwrap_or_else(|| "mantlet".to_owned())
}

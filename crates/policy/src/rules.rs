//! The path rules of one agent: what is opened, and what is taken away again.

use std::path::Path;

use crate::agent::Place;
use crate::error::{Fault, Faults, escape};
use crate::file::AgentFile;
use crate::read::At;
use crate::types::{Files, Host, Origin, PathRule, Review, Role};
use crate::validate::word;
use crate::{pattern, place};

const REVIEWS: &[(&str, Review)] =
    &[("report", Review::Report), ("quarantine", Review::Quarantine), ("fail", Review::Fail)];

/// What stands for many names in a glob, and therefore for none in `read` and `write`.
const WILDCARDS: [char; 3] = ['*', '?', '{'];
const NO_WILDCARDS: &str = "name the directory; `deny` can take parts of it away";

/// Says why no `read` or `write` rule may open a path of the owner's choice.
pub(crate) fn closed(
    workspace: &Path,
    role: Role,
    path: &Path,
    text: &str,
    key: &str,
    host: &dyn Host,
) -> Option<place::Refusal> {
    match text.contains(WILDCARDS) {
        true => Some((format!("has a wildcard in its name, and `{key}` takes none"), NO_WILDCARDS.into())),
        false => outside(workspace, role, path, key, host),
    }
}

/// Judges a path outside the workspace.
fn outside(workspace: &Path, role: Role, path: &Path, key: &str, host: &dyn Host) -> Option<place::Refusal> {
    if path.starts_with(workspace) {
        return None;
    }
    if key == "write" && !role.preset().is_workspace_writable {
        let why = format!("lies outside the workspace, and a {} writes nothing there", role.word());
        return Some((why, "name a path inside the workspace, or another role".to_owned()));
    }
    let judged = match key {
        "write" => place::written(path, host),
        _ => place::opened(path, host),
    };
    judged.err()
}

impl Place<'_> {
    pub(crate) fn files(&mut self, section: &AgentFile, faults: &mut Faults<'_>) -> Files {
        let preset = self.role.preset();
        let mut write: Vec<PathRule> = preset
            .writes
            .iter()
            .map(|name| PathRule {
                pattern: (*name).to_owned(),
                path: Some(self.workspace.join(name)),
                origin: Origin::Role(self.role),
            })
            .collect();
        write.extend(self.opened(&section.write, "write", faults));
        self.note("files.review".into(), section.review.as_ref().map(|text| text.at), faults);
        Files {
            read: self.opened(&section.read, "read", faults),
            write,
            deny: self.patterns(&section.deny, "deny", faults),
            protect: self.patterns(&section.protect, "protect", faults),
            review: section
                .review
                .as_ref()
                .and_then(|text| word(text, "review", REVIEWS, faults))
                .unwrap_or(Review::Quarantine),
            is_workspace_writable: preset.is_workspace_writable,
        }
    }

    /// The literal paths of `read` and `write`.
    fn opened(&self, list: &Option<Vec<At<String>>>, key: &'static str, faults: &mut Faults<'_>) -> Vec<PathRule> {
        let mut rules = Vec::new();
        for text in list.iter().flatten() {
            let bad = |why: String| Fault::BadValue { what: "path", value: escape(&text.value), why };
            if text.value.contains(WILDCARDS) {
                faults.add(text.at, bad(format!("`{key}` takes no wildcards")), NO_WILDCARDS);
                continue;
            }
            let path = match place::literal(&text.value, Some(&self.workspace), self.host.home()) {
                Ok(path) => path,
                Err(why) => {
                    faults.add(
                        text.at,
                        bad(why),
                        "write a path that begins with `/`, `~/`, or is relative to the workspace",
                    );
                    continue;
                }
            };
            if let Some((fault, hint)) = self.refusal(&path, key) {
                faults.add(text.at, fault, hint);
                continue;
            }
            rules.push(PathRule {
                pattern: text.value.clone(),
                path: Some(path),
                origin: Origin::Line(faults.line(text.at)),
            });
        }
        rules
    }

    fn refusal(&self, path: &Path, key: &'static str) -> Option<(Fault, String)> {
        if !self.is_whole {
            return None;
        }
        let (why, hint) = outside(&self.workspace, self.role, path, key, self.host)?;
        Some((Fault::Opens { key, path: place::show(path), why }, hint))
    }

    /// The globs of `deny` and `protect`.
    fn patterns(&self, list: &Option<Vec<At<String>>>, key: &str, faults: &mut Faults<'_>) -> Vec<PathRule> {
        let mut rules = Vec::new();
        for text in list.iter().flatten() {
            match pattern::pattern(&text.value, &self.workspace, self.host) {
                Ok(held) => rules.extend(held.into_iter().map(|(pattern, path)| PathRule {
                    pattern,
                    path,
                    origin: Origin::Line(faults.line(text.at)),
                })),
                Err(why) => {
                    let fault = Fault::BadValue { what: "glob", value: escape(&text.value), why };
                    faults.add(
                        text.at,
                        fault,
                        format!("write for example `{key} = [\"**/.env\"]`: `**/` is any depth, `*` one name"),
                    );
                }
            }
        }
        rules
    }
}

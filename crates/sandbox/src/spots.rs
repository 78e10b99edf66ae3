//! What the rules take away or hold, as a list of things to cover: met by the walk, or named elsewhere.
//!
//! A rule that covers nothing it names would be a silent hole, so that names are resolved as the jail will show them.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use mantlet_policy::PathRule;

use crate::layout;
use crate::plan::{Place, Refusal};
use crate::scan::Hit;

/// A denied or protected thing, absolute.
#[derive(Debug)]
pub(crate) struct Spot {
    pub(crate) path: PathBuf,
    pub(crate) rule: String,
}

/// What the walk met and what literal rules name elsewhere, outer ones before inner ones.
pub(crate) fn spots(
    rules: &[PathRule],
    workspace: &Path,
    places: &[Place],
    hits: &[Hit],
) -> Result<Vec<Spot>, Refusal> {
    let mut spots: Vec<Spot> = hits.iter().map(|h| spot(workspace, h)).collect();
    spots.sort_by(|a, b| a.path.cmp(&b.path));
    outside_spots(rules, workspace, places, &mut spots)?;
    Ok(spots)
}

/// Beyond this many, masks cost more than the policy is worth: deny directories instead.
pub(crate) const MAX_DENIED: usize = 1000;

pub(crate) fn too_many(denied: &[Hit]) -> Refusal {
    let rule = denied.first().map_or("", |h| h.rule.as_str());
    Refusal::new(format!("the deny rules match {} files of the workspace, more than {MAX_DENIED}", denied.len()))
        .hint(format!("deny the directories that hold them instead of single files (first rule: {rule:?})"))
}

fn spot(workspace: &Path, hit: &Hit) -> Spot {
    let path = workspace.join(std::ffi::OsStr::from_bytes(&hit.path));
    Spot { path, rule: hit.rule.clone() }
}

/// Refuses to deny what the jail shows of its own: nothing is mounted over that.
pub(crate) fn makes_itself(rules: &[PathRule], workspace: &Path) -> Result<(), Refusal> {
    const MADE: &[&str] = &["/proc", "/sys", "/dev", "/run/mantlet"];
    for path in rules.iter().filter_map(PathRule::path).filter(|p| !p.starts_with(workspace)) {
        if MADE.iter().any(|made| path.starts_with(made)) || layout::MADE_ETC.iter().any(|made| path == Path::new(made))
        {
            return Err(Refusal::new(format!("`deny` cannot take away {path:?}: the jail makes its own"))
                .hint("delete the rule; what is in there speaks of the jail, not of the host"));
        }
    }
    Ok(())
}

/// Literal rules that speak of things outside the workspace which the plan makes visible.
fn outside_spots(rules: &[PathRule], workspace: &Path, places: &[Place], spots: &mut Vec<Spot>) -> Result<(), Refusal> {
    // Mostly there is none, and a call need not look at the whole system for it.
    if rules.iter().filter_map(PathRule::path).all(|path| path.starts_with(workspace)) {
        return Ok(());
    }
    let opened = places.iter().filter(|p| p.target != *workspace).map(|p| (p.source.clone(), p.target.clone()));
    // What is a symlink among these stays one inside, and leads to another of them.
    let system = layout::system().filter(|s| !s.is_symlink()).map(|s| (s.clone(), s));
    let shown: Vec<(PathBuf, PathBuf)> = opened.chain(system).collect();
    let named = mantlet_policy::named_outside(rules, workspace, &shown, |path| std::fs::canonicalize(path))
        .map_err(|e| Refusal::new(e.to_string()))?;
    for (path, rule) in named {
        if spots.iter().all(|spot| spot.path != path) {
            spots.push(Spot { path, rule });
        }
    }
    Ok(())
}

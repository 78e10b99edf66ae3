//! Places after links were followed: each real path that is protected, by which the rest of the watch goes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::place::{Compare, Place, PlaceError, PlaceKind, Step, follow};
use crate::record::{Is, Record};

/// One protected name after links were followed.
#[derive(Debug, Clone)]
pub(crate) struct Spot {
    /// The path by which the owner named it.
    pub(crate) given: PathBuf,
    pub(crate) is_tree: bool,
    pub(crate) is_judged: bool,
}

/// Returns the place that covers a path.
pub(crate) fn covering<'a>(spots: &'a BTreeMap<PathBuf, Spot>, path: &Path) -> Option<(&'a Path, &'a Spot)> {
    path.ancestors().find_map(|at| {
        let (real, spot) = spots.get_key_value(at)?;
        (spot.is_tree || at == path).then_some((real.as_path(), spot))
    })
}

/// Follows every place; each symlink on its way becomes a place as well.
pub(crate) fn spots(
    places: &[Place],
    records: &BTreeMap<PathBuf, Record>,
) -> Result<BTreeMap<PathBuf, Spot>, PlaceError> {
    let known = |path: &Path| {
        records.get(path).map(|record| match &record.is {
            Is::Symlink { target } => Step::Link(target.clone()),
            // It may have appeared since, and is then an intruder, whatever it leads to.
            _ => Step::Plain,
        })
    };
    let mut spots: BTreeMap<PathBuf, Spot> = BTreeMap::new();
    for place in places {
        let route = follow(&place.path, known)?;
        for link in route.links {
            spots.entry(link.clone()).or_insert(Spot { given: link, is_tree: false, is_judged: false });
        }
        let is_tree = place.kind == PlaceKind::Directory;
        let is_judged = place.content == Compare::Judged;
        let new = Spot { given: place.path.clone(), is_tree, is_judged };
        let spot = spots.entry(route.real).or_insert_with(|| new.clone());
        // Two places that are one: the stricter of both.
        spot.is_tree |= is_tree;
        spot.is_judged &= is_judged;
    }
    Ok(spots)
}

/// Refuses places that have to do with the state of the watch: each of its own writes would be tampering.
pub(crate) fn apart(spots: &BTreeMap<PathBuf, Spot>, state: &Path) -> Result<(), PlaceError> {
    let meets = |path: &Path, spot: &Spot| path.starts_with(state) || spot.is_tree && state.starts_with(path);
    match spots.iter().find(|(path, spot)| meets(path, spot)) {
        Some((path, _)) => Err(PlaceError::State { path: path.clone() }),
        None => Ok(()),
    }
}

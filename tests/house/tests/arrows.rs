//! Arrows point down: ground floor, rooms, top floor; and what each floor may not depend on at all.

use std::collections::BTreeSet;

use mantlet_house::{arrows, metadata, reaches};

/// Pure: no crate of ours below them.
const GROUND: &[&str] = &["mantlet-policy", "mantlet-clients", "mantlet-ledger", "mantlet-dlp"];
/// Each may use the ground floor and no other room.
const ROOMS: &[&str] =
    &["mantlet-sandbox", "mantlet-guard", "mantlet-change", "mantlet-egress", "mantlet-vault", "mantlet-watch"];
/// The only ones that put rooms together.
const TOP: &[&str] = &["mantlet-cli", "mantlet-daemon"];
/// Attack or check what the others build; import none of it.
const OUTSIDE: &[&str] = &["mantlet-probe", "mantlet-house"];

#[test]
fn arrows_point_down_only() {
    for (from, to) in arrows(&metadata()) {
        let allowed: Vec<&str> = match from.as_str() {
            crate_ if GROUND.contains(&crate_) || OUTSIDE.contains(&crate_) => vec![],
            crate_ if ROOMS.contains(&crate_) => GROUND.to_vec(),
            crate_ if TOP.contains(&crate_) => match crate_ {
                // The command line starts the daemon, and not the other way round.
                "mantlet-cli" => [GROUND, ROOMS, &["mantlet-daemon"]].concat(),
                _ => [GROUND, ROOMS].concat(),
            },
            other => panic!("{other} has no floor: give it one here and in ARCHITECTURE.md"),
        };
        let wrong: Vec<_> = to.iter().filter(|t| !allowed.contains(&t.as_str())).collect();
        assert!(wrong.is_empty(), "{from} may not depend on {wrong:?}: see ARCHITECTURE.md, \"Arrows\"");
    }
}

#[test]
fn every_floor_is_in_the_workspace() {
    let known: BTreeSet<String> = arrows(&metadata()).into_keys().collect();
    for name in [GROUND, ROOMS, TOP, OUTSIDE].concat() {
        assert!(known.contains(name), "{name} has a floor and is no member of the workspace");
    }
}

/// An async runtime brings threads and sockets of its own; a C library brings what nobody here has read.
const BANNED_BELOW_THE_TOP: &[&str] =
    &["tokio", "async-std", "smol", "futures", "hyper", "reqwest", "rustls", "openssl", "native-tls", "cc", "nix"];

/// The way out serves many connections at once, and nothing else there does; it holds no policy file and no secret.
/// age's writer of headers names `futures` for an async twin that is never built into anything that runs.
const EXCEPTIONS: &[(&str, &str)] = &[("mantlet-egress", "tokio"), ("mantlet-vault", "futures")];

#[test]
fn no_runtime_and_no_network_below_the_top_floor() {
    let metadata = metadata();
    for package in [GROUND, ROOMS, OUTSIDE].concat() {
        let reached = reaches(&metadata, package);
        let is_named = |banned: &str| EXCEPTIONS.contains(&(package, banned));
        let wrong: Vec<_> = BANNED_BELOW_THE_TOP.iter().filter(|b| reached.contains(**b) && !is_named(b)).collect();
        assert!(wrong.is_empty(), "{package} reaches {wrong:?}");
    }
}

#[test]
fn the_detectors_depend_on_nothing_at_all() {
    assert_eq!(reaches(&metadata(), "mantlet-dlp"), BTreeSet::new());
    assert_eq!(reaches(&metadata(), "mantlet-clients"), BTreeSet::new());
}

/// The jailer's dependencies are code that runs before and inside the jail. The number only ever goes down without
/// a word; up, it needs one in the commit.
#[test]
fn the_jailer_keeps_its_budget_of_dependencies() {
    // Twenty of them are the ledger's: Ed25519 for the checkpoints that a monitor signs, and gzip for what it rotated.
    // Neither runs before or in a jail, but in the monitor, after the command.
    const BUDGET: usize = 68;
    let reached = reaches(&metadata(), "mantlet-sandbox");
    assert!(reached.len() <= BUDGET, "{} crates, {BUDGET} allowed: {reached:?}", reached.len());
}

/// The guard decides for tools that nothing else holds: few names stand in its Cargo.toml, and no new one unseen.
#[test]
fn the_guard_keeps_its_budget_of_dependencies() {
    const BUDGET: usize = 10;
    let metadata = metadata();
    let packages = metadata["packages"].as_array().into_iter().flatten();
    let guard = packages.filter(|p| p["name"] == "mantlet-guard").find_map(|p| p["dependencies"].as_array());
    let named: Vec<_> = guard.into_iter().flatten().filter(|d| d["kind"].is_null()).map(|d| &d["name"]).collect();
    assert!(!named.is_empty() && named.len() <= BUDGET, "{} named, {BUDGET} allowed: {named:?}", named.len());
}

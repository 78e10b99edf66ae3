//! Why a host gives less than everything, and what its owner can do: from what a trial said and what /proc shows.
//!
//! It only reads. Where two causes fit, both are named; where none is known, the kernel's own answer is.

use std::collections::BTreeMap;

use serde::Serialize;

/// What is missing, why, and how to have it.
#[derive(Debug, Serialize)]
pub(crate) struct Cause {
    pub(crate) mechanisms: Vec<String>,
    pub(crate) cause: String,
    pub(crate) fix: &'static str,
}

/// Settings of the kernel by name; nothing where the kernel does not have one.
pub(crate) type Settings = BTreeMap<&'static str, Option<String>>;

const APPARMOR: &str = "kernel.apparmor_restrict_unprivileged_userns";
const CLONE: &str = "kernel.unprivileged_userns_clone";
const MOST: &str = "user.max_user_namespaces";
const NAMES: &[&str] = &[APPARMOR, CLONE, MOST, "fs.inotify.max_user_instances", "fs.inotify.max_user_watches"];

/// What a jail without namespaces lacks.
const NAMESPACES: &[&str] = &["mount", "pid", "network", "ipc", "uts", "cgroup-namespace", "user", "deny", "protect"];

const PROFILE: &str = "install packaging/apparmor/mantlet-run as /etc/apparmor.d/mantlet-run, and mantlet and mantlet-run in /usr/local/bin, all as root; then: sudo apparmor_parser -r /etc/apparmor.d/mantlet-run";
const FILTER: &str = "run the container with a seccomp profile that allows clone and unshare with namespace flags and the calls of mounting (docker or podman run --security-opt seccomp=FILE), or set tier = \"landlock\" in mantlet.toml";
const READ_ONLY: &str = "give this process a writable /proc (docker run --security-opt systempaths=unconfined), or set tier = \"landlock\" in mantlet.toml";
const MORE: &str = "sudo sysctl user.max_user_namespaces=15000; where it is that of a container's own namespace, let the container have more, or set tier = \"landlock\" in mantlet.toml";
const UNKNOWN: &str = "let whoever runs this container or account allow user namespaces and mounts in them, or set tier = \"landlock\" in mantlet.toml";
const LANDLOCK: &str = "Linux 6.12 or newer with Landlock among its LSMs (boot parameter lsm=landlock,...; see /sys/kernel/security/lsm); in a container, a seccomp profile that allows the calls of landlock(7)";
const NEWER: &str = "a kernel with Landlock ABI 9";
const UNMASK: &str = "run the container without masks: docker run --security-opt systempaths=unconfined, podman run --security-opt unmask=ALL";
const DELEGATE: &str = "let systemd lend control groups to the user: Delegate=memory pids in the unit that runs this, or systemd-run --user --scope";
const CHOWN: &str = "give the workspace to an ordinary user (chown -R USER DIR)";

/// Reads the settings that matter.
pub(crate) fn settings() -> Settings {
    let read = |name: &str| std::fs::read_to_string(format!("/proc/sys/{}", name.replace('.', "/"))).ok();
    NAMES.iter().map(|name| (*name, read(name).map(|text| text.trim().to_owned()))).collect()
}

/// Whether somebody has put a seccomp filter around this process.
fn is_filtered() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status.lines().any(|line| line.strip_prefix("Seccomp:").is_some_and(|mode| mode.trim() == "2"))
}

/// Explains the reasons of refused tiers, and what is partial in the one that holds.
pub(crate) fn causes(reasons: &[&str], mechanisms: &BTreeMap<String, String>, settings: &Settings) -> Vec<Cause> {
    let mut out = Vec::new();
    let said = |word: &str| reasons.iter().any(|reason| reason.contains(word));
    let add = |out: &mut Vec<Cause>, names: &[&str], cause: String, fix| {
        out.push(Cause { mechanisms: names.iter().map(|name| (*name).to_owned()).collect(), cause, fix });
    };
    let extent = |name: &str| mechanisms.get(name).map_or("", String::as_str);
    let is_unmapped = said("map the ids of");
    if is_unmapped || said("the workspace belongs to root") {
        let cause = match is_unmapped {
            true => "the workspace belongs to root, and its file system, or this container, does not map ids",
            false => "the workspace belongs to root, and ids are mapped only in the tier full",
        };
        add(&mut out, &["user"], cause.into(), CHOWN);
    }
    if said("Landlock ABI") || said("apply \"Landlock\"") {
        add(
            &mut out,
            &["landlock"],
            "Landlock is absent, too old, switched off or refused by a filter".into(),
            LANDLOCK,
        );
    } else if extent("landlock").starts_with("partial: ABI") {
        add(&mut out, &["landlock"], extent("landlock")["partial: ".len()..].to_owned(), NEWER);
    }
    // A trial that was refused before it came to the host says so itself, with its hint.
    let is_of_host = |reason: &str| reason.starts_with("this host does not give the tier");
    let is_elsewhere = |reason: &str| is_unmapped || !is_of_host(reason) || reason.contains("apply \"Landlock\"");
    if let Some(reason) = reasons.first().filter(|reason| !is_elsewhere(reason)) {
        let found = namespace_causes(reason, settings);
        found.into_iter().for_each(|(cause, fix)| add(&mut out, NAMESPACES, cause, fix));
    }
    if extent("proc").contains("carries masks") {
        add(&mut out, &["proc"], "the outer /proc carries masks, so the kernel refuses a fresh one".into(), UNMASK);
    }
    if let Some(why) = extent("limits").strip_prefix("partial: ") {
        add(&mut out, &["limits"], why.to_owned(), DELEGATE);
    }
    out
}

/// Why there are no namespaces, from the kernel's answer and its settings.
fn namespace_causes(reason: &str, settings: &Settings) -> Vec<(String, &'static str)> {
    let is_so = |name: &str, value: &str| settings.get(name).is_some_and(|now| now.as_deref() == Some(value));
    let mut out = Vec::new();
    if reason.contains("(os error 28)") {
        let now = settings.get(MOST).and_then(Option::as_deref).unwrap_or("unknown");
        out.push((
            format!("user namespaces are used up: {MOST} is {now} here, and no outer namespace may pass its own"),
            MORE,
        ));
    } else if reason.contains("(os error 30)") && reason.contains("/proc")
        || reason.contains("making the id map: Read-only")
    {
        out.push(("/proc is read-only here, so ids cannot be mapped".into(), READ_ONLY));
    } else if reason.contains("(os error 1)") || reason.contains("(os error 13)") {
        for (name, value, fix) in
            [(APPARMOR, "1", PROFILE), (CLONE, "0", "sudo sysctl kernel.unprivileged_userns_clone=1")]
        {
            if is_so(name, value) {
                out.push((format!("{name} = {value}"), fix));
            }
        }
        if is_filtered() {
            out.push(("a seccomp filter is around this process, as container engines install one".into(), FILTER));
        }
    }
    if out.is_empty() {
        out.push((reason.lines().next().unwrap_or_default().to_owned(), UNKNOWN));
    }
    out
}

//! How far each mechanism of a jail held: what a call's report and its ledger entry say.

use crate::ids::Mapping;
use crate::outcome::Facts;
use crate::plan::Plan;
use crate::spots::Spot;
use crate::tier::{Extent, Mechanisms, Tier};
use crate::way_out::WayOut;
use crate::whole::Network;

/// Each mechanism of a call that ran, and how far it held.
pub(crate) fn mechanisms(tier: Tier, facts: &Facts, plan: &Plan) -> Mechanisms {
    let mut out = Mechanisms::new();
    let none = || Extent::None(facts.unavailable.clone().unwrap_or_else(|| "not in this tier".into()));
    let namespaces = ["mount", "pid", "network", "ipc", "uts", "cgroup-namespace", "user"];
    for name in namespaces {
        out.insert(name, if tier == Tier::Full { Extent::Full("") } else { none() });
    }
    if plan.whole.as_ref().is_some_and(|whole| whole.told.network == Network::Host) {
        out.insert("network", Extent::None("not confined: the host's network was asked for".into()));
    }
    let is_unconfined = tier == Tier::Landlock && plan.is_unconfined;
    if let Some(way) = &plan.way_out {
        out.insert("egress", egress(tier, facts, way));
    }
    if is_unconfined {
        let said = || Extent::None("unconfined, as the policy accepts".into());
        out.insert("network", said());
        out.insert("egress", said());
    }
    let abi = crate::sys::landlock_abi();
    let landlock = match abi {
        0..6 => Extent::Partial(format!("ABI {abi}: no scopes for signals and abstract sockets")),
        // What Landlock does not judge (landlock(7), "Current limitations") is behind no mount in this tier.
        6.. if tier == Tier::Landlock => Extent::Partial(format!(
            "ABI {abi}: {} refused by seccomp; modes, owners and times of the owner's files outside can be \
             changed, and names there asked for",
            if is_unconfined { "sockets but those of the internet are" } else { "sockets are" }
        )),
        6..9 => Extent::Partial(format!("ABI {abi}: path sockets are held by the mounts alone")),
        _ => Extent::Full(""),
    };
    out.insert("landlock", landlock);
    out.insert("seccomp", Extent::Full(""));
    out.insert("no-new-privileges", Extent::Full(""));
    let bounding = match tier {
        Tier::Landlock if plan.ids.mapping == Mapping::Caller => {
            Extent::Partial("none, but an ordinary user cannot empty the bounding set".into())
        }
        _ => Extent::Full("none, bounding set empty"),
    };
    out.insert("capabilities", bounding);
    out.insert("proc", proc(tier, facts));
    let limits = match facts.cgroup.clone() {
        // Where /proc is the host's own, the sampler has no view of the jail's processes.
        Some(Extent::Partial(_)) if tier == Tier::Full && !facts.has_sampler => Extent::Partial(
            "no control group and no sampler: memory of the whole jail is not bounded, its processes and files are"
                .into(),
        ),
        Some(extent) => extent,
        None => Extent::None("the jail never stood".into()),
    };
    out.insert("limits", limits);
    covers_held(&mut out, tier, facts, plan);
    out
}

/// How far the way out was held to the policy's names.
fn egress(tier: Tier, facts: &Facts, way: &WayOut) -> Extent {
    if tier == Tier::Landlock {
        return Extent::None(
            "INET refused: this tier cannot confine it; `accept = [\"unconfined\"]` would open all of it".into(),
        );
    }
    let served = facts.served.as_deref().unwrap_or("nothing has asked for it so far");
    match (way.shown.is_empty(), way.is_by_name_only) {
        (true, _) => Extent::Partial(format!("nothing is allowed out; {served}")),
        (false, true) => Extent::Partial(format!(
            "by name on {}: of `tls` the name alone is judged, of `tcp` nothing inside; {served}",
            way.shown.join(", ")
        )),
        (false, false) => Extent::Partial(format!("every request on {}; {served}", way.shown.join(", "))),
    }
}

/// How far the policy's own rules over the workspace were held.
fn covers_held(out: &mut Mechanisms, tier: Tier, facts: &Facts, plan: &Plan) {
    let covered = |spots: &[Spot], what: &str| match tier {
        Tier::Full => Extent::Full(""),
        Tier::Landlock if spots.is_empty() => Extent::Full("nothing to cover"),
        Tier::Landlock => Extent::None(format!("{what} inside a writable place needs mounts")),
    };
    let deny = match &facts.exposed {
        Some(_) => {
            Extent::Partial("something denied was replaced from outside and could be opened for a moment".into())
        }
        None => covered(&plan.denied, "denying"),
    };
    out.insert("deny", deny);
    out.insert(
        "protect",
        match tier {
            _ if plan.changes_nothing() => Extent::Full("nothing can be changed"),
            Tier::Full if !facts.replaced.is_empty() => Extent::Partial(
                "what exists is prevented, but for what was replaced from outside; that and new names are undone"
                    .into(),
            ),
            Tier::Full => Extent::Partial("what exists is prevented; names that do not exist yet are undone".into()),
            Tier::Landlock if plan.protected.is_empty() => {
                Extent::Partial("nothing to cover; names that do not exist yet are undone".into())
            }
            Tier::Landlock => covered(&plan.protected, "protecting"),
        },
    );
}

fn proc(tier: Tier, facts: &Facts) -> Extent {
    match (&facts.proc_partial, tier) {
        (Some(missing), _) => Extent::Partial(missing.clone()),
        (None, Tier::Full) => Extent::Full(""),
        (None, Tier::Landlock) => Extent::Partial(
            "names, command lines and network tables of processes outside are visible, their memory, environment and \
             files are not"
                .into(),
        ),
    }
}

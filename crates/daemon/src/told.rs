//! What the room `egress` tells, as the ledger keeps it.

use mantlet_egress::{Event, Way};
use mantlet_ledger::Egress;
use mantlet_sandbox::channel::Told;

/// An event as an entry; its call is the caller's to fill in.
pub fn told(event: Event) -> Told {
    match event {
        Event::Refused { way, denial } => Told {
            entry: Egress { reason: Some(denial.reason.to_string()), ..entry("refused", way, denial.what) },
            hint: Some(denial.hint),
        },
        Event::Passed { way, allowed, address, up, down } => Told {
            entry: Egress {
                rule: Some(allowed.rule),
                address: Some(address.to_string()),
                up,
                down,
                ..entry("passed", way, allowed.endpoint.to_string())
            },
            hint: None,
        },
        Event::Entered { door, peer, inside, inwards, outwards } => Told {
            entry: Egress {
                address: Some(inside.to_string()),
                up: outwards,
                down: inwards,
                ..entry("passed", Way::Publish, format!("{door} from {peer}"))
            },
            hint: None,
        },
    }
}

fn entry(outcome: &str, way: Way, host: String) -> Egress {
    let way = match way {
        Way::Dns => "dns",
        Way::Direct => "direct",
        Way::Connect => "connect",
        Way::Socks => "socks",
        Way::Absolute => "absolute",
        Way::Publish => "publish",
    };
    Egress {
        call: None,
        outcome: outcome.into(),
        way: way.into(),
        host,
        rule: None,
        reason: None,
        address: None,
        up: 0,
        down: 0,
        count: 1,
    }
}

//! What the room `egress` tells, as the ledger keeps it.

use mantlet_egress::{Event, Way};
use mantlet_ledger::Egress;
use mantlet_sandbox::channel::Told;

/// An event as an entry; its call is the caller's to fill in.
pub fn told(event: Event) -> Told {
    match event {
        Event::Refused { way, denial } => {
            // Who comes in is another each time, and what happens is the same.
            let (host, peer) = match denial.what.split_once(" from ") {
                Some((door, peer)) => (door.to_owned(), Some(peer.to_owned())),
                None => (denial.what, None),
            };
            let reason = Some(denial.reason.to_string());
            Told { entry: Egress { reason, address: peer, ..entry("refused", way, host) }, hint: Some(denial.hint) }
        }
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
        Event::Entered { door, peer, inside: _, inwards, outwards } => Told {
            entry: Egress {
                address: Some(peer.to_string()),
                up: outwards,
                down: inwards,
                ..entry("passed", Way::Publish, door.to_string())
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

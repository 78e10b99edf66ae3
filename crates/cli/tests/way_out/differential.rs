//! The name decided is the name dialled: the ledger, the servers and the packets say the same, for generated requests.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use crate::jails::Real;
use crate::world::bypass::{Inside as _, PROXY};
use crate::world::differential::{EGRESS, is_allowed, request, told};
use crate::world::ground::World;

const INPUTS: usize = 2000;

pub(crate) fn run(world: &World, jails: &Real<'_>) {
    let jail = jails.begin("builder", EGRESS);
    world.packets.forget();
    let proxy = SocketAddr::new([127, 0, 0, 1].into(), PROXY);
    let mut state = 0x2545_f491_4f6c_dd1d;
    let requests: Vec<Vec<u8>> = (0..INPUTS).map(|_| request(&mut state)).collect();
    let mut hosts = BTreeSet::new();
    let mut served = 0;
    for some in requests.chunks(24) {
        let begun: Vec<_> = some.iter().map(|request| jail.agent().begin_to_talk(proxy, request)).collect();
        for (request, answer) in some.iter().zip(begun) {
            let host = answer.recv().unwrap().ok().and_then(|answer| told(request, &answer));
            served += usize::from(host.is_some());
            hosts.extend(host);
        }
    }
    let entries = jail.end();
    let seen = world.packets.take();
    let asked: BTreeSet<String> = seen.names.iter().cloned().collect();
    let passed: Vec<&serde_json::Value> = entries.iter().filter(|entry| entry["outcome"] == "passed").collect();
    let decided = passed.iter().map(|entry| entry["host"].as_str().unwrap().strip_suffix(":80").unwrap().to_owned());
    let decided: BTreeSet<String> = decided.collect();
    assert!(asked.iter().all(|name| is_allowed(name)), "{asked:?}");
    assert!(served > 20 && entries.len() > passed.len(), "{served} served, {} entries", entries.len());
    assert_eq!(hosts, decided, "what servers were told, and what the ledger says");
    assert!(decided.is_subset(&asked), "{decided:?} were looked up: {asked:?}");
    let dialled: BTreeSet<SocketAddr> = seen.connections.iter().copied().collect();
    let written = passed.iter().map(|entry| entry["address"].as_str().unwrap().parse::<SocketAddr>().unwrap());
    let written: BTreeSet<SocketAddr> = written.collect();
    assert!(written.is_subset(&dialled), "{written:?}, {dialled:?}");
    let is_theirs = |to: &SocketAddr| ["9.9.9.9:80", "[2606:4700::1111]:80"].iter().any(|text| text.parse() == Ok(*to));
    assert!(dialled.iter().all(is_theirs) && seen.others.is_empty(), "{dialled:?} {:?}", seen.others);
    println!("{INPUTS} inputs, {served} served under {} names, {} entries", hosts.len(), entries.len());
}

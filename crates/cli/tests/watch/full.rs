//! A disk that is full while somebody tampers.

use std::fs;
use std::process::Command;

use crate::common::{Who, is_root};
use crate::ground::{EVIL, KEYS, WATCH, Watching, is_alone, keys, text, until, world_with};

/// The attack: the disk is filled, so that nothing can be written down, and perhaps nothing put back.
#[test]
fn a_full_disk_stops_no_undoing() {
    if !is_root() {
        return println!("only root can mount a small disk: this is not tried");
    }
    if !is_alone("full::a_full_disk_stops_no_undoing") {
        return;
    }
    for who in [Who::Me, Who::User] {
        let world = world_with("full", who, &format!("{WATCH}tries = 1000\n"));
        let state = world.dir("home/.local/state/mantlet");
        let mount = |line: &str| assert!(Command::new("sh").args(["-c", line]).status().unwrap().success(), "{line}");
        let owner = if who == Who::User { format!(",uid={0},gid={0}", crate::common::USER) } else { String::new() };
        mount(&format!("mount -t tmpfs -o size=1m,mode=700{owner} none {}", state.display()));
        {
            let watching = Watching::begin(&world);
            fs::write(keys(&world), EVIL).unwrap();
            until("the control: it is undone", || text(keys(&world)) == KEYS);
            // Until not a byte goes in.
            let filler = state.join("filler");
            drop(fs::write(&filler, vec![0; 2 << 20]));
            assert!(fs::write(state.join("more"), vec![0; 8192]).is_err(), "the control: it is full");
            // The ledger's last page takes a few entries still.
            until("it is said", || {
                fs::write(keys(&world), EVIL).unwrap();
                until("it is undone all the same", || text(keys(&world)) == KEYS);
                watching.said().contains("a change is missing in the ledger")
            });
            fs::remove_file(&filler).unwrap();
            drop(fs::remove_file(state.join("more")));
            fs::write(keys(&world), EVIL).unwrap();
            until("it is undone", || text(keys(&world)) == KEYS);
        }
        mount(&format!("umount -l {}", state.display()));
    }
}

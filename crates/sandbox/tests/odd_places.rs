//! Odd file systems, full disks, symlinks and streams: a clear message, the right exit code, nothing half-done.
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    missing_docs,
    reason = "a test; the lint's own exception does not reach its helpers"
)]

mod world;

use std::fs;
use std::os::unix::fs::symlink;

use world::{Call, Caller, World, callers, told};

/// A shell script on a host of that shape; `$M` begins a call, `$STATE` is where Mantlet keeps things, and `settle`
/// waits for a monitor that cleans up after it has answered.
fn script(world: &World, shape: &str, text: &str) -> Call {
    let mut command = world.on_host(shape, world.calling());
    command.env("M", format!("{} exec --timeout 20s", world.jailer().display())).env("STATE", world.state());
    // By its name again: something may be mounted there since.
    let settle = "settle() { for i in $(seq 250); do [ -z \"$(ls -A $STATE/journal)\" ] && return; sleep 0.02; done; }";
    let text = format!("{settle}\ncd {}\n{text}", world.work().display());
    told(&command.args(["sh", "-c", &text]).output().unwrap())
}

/// The state directory on a file system of its own, with these options.
fn small_state(world: &World, options: &str) -> String {
    let dir = world.home().join(".local/state");
    fs::create_dir_all(&dir).unwrap();
    for dir in [world.home().join(".local"), dir.clone()] {
        std::os::unix::fs::chown(dir, Some(world.calling()), Some(world.calling())).unwrap();
    }
    let uid = world.calling();
    format!("mount:tmpfs:{options}+mode=700+uid={uid}+gid={uid}:{}", dir.display())
}

/// Only root mounts a file system whose owner and size it chooses.
fn mounting_callers() -> Vec<Caller> {
    match rustix::process::geteuid().is_root() {
        true => callers(),
        false => {
            eprintln!("not root: file systems of their own are NOT tried");
            Vec::new()
        }
    }
}

#[test]
fn a_workspace_of_roots_without_idmapped_mounts_is_refused_and_works_once_it_is_a_users() {
    for caller in mounting_callers().into_iter().filter(|c| *c == Caller::Root) {
        let world = World::new("idmap", caller);
        let (work, top) = (world.work(), world.top.display().to_string());
        for dir in ["lower", "upper", "scratch"] {
            fs::create_dir(world.top.join(dir)).unwrap();
        }
        let overlay = format!("overlay:lowerdir={top}/lower+upperdir={top}/upper+workdir={top}/scratch");
        for kind in ["ramfs", &overlay] {
            let shape = format!("mount:{kind}:{}", work.display());
            for tier in ["full", "landlock"] {
                world.policy(&format!("tier = \"{tier}\"\n"));
                let call = script(
                    &world,
                    &shape,
                    "$M --report ../../out/r -- touch made; echo $?; settle; ls -A . $STATE/journal",
                );
                let what = format!("{kind}, {tier}: {call:?}");
                assert!(call.out.starts_with("125\n") && !call.out.contains("made"), "{what}");
                assert!(call.err.contains("its file system has no idmapped mounts"), "{what}");
                assert!(call.err.contains("hint: ") && call.err.contains("chown -R USER"), "{what}");
                let report: serde_json::Value =
                    serde_json::from_str(&fs::read_to_string(world.top.join("out/r")).unwrap()).unwrap();
                assert_eq!((report["tier"].is_null(), report["exit"].as_i64()), (true, Some(125)), "{what}");
            }
            // The way out that it names, taken.
            let call = script(&world, &shape, "chown -R 61234 . && $M -c 'id -u; echo x > made'; echo $?; ls -ln");
            assert!(call.out.starts_with("61234\n0\n"), "{kind}: {call:?}");
            assert!(call.out.contains(" 61234 61234 2 ") && call.out.contains("made"), "{kind}: {call:?}");
        }
    }
}

#[test]
fn a_full_workspace_is_the_commands_own_affair() {
    for caller in mounting_callers() {
        let world = World::new("fullws", caller);
        let uid = world.jailed();
        let shape = format!("mount:tmpfs:size=64k+mode=755+uid={uid}+gid={uid}:{}", world.work().display());
        let call = world.call(&shape, "head -c 1000000 /dev/zero > big; echo $?; wc -c < big");
        assert_eq!((call.code, call.tier(), call.out.as_str()), (0, "full", "1\n65536\n"), "{caller:?}: {call:?}");
        assert!(call.err.contains("No space left on device"), "{caller:?}: {call:?}");
        world.assert_clean(&call, "full workspace");
    }
}

#[test]
fn a_full_state_directory_refuses_before_anything_runs_and_leaves_no_half_entry() {
    for caller in mounting_callers() {
        let world = World::new("fullst", caller);
        let shape = small_state(&world, "size=2m");
        let text =
            "mkdir -p $STATE; cat /dev/zero 2>/dev/null > $STATE/fill; $M -- touch made; echo $?; settle; ls -A . $STATE/journal
                    rm $STATE/fill; $M -c 'echo ran'; echo $?";
        let call = script(&world, &shape, text);
        let what = format!("{caller:?}: {call:?}");
        let journal = format!("125\n.:\n\n{}/journal:\nran\n", world.state().display());
        assert!(call.out.starts_with(&journal), "{what}");
        assert!(
            call.err.contains("there is no room for the ledger") && call.err.contains("No space left on device"),
            "{what}"
        );
        let call = script(&world, &small_state(&world, "size=64k+nr_inodes=2"), "$M -- touch made; echo $?; ls -A");
        assert_eq!(call.out, "125\n", "{caller:?}: {call:?}");
        assert!(call.err.contains("cannot make the state directory"), "{caller:?}: {call:?}");
    }
}

#[test]
fn where_the_disk_has_no_room_to_tell_of_a_call_none_starts_unless_the_policy_says_so() {
    for caller in mounting_callers() {
        let world = World::new("fullend", caller);
        // The journal and a line of the ledger would have room, a long line would not.
        let text = "$M -c 'echo ran; exit 7'; echo $?; settle; ls -A $STATE/journal";
        let call = script(&world, &small_state(&world, "size=12k"), text);
        let what = format!("{caller:?}: {call:?}");
        assert_eq!(call.out, "125\n", "{what}");
        assert!(call.err.contains("there is no room for the ledger"), "{what}");
        assert!(call.err.contains("No space left on device") && call.err.contains("full = \"run\""), "{what}");

        world.policy("[ledger]\nfull = \"run\"\n");
        let call = script(&world, &small_state(&world, "size=12k"), text);
        let what = format!("{caller:?}: {call:?}");
        assert_eq!(call.out, "ran\n7\n", "{what}");
        assert!(call.err.contains("this call could not be sure to be told of"), "{what}");
    }
}

#[test]
fn a_disk_that_fills_up_during_a_call_has_room_for_its_entry() {
    for caller in mounting_callers() {
        let world = World::new("fullmid", caller);
        let text =
            "$M -c 'echo ran; sleep 1; exit 7' & sleep 0.5; cat /dev/zero > $STATE/fill; wait $!; echo $?; settle
                    ls -A $STATE/journal; grep -c 'sleep 1' $STATE/ledger/ledger.jsonl";
        let call = script(&world, &small_state(&world, "size=3m"), text);
        let what = format!("{caller:?}: {call:?}");
        assert_eq!(call.out, "ran\n7\n1\n", "{what}");
        assert!(call.err.contains("write error: No space left on device"), "it was full: {what}");
    }
}

#[test]
fn a_quarantine_on_a_full_disk_says_what_is_still_there_and_fails_the_call() {
    for caller in mounting_callers() {
        let world = World::new("fullq", caller);
        let text = "$M -c 'head -c 65536 /dev/zero > big; mv big .envrc'; echo $?; settle; ls -A; ls -A $STATE/quarantine/*; ls -A $STATE/journal";
        let call = script(&world, &small_state(&world, "size=1072k"), text);
        let what = format!("{caller:?}: {call:?}");
        assert_eq!(call.out, "125\n.envrc\n", "{what}");
        assert!(call.err.contains(".envrc") && call.err.contains("NOT undone: No space left on device"), "{what}");
        assert!(call.err.contains("the review could not undo everything"), "{what}");
        fs::remove_file(world.work().join(".envrc")).unwrap();
        let call = script(&world, &small_state(&world, "size=2m"), text);
        assert!(call.out.starts_with("0\n0001-.envrc\n"), "the twin, {caller:?}: {call:?}");
    }
}

#[test]
fn what_a_killed_call_left_stops_the_next_until_it_can_be_moved() {
    // The monitor first, so that the next call reviews; the client alone, so that the monitor does and has nobody to tell.
    for kill in ["kill -KILL $monitor; kill -KILL $client", "kill -KILL $client"] {
        for caller in mounting_callers() {
            let world = World::new("fullk", caller);
            let text = format!(
                "$M -c 'head -c 65536 /dev/zero > big; mv big .envrc; echo up; sleep 30' > ../../out/up & client=$!
                while ! [ -s ../../out/up ]; do sleep 0.02; done
                monitor=$(pgrep -P $client); {kill}; wait
                $M -- touch made; echo $?; ls -A; ls $STATE/journal | wc -l
                rm -f .envrc; $M -- touch made; echo $?; settle; ls -A; ls $STATE/journal | wc -l"
            );
            let call = script(&world, &small_state(&world, "size=1072k"), &text);
            let what = format!("{caller:?}: {kill}: {call:?}");
            assert_eq!(call.out, "125\n.envrc\n1\n0\nmade\n0\n", "{what}");
            assert!(call.err.contains("a killed call could not be finished"), "{what}");
            assert!(call.err.contains("NOT undone: No space left on device"), "{what}");
            assert!(call.err.contains("hint: free some disk space in"), "{what}");
        }
    }
}

#[test]
fn a_report_that_cannot_be_written_is_known_before_anything_runs_or_said_after() {
    for caller in callers() {
        let world = World::new("report", caller);
        for (path, why) in [("/nonexistent/r", "No such file"), ("../../out", "Is a directory")] {
            let call = script(&world, "granted", &format!("$M --report {path} -- touch made; echo $?; ls -A"));
            assert_eq!(call.out, "125\n", "{caller:?}, {path}: {call:?}");
            assert!(call.err.contains("cannot write the report to") && call.err.contains(why), "{call:?}");
        }
        let text = "$M --report /dev/full -c 'echo ran'; echo $?; $M --report /dev/full -c 'exit 7'; echo $?";
        let call = script(&world, "granted", text);
        assert_eq!(call.out, "ran\n125\n7\n", "{caller:?}: {call:?}");
        assert!(call.err.contains("cannot write the report to \"/dev/full\": No space left"), "{call:?}");
    }
}

#[test]
fn output_that_cannot_be_written_fails_the_call_and_is_on_record() {
    for caller in callers() {
        let world = World::new("lost", caller);
        let text = "$M --report ../../out/r -c 'echo lost' > /dev/full; echo $?
                    $M -c 'seq 100000' > /dev/full; echo $?
                    $M -c 'echo lost >&2' 2> /dev/full; echo $?
                    $M -c 'echo kept; yes' | head -n 1
                    $M -c 'echo kept' >> ../../out/kept; echo $?; cat ../../out/kept";
        let call = script(&world, "granted", text);
        let what = format!("{caller:?}: {call:?}");
        let lines: Vec<&str> = call.out.lines().collect();
        assert_eq!(lines[0], "125", "{what}");
        assert!(["125", "141"].contains(&lines[1]), "{what}");
        assert_eq!(lines[2..], ["125", "kept", "0", "kept"], "{what}");
        assert!(call.err.contains("standard output could not be written: No space left on device"), "{what}");
        let report = fs::read_to_string(world.top.join("out/r")).unwrap();
        assert!(report.contains("\"exit\":125") && report.contains("standard output could not"), "{report}");
        let ledger = fs::read_to_string(world.state().join("ledger/ledger.jsonl")).unwrap();
        assert!(ledger.lines().next().unwrap().contains("standard output could not"), "{ledger}");
    }
}

#[test]
fn closed_streams_reach_nothing_and_the_exit_code_stands() {
    for caller in callers() {
        let world = World::new("closed", caller);
        // In there a descriptor 3 would be one of ours.
        let line = "{ cat; echo out; } 2>/dev/null; echo err >&2; for fd in 3 4 5 6 7 8 9; do (: <&$fd) 2>/dev/null && echo open; done; exit 5";
        let with = |streams: &str| script(&world, "granted", &format!("$M -c '{line}' {streams}; echo $?"));
        for (streams, out, err) in [
            ("<&-", "out\n5\n", "err\n"),
            (">&-", "5\n", "err\n"),
            ("2>&-", "out\n5\n", ""),
            ("<&- >&-", "5\n", "err\n"),
            ("<&- >&- 2>&-", "5\n", ""),
        ] {
            let call = with(streams);
            assert_eq!((call.out.as_str(), call.err.as_str()), (out, err), "{caller:?}, {streams}");
        }
        // A refusal with nobody to tell still has its exit code.
        let call = script(&world, "granted", "$M --workspace /nonexistent -- true <&- >&- 2>&-; echo $?");
        assert_eq!((call.out.as_str(), call.err.as_str()), ("125\n", ""), "{caller:?}");
    }
}

#[test]
fn a_symlinked_workspace_is_the_directory_it_leads_to() {
    for caller in callers() {
        let world = World::new("link", caller);
        let (work, link) = (world.work(), world.top.join("out/link"));
        symlink(&work, &link).unwrap();
        symlink(&link, world.top.join("out/twice")).unwrap();
        fs::create_dir(work.join("sub")).unwrap();
        let inside = |call: Call, what: &str| {
            assert_eq!(call.out, format!("{}\n0\n", work.display()), "{caller:?}, {what}: {call:?}");
            assert!(fs::remove_file(work.join("made")).is_ok(), "{caller:?}, {what}");
        };
        for name in ["link", "twice"] {
            let at = world.top.join("out").join(name);
            let at = at.display();
            inside(script(&world, "granted", &format!("$M --workspace {at} -c 'pwd; echo > made'; echo $?")), "named");
            inside(script(&world, "granted", &format!("cd {at}; $M -c 'pwd; echo > made'; echo $?")), "entered");
            world.policy(&format!("tier = \"full\"\n[agent.other]\nrole = \"builder\"\nworkspace = \"{at}\"\n"));
            let call = format!("$M --agent other --workspace {at} -c 'pwd; echo > made'; echo $?");
            inside(script(&world, "granted", &call), "in the policy");
            world.policy("tier = \"full\"\n");
        }
        // One that leads elsewhere is elsewhere, one that leads nowhere is an error, and neither runs anything.
        symlink(world.home(), world.top.join("out/elsewhere")).unwrap();
        symlink("nowhere", world.top.join("out/dangling")).unwrap();
        for (name, why) in
            [("elsewhere", "is not in the workspace of this agent"), ("dangling", "cannot find the workspace")]
        {
            let call = script(&world, "granted", &format!("$M --workspace ../../out/{name} -c 'echo ran'; echo $?"));
            assert_eq!(call.out, "125\n", "{caller:?}, {name}: {call:?}");
            assert!(call.err.contains(why), "{caller:?}, {name}: {call:?}");
        }
    }
}

//! A watch that is killed at any time leaves nothing that its return does not put right: under attack, again and again.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::running::Running;
use crate::world::World;
use mantlet_watch::{Compare, Options, Place, PlaceKind, Watch, Whole};

/// The watch as a process: this test program once more.
#[test]
#[ignore = "the process that `nothing_survives_the_return_of_a_killed_watch` kills"]
fn watcher() {
    let home = PathBuf::from(std::env::var_os("MANTLET_HOME").unwrap());
    let place = |path: &str, kind| Place { path: home.join(path), kind, content: Compare::Whole };
    let places = vec![
        place("config/agent/settings.json", PlaceKind::File),
        place("config/agent/absent.json", PlaceKind::File),
        place("missing/agent/mcp.json", PlaceKind::File),
        place("linked.txt", PlaceKind::File),
        place("rc", PlaceKind::File),
        place("tools", PlaceKind::Directory),
    ];
    let state = PathBuf::from(std::env::var_os("MANTLET_STATE").unwrap());
    let mut options = Options::new(state);
    // Undoing is what is tried here, and not giving up.
    options.tries = usize::MAX;
    let mut watch = Watch::open(options, places, Box::new(Whole)).unwrap();
    let mut told = crate::running::Told::default();
    watch.begin(&mut told).unwrap();
    println!("\nready");
    let (end, _open) = std::io::pipe().unwrap();
    watch.run(&mut told, end.into()).unwrap();
}

fn start(world: &World) -> Child {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "killed::watcher", "--nocapture", "--test-threads=1"])
        .env("MANTLET_HOME", &world.home)
        .env("MANTLET_STATE", &world.state)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let is_ready = lines.map_while(Result::ok).any(|line| line == "ready");
    assert!(is_ready, "the watch did not begin");
    child
}

/// Changes things without a pause until told to stop.
fn attack(world: &World, stop: &AtomicBool) {
    let mut round = 0_u32;
    while !stop.load(Ordering::Relaxed) {
        round += 1;
        // Each of these may fail: the watch is at work on the same names.
        let settings = world.settings();
        match round % 8 {
            0 => drop(fs::write(&settings, format!("evil {round}\n"))),
            1 => drop(fs::remove_file(&settings)),
            2 => drop(fs::rename(world.home.join("config/agent"), world.out.join(format!("away-{round}")))),
            3 => drop(symlink(&world.out, world.home.join("tools").join(format!("link-{round}")))),
            4 => drop(fs::remove_dir_all(world.home.join("tools"))),
            5 => drop(fs::write(world.home.join("config/agent/absent.json"), "evil\n")),
            6 => drop(
                fs::remove_file(world.home.join("rc")).and_then(|()| symlink("../out/evil", world.home.join("rc"))),
            ),
            _ => drop(fs::hard_link(world.home.join("dot/rc"), world.out.join(format!("name-{round}")))),
        }
        std::thread::sleep(Duration::from_micros(u64::from(round * 7 % 900)));
    }
}

#[test]
fn nothing_survives_the_return_of_a_killed_watch() {
    let rounds: u32 = std::env::var("MANTLET_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(20);
    let world = Arc::new(World::new());
    let before = world.seen();
    let mut child = start(&world);
    let mut differed = 0;
    for round in 0..rounds {
        let stop = Arc::new(AtomicBool::new(false));
        let attacker = std::thread::spawn({
            let (world, stop) = (world.clone(), stop.clone());
            move || attack(&world, &stop)
        });
        std::thread::sleep(Duration::from_millis(u64::from(5 + round * 13 % 60)));
        child.kill().unwrap();
        child.wait().unwrap();
        // It goes on for a moment with nobody there.
        std::thread::sleep(Duration::from_millis(3));
        stop.store(true, Ordering::Relaxed);
        attacker.join().unwrap();
        differed += u32::from(world.seen() != before);
        child = start(&world);
        let after = world.seen();
        let left: Vec<_> = [&world.home, &world.home.join("config/agent"), &world.home.join("dot")]
            .iter()
            .flat_map(|dir| fs::read_dir(dir).unwrap().flatten())
            .map(|entry| entry.file_name())
            .filter(|name| name.to_string_lossy().starts_with(".mantlet-undo-"))
            .collect();
        if after != before || !left.is_empty() {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("round {round}: left {left:?}\nbefore {before:#?}\nafter {after:#?}");
        }
    }
    child.kill().unwrap();
    child.wait().unwrap();
    // The control: what was done while nobody was there did stand.
    assert!(differed * 2 > rounds, "only {differed} of {rounds} kills left anything to undo");
}

/// What lies in the state directory after a kill in the middle of a write is no baseline, and does no harm.
#[test]
fn a_torn_write_of_the_baseline_is_as_if_it_had_not_begun() {
    let world = World::new();
    let before = world.seen();
    drop(Running::begin(world.options(), world.places(), Box::new(Whole), || {}));
    fs::write(world.state.join("baseline.new"), "{\"v\":1").unwrap();
    fs::write(world.settings(), "evil\n").unwrap();
    let running = Running::begin(world.options(), world.places(), Box::new(Whole), || {});
    assert_eq!(world.seen(), before);
    running.stop();
}

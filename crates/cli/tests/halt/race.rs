//! Starts that meet a halt, and halts that are killed.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::process::{Child, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::common::{Who, World, code, everybody, out};
use crate::ground::{
    assert_refused, assert_runs, exec, halt, is_alone, journal, mark, processes, resume, until, world,
};

const STARTS: usize = 200;

/// Starts calls as fast as the machine can, in four rows, and hands out the clients.
fn storm(world: &World, mark: &str, clients: &mpsc::Sender<(usize, Child)>) {
    std::thread::scope(|scope| {
        for row in 0..4 {
            let clients = clients.clone();
            scope.spawn(move || {
                for number in (row..STARTS).step_by(4) {
                    // The file's time is that of the command's first act.
                    let line = format!("echo > started-{number}; setsid -f sleep {mark}; sleep {mark}");
                    let mut command = world.command("mantlet");
                    command.args(["exec", "-c", &line]).stdout(Stdio::null()).stderr(Stdio::null());
                    clients.send((number, command.spawn().unwrap())).unwrap();
                    // A storm of forks would be over before the first of them has come to its journal.
                    std::thread::sleep(Duration::from_millis(8));
                }
            });
        }
    });
}

fn started(world: &World) -> Vec<(String, (i64, i64))> {
    let names = fs::read_dir(world.work()).unwrap().flatten();
    let times = names.map(|name| {
        let meta = name.metadata().unwrap();
        (name.file_name().into_string().unwrap(), (meta.mtime(), meta.mtime_nsec()))
    });
    times.filter(|(name, _)| name.starts_with("started")).collect()
}

#[test]
fn no_start_that_meets_a_halt_survives_it() {
    if !is_alone("race::no_start_that_meets_a_halt_survives_it") {
        return;
    }
    for who in everybody() {
        let world = world("race", who);
        world.builder("");
        let mark = mark(&world);
        let (sender, receiver) = mpsc::channel();
        let done = std::thread::scope(|scope| {
            scope.spawn(|| storm(&world, &mark, &sender));
            until("some run", || started(&world).len() >= 20);
            halt(&world, &[]);
            // What a file has as its time afterwards is later than this one's.
            let file = world.file("after", "");
            let done = fs::metadata(file).unwrap();
            assert_eq!(processes(&mark), [0; 0], "{who:?}: something runs when halt says that it is done");
            (done.mtime(), done.mtime_nsec())
        });
        drop(sender);
        let (mut killed, mut refused) = (0, 0);
        for (number, mut client) in receiver {
            until("a client ends", || client.try_wait().unwrap().is_some());
            match client.wait().unwrap().code() {
                Some(137) => killed += 1,
                Some(125) => refused += 1,
                other => panic!("{who:?}: start {number} ended with {other:?}"),
            }
        }
        assert_eq!(processes(&mark), [0; 0], "{who:?}");
        let late: Vec<_> = started(&world).into_iter().filter(|(_, time)| *time > done).collect();
        assert!(late.is_empty(), "{who:?}: started after the halt: {late:?}");
        println!("{who:?}: of {STARTS} starts {killed} were killed and {refused} refused");
        // Both sides of the race were there.
        assert!(killed >= 20 && refused >= 20 && killed + refused == STARTS, "{who:?}: {killed} {refused}");
        until("every call is struck out", || journal(&world).is_empty());
        resume(&world);
        assert_runs(&world);
    }
}

#[test]
fn a_killed_halt_has_halted_and_the_next_one_finishes() {
    if !is_alone("race::a_killed_halt_has_halted_and_the_next_one_finishes") {
        return;
    }
    let world = world("killed", Who::Me);
    world.builder("");
    let mark = mark(&world);
    let mut was_midway = 0;
    for round in 0..10 {
        let clients: Vec<Child> =
            (0..8).map(|_| exec(&world, &format!("setsid -f sleep {mark}; sleep {mark}"))).collect();
        until("they run", || processes(&mark).len() == 16);
        let mut first = world.command("mantlet").arg("halt").stderr(Stdio::null()).spawn().unwrap();
        let began = Instant::now();
        while !world.state().join("halted").exists() {
            assert!(began.elapsed() < Duration::from_secs(10));
            std::hint::spin_loop();
        }
        std::thread::sleep(Duration::from_micros(300 * round));
        first.kill().unwrap();
        first.wait().unwrap();
        was_midway += usize::from(!processes(&mark).is_empty());
        assert_refused(&world.exec(&["-c", "true"]), "after the killed one");
        halt(&world, &[]);
        assert_eq!(processes(&mark), [0; 0], "round {round}");
        for mut client in clients {
            until("a client ends", || client.try_wait().unwrap().is_some());
        }
        until("every call is struck out", || journal(&world).is_empty());
        resume(&world);
        let left = fs::read_dir(world.state()).unwrap().flatten().map(|name| name.file_name().into_string().unwrap());
        assert!(left.into_iter().all(|name| !name.contains("halted")), "round {round}");
    }
    println!("{was_midway} of 10 halts were killed before they were done");
    assert!(was_midway > 0, "every halt was done before it was killed");
    let again = world.exec(&["-c", "echo again"]);
    assert!(code(&again) == 0 && out(&again) == "again\n");
}

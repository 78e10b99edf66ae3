//! Real disks that refuse: a full one and a read-only one, each a tmpfs of its own mount namespace; and many writers.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::cases::{CASES, Stays, dotenv};
use crate::slot::{CANARY, Slot};

/// Runs a shell script as root of a mount namespace; the ordinary user's root is root in a user namespace only.
fn in_own_mounts(slot: &Slot, script: &str) -> Output {
    let mut command = Command::new("unshare");
    command.args(if rustix::process::geteuid().is_root() { &["-m"][..] } else { &["-rm"][..] });
    command.args(["--propagation", "private", "bash", "-euc", script, "bash"]).arg(env!("CARGO_BIN_EXE_mantlet"));
    command.env_clear().envs(slot.env()).env("TOP", &slot.top).current_dir(&slot.top);
    command.stdin(Stdio::null()).output().unwrap()
}

/// Says of each command on a disk in that state what it answered; afterwards the disk works, and it is called again.
fn on(state: &str, there: &str, back: &str) -> String {
    let mut lines = Vec::new();
    for case in CASES.iter().filter(|case| !case.sealed.starts_with("home/")) {
        let slot = Slot::new(state);
        (case.prepare)(&slot);
        let words: Vec<String> = case.args.iter().map(|word| format!("'{word}'")).collect();
        // The disk is filled to its last byte, so that what is asked for cannot even be begun. Its contents come out again.
        let script = format!(
            "mount -t tmpfs -o size=512k none /mnt; cp -a work run home /mnt; cd /mnt/work\n\
             export HOME=/mnt/home XDG_RUNTIME_DIR=/mnt/run; ulimit -c 0; {there}\n\
             set +e; printf '%s' '{stdin}' | \"$1\" {args} >/dev/null 2>$TOP/said; code=$?; set -e\n\
             {back}; rm -f /mnt/fill; rm -rf $TOP/work $TOP/home $TOP/run; cp -a /mnt/work /mnt/home /mnt/run $TOP; exit $code",
            stdin = case.stdin.trim_end(),
            args = words.join(" "),
        );
        let output = in_own_mounts(&slot, &script);
        let said = std::fs::read_to_string(slot.top.join("said")).unwrap_or_default();
        std::fs::remove_file(slot.top.join("said")).ok();
        let code = output.status.code();
        let all =
            format!("{} on a {state} disk: {code:?} {said:?} {}", case.name, String::from_utf8_lossy(&output.stderr));
        assert!(code == Some(125) && said.starts_with("mantlet: ") && !said.contains(CANARY), "{all}");
        case.is_kept(&slot).unwrap_or_else(|error| panic!("{all}: {error}"));
        let again = slot.alone(case.args, case.stdin);
        let is_done = again.code == 0 || case.done.is_some_and(|done| again.said.contains(done));
        assert!(is_done, "{all}: again: {}", again.said);
        case.is_finished(&slot).unwrap_or_else(|error| panic!("{all}: after a second call: {error}"));
        lines.push(case.name);
    }
    format!("{} commands refused on a {state} disk, done after it", lines.len())
}

pub fn full() -> String {
    on("full", "cat /dev/zero > /mnt/fill 2>/dev/null || true", "true")
}

pub fn read_only() -> String {
    // The file system itself; in a user namespace, the mount.
    let remount = |how: &str| format!("mount -o remount,{how} /mnt 2>/dev/null || mount -o remount,bind,{how} /mnt");
    on("read-only", &remount("ro"), &remount("rw"))
}

/// Twenty at once, each another name in one file: what is answered as done is there, what is not says why.
pub fn writers() -> String {
    const WRITERS: usize = 20;
    let slot = Slot::new("writers");
    let seal = CASES.iter().find(|case| case.plain == Some(("work/a.env", Stays::No))).unwrap();
    (seal.prepare)(&slot);
    slot.must(&["vault", "seal", "a.env"], "");
    let answers: Vec<(usize, i64, String)> = std::thread::scope(|scope| {
        let slot = &slot;
        let call = |number: usize| {
            let ended =
                slot.alone(&["vault", "set", "a.sops.env", &format!("N{number}")], &format!("{CANARY}-{number}"));
            (number, ended.code, ended.said)
        };
        let calls: Vec<_> = (0..WRITERS).map(|number| scope.spawn(move || call(number))).collect();
        calls.into_iter().map(|call| call.join().unwrap()).collect()
    });
    let plain = String::from_utf8(slot.alone(&["vault", "decrypt", "a.sops.env"], "").stdout).unwrap();
    assert!(plain.starts_with(std::str::from_utf8(&dotenv()).unwrap()), "{plain}");
    let mut done = 0;
    for (number, code, said) in answers {
        let is_there = plain.contains(&format!("N{number}={CANARY}-{number}\n"));
        assert_eq!(is_there, code == 0, "{number}: {said}");
        assert!(code == 0 || said.contains("is being written by another process"), "{number}: {said}");
        done += usize::from(code == 0);
    }
    crate::cases::leftovers(&slot, "nothing", "nothing").unwrap();
    format!("{done} of {WRITERS} written, the others said why")
}

/// The lock's holder does not end: the second one says so, in bounded time, and nothing is changed.
pub fn held() -> String {
    let slot = Slot::new("held");
    let set = CASES.iter().find(|case| case.name == "set").unwrap();
    (set.prepare)(&slot);
    let before = slot.files();
    let editor = slot.top.join("run/editor");
    std::fs::write(
        &editor,
        "#!/bin/sh\ntouch \"$XDG_RUNTIME_DIR/begun\"\nwhile ! [ -e \"$XDG_RUNTIME_DIR/end\" ]; do sleep 0.01; done\n",
    )
    .unwrap();
    std::fs::set_permissions(&editor, std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_mantlet"));
    command.args(["vault", "edit", "a.sops.env"]).env_clear().envs(slot.env()).env("EDITOR", &editor);
    let mut edit = command.current_dir(slot.work()).stdin(Stdio::null()).spawn().unwrap();
    let begun = |name: &str| slot.top.join("run").join(name);
    while !Path::new(&begun("begun")).exists() {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let second = slot.alone(set.args, set.stdin);
    assert!(second.code == 125 && second.said.contains("is being written by another process"), "{}", second.said);
    std::fs::write(begun("end"), "").unwrap();
    assert!(edit.wait().unwrap().success());
    for name in ["begun", "end", "editor"] {
        std::fs::remove_file(begun(name)).unwrap();
    }
    assert!(slot.files() == before, "something was changed");
    assert_eq!(slot.alone(set.args, set.stdin).code, 0);
    "the second writer gave up and said why".into()
}

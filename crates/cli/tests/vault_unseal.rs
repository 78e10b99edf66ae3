//! `mantlet vault unseal` without systemd: who can read what it puts there, and that a kill at any moment leaves nothing.
//!
//! Each script runs in a mount namespace of its own with an empty /run; from an ordinary user's tests in a user namespace.
#![allow(
    clippy::unwrap_used,
    missing_docs,
    reason = "a test; the lint's own exception does not reach its helpers here"
)]

mod common;

use std::process::{Command, Output, Stdio};

use common::{USER, Who, World, code, err, is_root, out, programs};

/// What every script begins with: an identity, and a file that is sealed.
const SEALED: &str = "
    mount -t tmpfs -o mode=755 tmpfs /run
    mantlet vault init >/dev/null
    printf 'TOKEN=canary-4711\\nOTHER=\"x y\"\\n' | mantlet vault encrypt - --type dotenv -o s.env
    unseal() { mantlet vault unseal s.env --tmpfs --service app \"$@\"; }
    stop() { mantlet vault unseal --stop --service app; }
    dir=/run/mantlet/vault/app
    file=$dir/env
";

/// Where a script runs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mounts {
    /// As the machine's root.
    Root,
    /// As root of a user namespace, where a tmpfs with noswap is refused.
    Mapped,
    /// As an ordinary user who may mount, for the script's own tmpfs.
    User,
}

fn run(world: &World, mounts: Mounts, script: &str) -> Output {
    let mut command = Command::new("unshare");
    command.arg("--mount");
    match mounts {
        Mounts::Root => {}
        Mounts::Mapped => drop(command.args(["--user", "--map-root-user"])),
        Mounts::User if is_root() => drop(command.args(["setpriv", "--inh-caps=+all"])),
        Mounts::User => {
            let (uid, gid) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
            command.args(["--user", &format!("--map-user={uid}"), &format!("--map-group={gid}"), "--keep-caps"]);
        }
    }
    let path = format!("{}:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", programs().display());
    command.env_clear().env("HOME", world.home()).env("PATH", path).current_dir(world.work()).stdin(Stdio::null());
    command.args(["sh", "-euc", &format!("{SEALED}{script}")]).output().unwrap()
}

fn succeeds(output: &Output) -> String {
    assert_eq!(code(output), 0, "{}\n{}", out(output), err(output));
    out(output)
}

#[test]
fn the_file_is_its_users_alone_and_wiped_at_the_stop() {
    if !is_root() {
        eprintln!("not root: a file for another user is NOT tried");
        return;
    }
    let world = World::new("unseal", Who::Me);
    let script = format!(
        "as() {{ uid=$1; shift; setpriv --reuid=$uid --regid={USER} --clear-groups \"$@\"; }}
        unseal --user {USER}
        stat -c '%u %g %a' $dir $file
        as {USER} grep -c canary-4711 $file
        as 99 cat $file || echo denied
        as 99 ls $dir || echo denied
        as 99 ls /run/mantlet/vault || echo denied
        as {USER} sh -c \"echo x >>$file\" || echo read-only
        grep -c \" $dir .*nosuid,nodev,noexec.* - tmpfs mantlet .*noswap\" /proc/self/mountinfo
        # A start after which there was no stop: nothing lies below, and the old one is wiped.
        exec 9<$file
        unseal --user {USER}
        grep -c \" $dir \" /proc/self/mountinfo
        grep -aq canary /dev/fd/9 || echo wiped
        exec 8<$file
        stop
        grep -aq canary /proc/self/fd/8 || echo wiped
        find /run/mantlet
        grep -c \" $dir \" /proc/self/mountinfo || true
        stop"
    );
    let expected = format!(
        "{USER} {USER} 500\n{USER} {USER} 600\n1\ndenied\ndenied\ndenied\nread-only\n1\n1\nwiped\nwiped\n\
         /run/mantlet\n/run/mantlet/vault\n0\n"
    );
    assert_eq!(succeeds(&run(&world, Mounts::Root, &script)), expected);
}

#[test]
fn where_noswap_is_refused_a_ramfs_is_taken_and_nobody_can_fill_it() {
    let world = World::new("unseal-ramfs", Who::Me);
    let script = "
        unseal 2>said; grep -o 'ramfs, which is never swapped out' said
        grep -o ' - ramfs mantlet ro' /proc/self/mountinfo
        stat -c %a $file
        (echo x >>$file) 2>/dev/null || echo read-only
        unseal 2>/dev/null
        stop
        find /run/mantlet";
    let expected =
        "ramfs, which is never swapped out\n - ramfs mantlet ro\n600\nread-only\n/run/mantlet\n/run/mantlet/vault\n";
    assert_eq!(succeeds(&run(&world, Mounts::Mapped, script)), expected);
}

/// Kills `$run s.env` at each of its system calls, and looks at what is below `$top` then.
const KILLED: &str = "
    strace -f -qq -o trace $run s.env --tmpfs
    $run --stop
    sed -n 's/^[0-9]* *\\([a-z0-9_]*\\)(.*/\\1/p' trace | grep -vx execve | awk '{ print $1, ++seen[$1] }' >calls
    rm trace
    tries=0 whole=0
    while read -r call n; do
        strace -f -qq -o /dev/null -e inject=$call:signal=KILL:when=$n $run s.env --tmpfs >said 2>&1 \\
            && { echo \"not killed at $call $n\"; cat said; }
        tries=$((tries + 1))
        # What has a name is whole, and its owner's alone.
        find $top -type f >found 2>/dev/null || true
        while read -r name; do
            [ \"$name\" = $top/app/env ] && [ \"$(stat -c '%u %a' $top/app/env $top/app | paste -s)\" = \"$wanted\" ] \\
                && grep -q 'canary-4711' $name && whole=$((whole + 1)) || echo \"$call $n left $name\"
        done <found
        ! grep -rlq --exclude-dir=runtime canary-4711 \"$HOME\" || echo \"$call $n left plaintext in the home\"
        $run --stop || echo \"$call $n: no stop\"
        [ -z \"$(find $top -mindepth 1 2>/dev/null)\" ] || echo \"$call $n: left after the stop\"
    done <calls
    [ $tries -gt 50 ] && [ $whole -gt 0 ] && echo tried, some after the file was there
    echo $tries calls, $whole whole >&2";

/// The attack: whoever kills mantlet halfway, or a machine that runs out of memory there, leaves a file that is open to
/// others, or that no stop finds.
#[test]
fn a_kill_at_any_system_call_leaves_nothing_that_others_can_read() {
    let world = World::new("unseal-kill", Who::Me);
    let script = "run='mantlet vault unseal --service app' top=/run/mantlet/vault wanted=$(printf '0 600\\t0 500')";
    let mounts = if is_root() { Mounts::Root } else { Mounts::Mapped };
    let output = run(&world, mounts, &format!("{script}\n{KILLED}"));
    assert_eq!(succeeds(&output), "tried, some after the file was there\n", "{}", err(&output));
    // The same for a user, in a tmpfs of the login's.
    let world = World::new("unseal-kill-user", Who::Me);
    let (uid, words) = user();
    let script = format!(
        "chown -R {uid} \"$HOME\"
        mkdir runtime; mount -t tmpfs -o mode=700,uid={uid} tmpfs runtime
        run=\"setpriv {words} env XDG_RUNTIME_DIR=$PWD/runtime mantlet vault unseal --service app\"
        top=$PWD/runtime/mantlet/vault wanted=$(printf '{uid} 600\\t{uid} 700')"
    );
    let mounts = if is_root() { Mounts::Root } else { Mounts::User };
    let output = run(&world, mounts, &format!("{script}\n{KILLED}"));
    assert_eq!(succeeds(&output), "tried, some after the file was there\n", "{}", err(&output));
}

/// The ordinary user of a script, and setpriv's words that make one.
fn user() -> (u32, String) {
    match is_root() {
        true => (USER, format!("--reuid={USER} --regid={USER} --clear-groups --inh-caps=-all")),
        false => (rustix::process::getuid().as_raw(), "--inh-caps=-all --ambient-caps=-all".into()),
    }
}

#[test]
fn a_users_file_is_in_the_directory_of_the_login_and_only_in_memory() {
    let world = World::new("unseal-user", Who::Me);
    let script = "
        user() { XDG_RUNTIME_DIR=$1 setpriv $become mantlet vault unseal $2 --service app; }
        chown -R $uid \"$HOME\"
        mkdir runtime; mount -t tmpfs -o mode=700,uid=$uid tmpfs runtime
        file=runtime/mantlet/vault/app/env
        put='s.env --tmpfs'
        user $PWD/runtime \"$put\" 2>/dev/null; user $PWD/runtime \"$put\" 2>/dev/null
        stat -c '%u %a' runtime/mantlet runtime/mantlet/vault runtime/mantlet/vault/app $file
        exec 9<$file; grep -c canary /proc/self/fd/9
        user $PWD/runtime --stop; user $PWD/runtime --stop
        grep -aq canary /proc/self/fd/9 || echo wiped
        find runtime -mindepth 2
        # On a disk, in a directory that others enter, and behind somebody's link: refused, and nothing is there.
        mkdir -m 700 disk; chown $uid disk
        user $PWD/disk \"$put\" 2>&1 | grep -o 'no memory file system'
        chmod 755 runtime; user $PWD/runtime \"$put\" 2>&1 | grep -o \"not this user's alone\"; chmod 700 runtime
        rm -r runtime/mantlet; mkdir -m 700 other; ln -s ../other runtime/mantlet
        user $PWD/runtime \"$put\" 2>&1 | grep -o 'Not a directory'
        ! grep -rl canary \"$HOME\"";
    let (uid, words) = user();
    // The sealed file is made by whoever runs the script; the plaintext never lies in the home.
    let script = format!("uid={uid} become='{words}'\n{script}");
    let mounts = if is_root() { Mounts::Root } else { Mounts::User };
    let expected = format!(
        "{uid} 700\n{uid} 700\n{uid} 700\n{uid} 600\n1\nwiped\nruntime/mantlet/vault\nno memory file system\n\
         not this user's alone\nNot a directory\n"
    );
    assert_eq!(succeeds(&run(&world, mounts, &script)), expected);
}

#[test]
fn what_is_no_service_or_no_users_is_refused() {
    let world = World::new("unseal-refused", Who::Me);
    let script = "
        for service in ../x -x 'a b' 'a%i' 'x@'; do
            mantlet vault unseal s.env --tmpfs \"--service=$service\" 2>&1 | grep -o 'no name of a service'
        done
        mantlet vault unseal s.env --tmpfs --service app --user nobody-has-this 2>&1 | grep -o 'there is no user'
        printf 'export A=canary-4711' | mantlet vault encrypt - --type dotenv -o bad.env
        mantlet vault unseal bad.env --tmpfs --service app 2>&1 | grep -o 'systemd would write it into the journal'
        mantlet vault unseal s.env --service app 2>&1 | grep -c -- --tmpfs
        printf '{\"a\": 1}' | mantlet vault encrypt - --type json -o s.json
        mantlet vault unseal s.json --tmpfs --service app 2>/dev/null; cat $dir/secret
        mantlet vault unseal s.json --tmpfs --service app --print drop-in | grep -c EnvironmentFile= || true
        stop; find /run/mantlet/vault -mindepth 1";
    let mounts = if is_root() { Mounts::Root } else { Mounts::Mapped };
    let text = succeeds(&run(&world, mounts, script));
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(&lines[..5], ["no name of a service"; 5]);
    assert_eq!(lines[5..7], ["there is no user", "systemd would write it into the journal"]);
    assert!(lines[7].parse::<u32>().unwrap() > 0, "{text}");
    assert_eq!(lines[8..].concat(), "{\t\"a\": 1}0");
}

//! The jail's terminal: what a person types and sees, sizes, keys that make signals, and job control.
#![allow(clippy::unwrap_used, reason = "a test; the lint's own exception does not reach its helpers")]

mod common;

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use common::{Who, World, both, code, text};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

/// A terminal with a command in it.
struct Session {
    master: File,
    slave: OwnedFd,
    child: Child,
    output: Receiver<Vec<u8>>,
    seen: String,
}

const PATIENCE: Duration = Duration::from_secs(20);

const SIZE: Winsize = Winsize { ws_row: 33, ws_col: 111, ws_xpixel: 0, ws_ypixel: 0 };

impl Session {
    /// Starts a command that has this terminal as its own; `redirect` is said to the shell that starts it.
    fn start(world: &World, command: Command, redirect: &str) -> Session {
        let command = as_caller(world, command);
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let flags = rustix::fs::OFlags::RDWR | rustix::fs::OFlags::NOCTTY | rustix::fs::OFlags::CLOEXEC;
        let slave = rustix::fs::open(&name, flags, rustix::fs::Mode::empty()).unwrap();
        tcsetwinsize(&slave, SIZE).unwrap();
        world.give(&slave);
        let mut session = Command::new("setsid");
        session.args(["--ctty", "--wait", "bash", "-c", &format!("exec \"$@\" {redirect}"), "bash"]);
        session.arg(command.get_program()).args(command.get_args()).env_clear();
        session.current_dir(command.get_current_dir().unwrap());
        session.envs(command.get_envs().filter_map(|(n, v)| Some((n, v?)))).env("TERM", "xterm");
        for set in [Command::stdin, Command::stdout, Command::stderr] {
            set(&mut session, Stdio::from(slave.try_clone().unwrap()));
        }
        let child = session.spawn().unwrap();
        let master = File::from(master);
        let (sender, output) = channel();
        let mut reader = master.try_clone().unwrap();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            // EIO: nobody has the other side open any more.
            while let Ok(count @ 1..) = reader.read(&mut buffer) {
                if sender.send(buffer[..count].to_vec()).is_err() {
                    break;
                }
            }
        });
        Session { master, slave, child, output, seen: String::new() }
    }

    /// Waits for a text to appear, and answers everything up to its end.
    #[track_caller]
    fn expect(&mut self, wanted: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(at) = self.seen.find(wanted) {
                let rest = self.seen.split_off(at + wanted.len());
                return std::mem::replace(&mut self.seen, rest);
            }
            match self.output.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(bytes) => self.seen.push_str(&text(&bytes)),
                Err(e) => panic!("{wanted:?} does not come ({e}); seen: {:?}", self.seen),
            }
        }
    }

    fn send(&mut self, keys: &str) {
        self.master.write_all(keys.as_bytes()).unwrap();
    }

    fn resize(&self, rows: u16, columns: u16) {
        tcsetwinsize(&self.master, Winsize { ws_row: rows, ws_col: columns, ..SIZE }).unwrap();
    }

    /// Waits for the end: the exit code, and everything not yet expected.
    #[track_caller]
    fn end(mut self) -> (i32, String) {
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            if Instant::now() > deadline {
                self.child.kill().unwrap();
                panic!("it does not end; seen: {:?}", self.seen);
            }
            std::thread::sleep(Duration::from_millis(2));
        };
        let modes = tcgetattr(&self.slave).unwrap().local_modes;
        assert!(modes.contains(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG), "the terminal is left raw");
        drop(self.slave);
        let deadline = Instant::now() + Duration::from_secs(5);
        loop {
            match self.output.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(bytes) => self.seen.push_str(&text(&bytes)),
                Err(RecvTimeoutError::Disconnected) => return (code(status), self.seen),
                Err(e) => panic!("the terminal does not close: {e}"),
            }
        }
    }
}

/// The same play in a terminal without a jail and in one with it.
fn play(name: &str, line: &[&str], redirect: &str, script: impl Fn(&mut Session)) {
    for who in both() {
        let world = World::new(name, who);
        let mut ends = Vec::new();
        for is_jailed in [false, true] {
            let mut command = if is_jailed { world.jail() } else { world.outside("env") };
            if is_jailed {
                command.args(["--timeout", "60s", "--"]);
            }
            command.args(line);
            let mut session = Session::start(&world, command, redirect);
            script(&mut session);
            ends.push(session.end());
        }
        // What comes through another program has no order beside the rest.
        if redirect.contains('|') {
            for (_, shown) in &mut ends {
                *shown = sorted(shown);
            }
        }
        assert_eq!(ends[1], ends[0], "{name} as {who:?}: inside, outside");
    }
}

fn sorted(shown: &str) -> String {
    let mut lines: Vec<&str> = shown.split_inclusive('\n').collect();
    lines.sort_unstable();
    lines.concat()
}

/// `setsid` starts the command in the place of this process: a change of user goes into its arguments.
fn as_caller(world: &World, command: Command) -> Command {
    if world.who != Who::User {
        return command;
    }
    let mut outer = Command::new("setpriv");
    outer.args(["--clear-groups", "--reuid", common::USER_TEXT, "--regid", common::USER_TEXT]);
    outer.arg(command.get_program()).args(command.get_args()).current_dir(command.get_current_dir().unwrap());
    outer.envs(command.get_envs().filter_map(|(n, v)| Some((n, v?))));
    outer
}

#[test]
fn all_three_are_a_terminal_of_the_right_size() {
    let line = "for fd in 0 1 2; do test -t $fd && echo tty $fd; done; stty size; tty | cut -c1-9; echo $TERM; \
                echo e >/dev/tty; echo o >/dev/stdout; echo r >/dev/stderr; stty -a | grep -o -e 'intr = ..' -e ' echo '; exit 5";
    play("tty", &["bash", "-c", line], "", |_| {});
}

#[test]
fn typed_lines_echo_edit_and_end() {
    play("typed", &["bash", "-c", "while IFS= read -r l; do echo \"<$l>\"; done; echo end; exit 3"], "", |s| {
        s.send("one\r");
        s.expect("<one>\r\n");
        s.send("twx\x7fo\r");
        s.expect("<two>\r\n");
        s.send("gone\x15stays\r");
        s.expect("<stays>\r\n");
        s.send("ünï\r");
        s.expect("<ünï>\r\n");
        s.send("\x04");
        s.expect("end\r\n");
    });
}

#[test]
fn resizing_reaches_the_command() {
    let line = "import os, signal as s\ns.pthread_sigmask(s.SIG_BLOCK, [s.SIGWINCH]); print('ready', flush=True)\n\
                for _ in 1, 2: s.sigwait([s.SIGWINCH]); print(*os.get_terminal_size(), flush=True)";
    play("resize", &["python3", "-c", line], "", |s| {
        s.expect("ready\r\n");
        s.resize(50, 200);
        s.expect("200 50\r\n");
        s.resize(10, 20);
        s.expect("20 10\r\n");
    });
}

#[test]
fn keys_make_signals() {
    for (key, name, number) in [("\x03", "INT", 2), ("\x1c", "QUIT", 3)] {
        let program = format!(
            "$|=1; $SIG{{{name}}} = sub {{ print \"got {name}\\n\"; exit 7 }}; print \"ready\\n\"; select undef, undef, undef, 0.05 while 1"
        );
        play("keys", &["perl", "-e", &program], "", |s| {
            s.expect("ready\r\n");
            s.send(key);
            s.expect(&format!("got {name}\r\n"));
        });
        for who in both() {
            let world = World::new("keys-death", who);
            let mut command = world.jail();
            command.args(["--", "perl", "-e", "$|=1; print \"ready\\n\"; select undef, undef, undef, 0.05 while 1"]);
            let mut session = Session::start(&world, command, "");
            session.expect("ready\r\n");
            session.send(key);
            assert_eq!(session.end().0, 128 + number, "{who:?}");
        }
    }
}

#[test]
fn a_shell_in_the_jail_has_job_control() {
    play("jobs", &["bash", "--norc", "--noprofile", "--noediting", "-i"], "", |s| {
        s.send("PS1='<%> '; unset PROMPT_COMMAND\r");
        s.expect("PROMPT_COMMAND\r\n");
        s.expect("<%> ");
        s.send("sleep 100\r");
        s.expect("\r\n");
        // The shell hands the terminal to the job before that has a name of its own.
        std::thread::sleep(Duration::from_millis(300));
        s.send("\x1a");
        s.expect("Stopped");
        s.expect("<%> ");
        s.send("jobs -s | wc -l; bg >/dev/null; jobs -r | wc -l\r");
        s.expect("\r\n1\r\n1\r\n<%> ");
        s.send("fg\r");
        s.expect("\r\nsleep 100\r\n");
        std::thread::sleep(Duration::from_millis(300));
        s.send("\x03");
        s.expect("<%> ");
        s.send("echo code $?; cat\r");
        s.expect("code 130\r\n");
        s.send("to cat\r");
        s.expect("to cat\r\nto cat\r\n");
        s.send("\x04");
        s.expect("<%> ");
        s.send("sleep 100 & kill %1; wait %1; echo ended $?\r");
        s.expect("ended 143\r\n");
        s.expect("<%> ");
        s.send("exit 6\r");
        s.expect("exit\r\n");
    });
}

#[test]
fn full_screen_programs_have_raw_keys() {
    let line = "stty raw -echo; echo ready; dd bs=1 count=4 status=none | od -An -tx1; stty sane; exit 2";
    play("raw", &["bash", "-c", line], "", |s| {
        s.expect("ready\n");
        s.send("\x03\x1a\x1b\x7f");
        s.expect("03 1a 1b 7f");
    });
}

#[test]
fn only_some_of_the_three_are_a_terminal() {
    let line = "for fd in 0 1 2; do test -t $fd && echo tty $fd >&2; done; echo out; echo err >&2; exit 4";
    for redirect in ["</dev/null", "| cat", "2>&1 | cat", "2>/dev/null", "</dev/null 2>&1 | cat"] {
        // Without pipefail the code is that of `cat`, in both.
        play("some", &["bash", "-c", line], redirect, |_| {});
    }
    play(
        "interrupt",
        &["perl", "-e", "$|=1; print STDERR \"ready\\n\"; select undef, undef, undef, 0.05 while 1"],
        "</dev/null >/dev/null",
        |s| {
            s.expect("ready\r\n");
            s.send("\x03");
        },
    );
}

#[test]
fn a_lot_of_output_is_whole() {
    play("lot", &["bash", "-c", "seq 200000; printf end"], "", |s| {
        let shown = s.expect("\r\n200000\r\nend");
        let wanted: String = (1..=200_000).map(|i| format!("{i}\r\n")).collect();
        assert!(shown == format!("{wanted}end"), "{} bytes came", shown.len());
    });
}

/// Without namespaces there are no terminals of the jail's own: it gets a new one of the host's, and no other.
#[test]
fn a_jail_without_namespaces_has_a_terminal() {
    let Some(who) = both().into_iter().find(|who| *who != Who::Root) else { panic!("nobody to be") };
    let world = World::new("landlock", who);
    let policy = world.policy("");
    let text = std::fs::read_to_string(&policy).unwrap().replace("[agent.main.files]", "tier = \"landlock\"");
    std::fs::write(&policy, text).unwrap();
    let uid =
        if who == Who::User { common::USER_TEXT.to_owned() } else { rustix::process::geteuid().as_raw().to_string() };
    let (user, group) = (format!("--map-user={uid}"), format!("--map-group={uid}"));
    let none_left = "echo 0 > /proc/sys/user/max_user_namespaces; exec \"$@\"";
    let mut command =
        world.jail_through(&["unshare", "-U", &user, &group, "--keep-caps", "bash", "-c", none_left, "bash"]);
    let line = "test -t 0 && test -t 1 && stty size; (: > /dev/pts/0) 2>/dev/null || echo no other; read l; echo \"<$l>\"; exit 5";
    command.args(["exec", "--policy"]).arg(&policy).args(["--timeout", "20s", "-c", line]);
    let mut session = Session::start(&world, command, "");
    session.expect("33 111\r\nno other\r\n");
    session.send("typed\r");
    session.expect("<typed>\r\n");
    assert_eq!(session.end().0, 5);
}

#[test]
fn the_hangup_of_a_terminal_reaches_the_command() {
    for who in both() {
        let world = World::new("hangup", who);
        let mut command = world.jail();
        command.args(["-c", "trap 'echo hup > hup; exit 8' HUP; echo ready; sleep 30 & wait"]);
        let mut session = Session::start(&world, command, "");
        session.expect("ready\r\n");
        // What the kernel does when the other side of the terminal closes.
        Command::new("kill").args(["-HUP", &session.child.id().to_string()]).status().unwrap();
        assert_eq!(session.end().0, 8, "{who:?}");
        assert!(world.work().join("hup").exists(), "{who:?}");
    }
}

/// Nothing ran, so that there never was a terminal to wait for.
#[test]
fn a_refusal_by_the_monitor_ends_at_a_terminal_too() {
    use std::os::unix::fs::PermissionsExt;
    for who in both() {
        let world = World::new("refused", who);
        let ledger = world.top().join("state/mantlet/ledger");
        std::fs::create_dir_all(&ledger).unwrap();
        for dir in [ledger.parent().unwrap(), &ledger] {
            world.give(File::open(dir).unwrap());
        }
        std::fs::set_permissions(&ledger, PermissionsExt::from_mode(0o777)).unwrap();
        let mut command = world.jail();
        command.args(["--", "true"]);
        let mut session = Session::start(&world, command, "");
        session.expect("can be written by others");
        assert_eq!(session.end().0, 125, "{who:?}");
    }
}

//! What a whole agent's commands ask of the supervisor, and what an attacker in the jail makes of it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test; the lint's own exception does not reach its helpers")]

#[path = "whole/agent.rs"]
mod agent;
mod common;

use std::process::Output;

use agent::{Agent, wait_until};
use common::{Who, both, everyone, must_succeed, text};

const ASK: &str = include_str!("whole/ask.py");

fn said(output: &Output) -> String {
    format!("{}{}", text(&output.stdout), text(&output.stderr))
}

/// An agent whose scripts find `ask.py` in the workspace.
fn asking(name: &str, who: Who) -> Agent {
    let agent = Agent::new(name, who, "openclaw");
    std::fs::write(agent.workspace().join("ask.py"), ASK).unwrap();
    agent
}

fn line<'o>(output: &'o str, name: &str) -> &'o str {
    let found = output.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    found.unwrap_or_else(|| panic!("no {name:?} in {output}"))
}

#[test]
fn a_command_of_the_agent_gets_a_jail_of_its_own() {
    for who in everyone() {
        let agent = asking("own", who);
        agent.state("openclaw.json", "{}");
        let script = "
            cat /run/mantlet/jail | head -n 1; test -r ~/.openclaw/openclaw.json && echo agent sees state
            mantlet-run exec -c 'test -e ~/.openclaw/openclaw.json || echo command does not; pwd; echo in the workspace > by-exec'
            mantlet-run exec --agent main --client openclaw -- sh -c 'exit 7'; echo code $?
            printf 'one\\ntwo\\n' | mantlet-run exec -c 'cat; echo err >&2' 2> err; cat err
            mantlet-run exec -- head -c 3000000 /dev/zero | wc -c
            (cd sub && mantlet-run exec -- pwd)
            mantlet-run exec --env GIVEN=own -c 'echo \"$GIVEN|$PASSED|$OPENAI_API_KEY|$SECRET\"'
            mantlet-run exec -- sleep 60 & sleep 0.5; kill $!; wait $!; echo killed $?
            mantlet-run exec --timeout 300ms -- sleep 60; echo timed out $?
            mantlet-run exec --report report -- true; grep -o '\"tier\":\"full\"' report
            mantlet-run exec -- /nonexistent; echo missing $?";
        std::fs::create_dir(agent.workspace().join("sub")).unwrap();
        let env = [("PASSED", "by policy"), ("OPENAI_API_KEY", "the agent's"), ("SECRET", "the owner's")];
        let output = agent.run_with(script, &env);
        must_succeed(&output, &format!("{who:?}"));
        let workspace = agent.workspace().to_str().unwrap().to_owned();
        let wanted = format!(
            "main\nagent sees state\ncommand does not\n{workspace}\ncode 7\none\ntwo\nerr\n3000000\n{workspace}/sub\n\
             own|by policy||\nkilled 143\ntimed out 137\n\"tier\":\"full\"\nmissing 127\n"
        );
        assert_eq!(text(&output.stdout), wanted, "{who:?}: {}", text(&output.stderr));
        assert_eq!(std::fs::read_to_string(agent.workspace().join("by-exec")).unwrap(), "in the workspace\n");
        // Each call has an entry of its own, beside the run's two.
        assert!(agent.ledger().lines().count() >= 10, "{who:?}: {}", agent.ledger());
        assert!(agent.processes("sleep").is_empty(), "{who:?}");
    }
}

#[test]
fn what_decides_over_a_call_cannot_be_asked_for() {
    for who in both() {
        let agent = asking("decides", who);
        for (words, why) in [
            ("exec --policy mantlet.toml -- true", "--policy"),
            ("exec --agent other -- true", "no other agent"),
            ("exec --client claude -- true", "no other client"),
            ("exec --with /bin/true -- true", "--with"),
            ("exec --workspace / -- true", "not in the agent's own"),
            ("run main -- true", "does not nest"),
        ] {
            let output = agent.run(&format!("mantlet-run {words}"));
            assert_eq!(output.status.code(), Some(125), "{who:?}: {words}: {}", said(&output));
            assert!(said(&output).contains(why), "{who:?}: {words}: {}", said(&output));
        }
        // In the jail of a command there is nobody to ask.
        let output = agent.run("mantlet-run exec -c 'test ! -e /run/mantlet/exec.sock && echo none'");
        assert_eq!(text(&output.stdout), "none\n", "{who:?}: {}", said(&output));
    }
}

#[test]
fn a_terminal_of_the_agents_is_made_again_for_its_command() {
    for who in both() {
        let agent = asking("terminal", who);
        let inner = "for fd in 0 1 2; do test -t $fd && echo tty $fd; done; stty size; echo err >&2; read x; echo \"<$x>\"; exit 6";
        let script = format!("printf 'typed\\n' | mantlet-run exec --terminal 31x97 -c '{inner}'; echo code $?");
        // The terminal shows the keys whenever they come.
        let seen = text(&agent.run(&script).stdout).replace("\r\n", "\n").replace("typed\n", "");
        for part in ["tty 0\ntty 1\ntty 2\n31 97\n", "err\n", "<typed>\n", "code 6\n"] {
            assert!(seen.contains(part), "{who:?}: {part:?} in {seen:?}");
        }
        // A terminal that the agent itself has: its size, its changes, and a file beside it.
        let python = "import fcntl, os, pty, signal, struct, sys, termios, time
def size(fd, rows): fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack('HHHH', rows, 100, 0, 0))
pid, fd = pty.fork()
if pid == 0:
    time.sleep(0.3)
    os.execvp('bash', ['bash', '-c', 'exec mantlet-run exec -c \"stty size; test -t 2 || echo file >&2; read a; stty size; exit 4\" 2> err'])
size(fd, 40)
seen = b''
while b'40 100' not in seen: seen += os.read(fd, 1000)
size(fd, 50)
os.kill(pid, signal.SIGWINCH)
time.sleep(0.3)
os.write(fd, b'x\\n')
try:
    while True:
        got = os.read(fd, 1000)
        if not got: break
        seen += got
except OSError: pass
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), '50 100' in seen.decode(), open('err').read().strip())";
        std::fs::write(agent.workspace().join("pty.py"), python).unwrap();
        std::fs::rename(agent.workspace().join("pty.py"), agent.workspace().join("own.py")).unwrap();
        let output = agent.run("timeout 20 python3 own.py");
        assert_eq!(text(&output.stdout), "4 True file\n", "{who:?}: {}", said(&output));
    }
}

#[test]
fn forged_requests_are_refused_and_end_nothing() {
    for who in everyone() {
        let agent = asking("forged", who);
        let output = agent.run("python3 ask.py forgeries");
        must_succeed(&output, &format!("{who:?}"));
        let said = text(&output.stdout);
        for (name, wanted) in [
            ("valid", "accepted 0"),
            ("valid-code", "accepted 3"),
            ("pipes", "accepted 0"),
            ("pipe-says", "through a pipe"),
            ("sockets", "accepted 0"),
            ("socket-says", "through a socket"),
            ("file", "accepted 0"),
            ("file-says", "into a file"),
            ("valid-after", "accepted 0"),
        ] {
            assert_eq!(line(&said, name), wanted, "{who:?}: {name}: {said}");
        }
        for name in [
            "no-descriptors",
            "two-descriptors",
            "four-descriptors",
            "ten-descriptors",
            "directory",
            "path-descriptor",
            "path-of-file",
            "device",
            "terminal",
            "nameless",
            "proc-file",
            "agent",
            "policy",
            "workspace",
            "workspace-dots",
            "nothing",
            "garbage",
            "nul",
            "cut-off",
            "oversized",
            "longer-than-said",
            "monitors-tag",
            "unknown-tag",
            "descriptors-later",
            "truncated",
        ] {
            assert!(line(&said, name).starts_with("refused: "), "{who:?}: {name}: {said}");
        }
        wait_until("the ledger tells of it", || agent.ledger().contains("a request to the supervisor"));
    }
}

#[test]
fn a_directory_is_looked_for_in_the_jail_alone() {
    for who in both() {
        let agent = asking("places", who);
        agent.home(".ssh/id", "private");
        let output = agent.run("python3 ask.py places");
        must_succeed(&output, &format!("{who:?}"));
        let said = text(&output.stdout);
        let workspace = agent.workspace().to_str().unwrap();
        assert_eq!(line(&said, "cwd"), format!("accepted 0 | {workspace}/sub"));
        assert_eq!(line(&said, "here"), format!("accepted 0 | {workspace}/sub"));
        assert_eq!(line(&said, "here-outside"), format!("accepted 0 | {workspace}"));
        assert!(line(&said, "cwd-dots").contains("No such file"), "{said}");
        // Root's home is no place of the jail: whether it is there outside is not told.
        for name in ["cwd-link", "cwd-absent"] {
            assert!(line(&said, name).starts_with("accepted 125 enter"), "{who:?}: {said}");
        }
        assert!(!line(&said, "cwd-top").contains("ssh"), "{who:?}: {said}");
    }
}

/// Behind a descriptor of the process that builds the jail, nothing is covered and nothing is read-only.
#[test]
fn a_descriptor_of_the_jails_builder_is_no_directory_to_start_in() {
    for who in both() {
        let agent = asking("builder", who);
        std::fs::write(agent.workspace().join(".envrc"), "owner").unwrap();
        std::fs::write(agent.workspace().join("secret"), "hidden").unwrap();
        agent.add_policy("[agent.main.files]\ndeny = [\"secret\"]\n");
        let output = agent.run("python3 ask.py descriptors");
        must_succeed(&output, &format!("{who:?}"));
        let all = text(&output.stdout);
        assert_eq!(all.lines().count(), 17 * 3, "{who:?}: {all}");
        for line in all.lines() {
            assert!(line.contains("accepted 125 ") && line.trim_end().ends_with('|'), "{who:?}: {line}");
        }
        let kept = std::fs::read_to_string(agent.workspace().join(".envrc")).unwrap();
        assert_eq!(kept, "owner", "{who:?}");
        // The twin: the same words where a command may start.
        let twin =
            agent.run("mantlet-run exec --cwd . -c 'ls ask.py; cat secret; echo evil >> .envrc; echo ours > made'");
        assert!(text(&twin.stdout).contains("ask.py") && !said(&twin).contains("hidden"), "{who:?}: {}", said(&twin));
        assert!(agent.workspace().join("made").exists(), "{who:?}");
    }
}

#[test]
fn silent_connections_hold_nothing_up() {
    let who = *everyone().last().unwrap();
    let agent = asking("held", who);
    let said = text(&agent.run("python3 ask.py held").stdout);
    for (name, wanted) in
        [("valid-beside", "accepted 0"), ("at-once", "True"), ("after", "True"), ("valid-later", "accepted 0")]
    {
        assert_eq!(line(&said, name), wanted, "{said}");
    }
    assert!(line(&said, "held").starts_with("refused: "), "{said}");
}

/// More than may run at one time wait their turn.
#[test]
fn five_hundred_requests_at_once_are_all_answered() {
    let who = *everyone().last().unwrap();
    let agent = asking("many", who);
    let output = agent.run("python3 ask.py many 500");
    assert_eq!(line(&text(&output.stdout), "many"), "500 of 500", "{}", text(&output.stderr));
}

/// The socket of a jail in the hands of another process: what the kernel says of who connects decides.
#[test]
fn a_process_of_another_jail_or_of_none_is_refused() {
    for who in both() {
        let agent = asking("foreign", who);
        let socket = agent.workspace().join("s");
        let socket = socket.to_str().unwrap();
        let mut run = agent.start(&format!("python3 ask.py give {socket} & wait"));
        // The twin: by the same name, the jail itself.
        run.expect("at: accepted 0\n");
        run.expect("given\n");
        let other = agent.words(&["run", "other", "--", "python3", "ask.py", "take", socket]);
        assert!(
            line(&text(&other.stdout), "at").starts_with("refused: this process is not in the jail"),
            "{}",
            said(&other)
        );
        // Outside, by the root of a process of the jail.
        let jailed = *agent.processes("python3").first().unwrap();
        let own = format!("/proc/{jailed}/root/run/mantlet/exec.sock");
        let outside = agent.outside(&format!("python3 ask.py at {own}"));
        assert!(
            line(&text(&outside.stdout), "at").starts_with("refused: this process is not in the jail"),
            "{}",
            said(&outside)
        );
        run.signal("TERM");
        run.wait();
        assert!(agent.ledger().contains("a process outside of the agent's jail"), "{}", agent.ledger());
    }
}

#[test]
fn a_killed_client_ends_its_call_and_a_killed_run_ends_all() {
    for who in everyone() {
        let agent = asking("killed", who);
        let script = "mantlet-run exec -- sleep 4444 & a=$!
            mantlet-run exec -- sleep 5555 & mantlet-run exec -c 'trap \"\" TERM; sleep 5555' &
            read go; kill -KILL $a; echo killed; read go";
        let mut run = agent.start(script);
        let sleeping = |seconds: &str| {
            let is_it =
                |pid: &i32| std::fs::read_to_string(format!("/proc/{pid}/cmdline")).is_ok_and(|c| c.contains(seconds));
            agent.processes("sleep").iter().filter(|pid| is_it(pid)).count()
        };
        wait_until("all sleep", || sleeping("4444") == 1 && sleeping("5555") == 2);
        run.say("go\n");
        run.expect("killed\n");
        wait_until("the call is over", || sleeping("4444") == 0);
        assert_eq!(sleeping("5555"), 2, "{who:?}");
        run.signal("KILL");
        run.wait();
        wait_until("everything is over", || agent.processes("sleep").is_empty());
        // And it starts again.
        let output = agent.run("mantlet-run exec -- echo again");
        assert_eq!(text(&output.stdout), "again\n", "{who:?}: {}", said(&output));
    }
}

/// An ordinary end takes the calls along before it says that it is over.
#[test]
fn the_end_of_a_run_waits_for_the_end_of_its_calls() {
    for who in both() {
        let agent = asking("ends", who);
        let output = agent.run("mantlet-run exec -c 'echo evil > .envrc; echo ready; sleep 6666' > out & until grep -q ready out; do sleep 0.02; done");
        must_succeed(&output, &format!("{who:?}"));
        assert!(agent.processes("sleep").is_empty(), "{who:?}");
        assert!(!agent.workspace().join(".envrc").exists(), "{who:?}");
    }
}

/// A policy that is widened while the agent runs gives its commands no more than the agent has; a narrower one holds.
#[test]
fn a_command_gets_no_more_than_the_agent() {
    for who in both() {
        let agent = asking("subset", who);
        agent.home("extra/file", "extra");
        let extra = agent.path("extra");
        let policy = agent.top().join("mantlet.toml");
        let script = format!(
            "echo ready; read go; mantlet-run exec -c 'cat {}/file || echo absent'; echo done",
            extra.display()
        );
        let mut run = agent.start(&script);
        run.expect("ready\n");
        let text_before = std::fs::read_to_string(&policy).unwrap();
        let widened = text_before
            .replace("[agent.main.env]", &format!("[agent.main.files]\nread = [{extra:?}]\n[agent.main.env]"));
        std::fs::write(&policy, &widened).unwrap();
        run.say("go\n");
        assert!(run.expect("done\n").contains("absent\n"), "{who:?}");
        run.end();
        // Started again, it has it: the twin.
        let output = agent.run(&format!("mantlet-run exec -c 'cat {}/file'", extra.display()));
        assert_eq!(text(&output.stdout), "extra", "{who:?}: {}", said(&output));
    }
}

/// An agent whose role runs no commands runs itself, and no commands.
#[test]
fn a_role_without_commands_has_none_from_its_supervisor() {
    let who = *everyone().last().unwrap();
    let agent = asking("scout", who);
    let policy = agent.top().join("mantlet.toml");
    let text_before = std::fs::read_to_string(&policy).unwrap();
    std::fs::write(&policy, text_before.replacen("builder", "scout", 1)).unwrap();
    let output = agent.run("echo runs; echo x > made || echo read-only; mantlet-run exec -- true; echo code $?");
    assert_eq!(text(&output.stdout), "runs\nread-only\ncode 125\n", "{}", said(&output));
    assert!(text(&output.stderr).contains("which runs no commands"), "{}", said(&output));
}

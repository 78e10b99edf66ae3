//! A whole agent in its jail: what of the home and of the client's state it has, and what it can change of them.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test; the lint's own exception does not reach its helpers")]

#[path = "whole/agent.rs"]
mod agent;
mod common;

use agent::{Agent, wait_until};
use common::{Who, both, everyone, must_succeed, text};

/// The attacks on what a client's next session obeys, and the work that must go on, as one script: each line says what
/// it could do.
const TRY: &str = "try() { if eval \"$2\" 2>/dev/null; then echo \"can $1\"; else echo \"cannot $1\"; fi; }";

#[test]
fn openclaw_state_is_read_only_with_writable_holes() {
    for who in everyone() {
        let agent = Agent::new("holes", who, "openclaw");
        agent.state("openclaw.json", "{}");
        agent.state("extensions/mine/index.js", "owner");
        agent.state("agents/main/sessions/x", "session");
        agent.state(".env", "KEY=own");
        agent.home(".ssh/id_ed25519", "private");
        agent.home("notes.txt", "notes");
        let script = format!(
            "{TRY}
            try write-config 'echo x >> ~/.openclaw/openclaw.json'
            try replace-config 'mv -f ~/.openclaw/openclaw.json ~/.openclaw/tmp/x'
            try add-name 'echo x > ~/.openclaw/settings.json'
            try add-plugin 'mkdir ~/.openclaw/extensions/evil'
            try write-plugin 'echo x > ~/.openclaw/extensions/mine/index.js'
            try rename-state '(cd ~ && perl -e \"rename(q(.openclaw), q(.other)) or exit 1\")'
            try rename-hole '(cd ~/.openclaw && perl -e \"rename(q(agents), q(tmp/agents)) or exit 1\")'
            try read-ssh 'cat ~/.ssh/id_ed25519'
            try read-home 'cat ~/notes.txt'
            try read-config 'cat ~/.openclaw/openclaw.json'
            try read-own-keys 'grep KEY ~/.openclaw/.env'
            try write-session 'echo more >> ~/.openclaw/agents/main/sessions/x'
            try make-state 'echo db > ~/.openclaw/state/db.sqlite'
            try write-workspace 'echo ours > made'"
        );
        let output = agent.run(&script);
        must_succeed(&output, &format!("{who:?}"));
        let said = text(&output.stdout);
        for denied in [
            "write-config",
            "replace-config",
            "add-name",
            "add-plugin",
            "write-plugin",
            "rename-state",
            "rename-hole",
            "read-ssh",
            "read-home",
        ] {
            assert!(said.contains(&format!("cannot {denied}\n")), "{who:?}: {denied}: {said}");
        }
        for allowed in ["read-config", "read-own-keys", "write-session", "make-state", "write-workspace"] {
            assert!(said.contains(&format!("can {allowed}\n")), "{who:?}: {allowed}: {said}");
        }
        assert_eq!(agent.read(".openclaw/agents/main/sessions/x"), "sessionmore\n", "{who:?}");
        assert_eq!(agent.read(".openclaw/state/db.sqlite"), "db\n", "{who:?}");
        // The control: the same moves succeed outside.
        let control = text(&agent.outside(&script).stdout);
        for moved in ["write-config", "add-plugin", "read-ssh", "rename-state"] {
            assert!(control.contains(&format!("can {moved}\n")), "{who:?}: control {moved}: {control}");
        }
    }
}

/// The workspace lies inside the state directory by default, and stays where it is.
#[test]
fn a_workspace_in_the_state_directory_is_writable_in_place() {
    for who in everyone() {
        let agent = Agent::new("inside", who, "openclaw").workspace_in(".openclaw/workspace");
        let output =
            agent.run("pwd; echo ours > made; echo x > ~/.openclaw/workspace/made2; echo x > ~/.openclaw/y || echo no");
        must_succeed(&output, "run");
        assert!(text(&output.stdout).contains("/home/.openclaw/workspace\nno\n"), "{}", text(&output.stdout));
        assert_eq!(agent.read(".openclaw/workspace/made"), "ours\n");
        assert_eq!(agent.read(".openclaw/workspace/made2"), "x\n");
    }
}

/// An editor or a hot reload renames a new file over the configuration: a mount on the file itself would fall off.
#[test]
fn a_configuration_replaced_from_outside_is_seen_at_once_and_stays_read_only() {
    for who in everyone() {
        let agent = Agent::new("replaced", who, "openclaw");
        agent.state("openclaw.json", "old");
        let mut run = agent.start(
            "echo ready; until grep -q new ~/.openclaw/openclaw.json; do sleep 0.02; done; cat ~/.openclaw/openclaw.json
             echo evil > ~/.openclaw/openclaw.json || echo refused",
        );
        run.expect("ready\n");
        agent.state("half", "new");
        std::fs::rename(agent.path(".openclaw/half"), agent.path(".openclaw/openclaw.json")).unwrap();
        run.expect("new");
        run.expect("refused\n");
        run.end();
        assert_eq!(agent.read(".openclaw/openclaw.json"), "new", "{who:?}");
    }
}

/// Clients that make files at the top of their state: what exists is read-only, what does not is undone at once.
#[test]
fn names_that_the_next_session_obeys_are_held_or_undone() {
    for who in everyone() {
        let agent = Agent::new("names", who, "codex");
        agent.state("config.toml", "owner");
        let mut run = agent.start(&format!(
            "{TRY}
            try write-config 'echo evil > ~/.codex/config.toml'
            try replace-config 'echo evil > ~/.codex/x && mv -f ~/.codex/x ~/.codex/config.toml'
            try add-skill 'mkdir ~/.codex/skills/evil'
            try make-database 'echo db > ~/.codex/state_5.sqlite'
            echo evil > ~/.codex/hooks.json; echo planted
            while test -e ~/.codex/hooks.json; do sleep 0.01; done; echo undone; read end"
        ));
        for said in ["cannot write-config", "cannot replace-config", "cannot add-skill", "can make-database"] {
            run.expect(&format!("{said}\n"));
        }
        run.expect("planted\n");
        // While it runs, not at its end.
        run.expect("undone\n");
        assert_eq!(agent.read(".codex/config.toml"), "owner", "{who:?}");
        wait_until("the ledger says so", || agent.ledger().contains("hooks.json"));
        run.close();
        let (_, error) = run.end();
        assert!(error.contains("hooks.json") && error.contains("quarantined"), "{who:?}: {error}");
        assert_eq!(agent.read(".codex/state_5.sqlite"), "db\n", "{who:?}");
    }
}

/// A file in the home that a client replaces by renaming is a copy: nothing it writes there reaches the next session.
#[test]
fn a_copied_file_ends_with_the_jail() {
    for who in everyone() {
        let agent = Agent::new("copied", who, "claude");
        agent.home(".claude.json", "{\"own\":1}");
        let output = agent.run("cat ~/.claude.json; echo evil > ~/.x && mv ~/.x ~/.claude.json && cat ~/.claude.json");
        must_succeed(&output, "run");
        assert_eq!(text(&output.stdout), "{\"own\":1}evil\n", "{who:?}");
        assert_eq!(agent.read(".claude.json"), "{\"own\":1}", "{who:?}");
    }
}

#[test]
fn other_processes_and_the_owners_environment_are_absent() {
    for who in everyone() {
        let agent = Agent::new("absent", who, "openclaw");
        let script = "cat /proc/[0-9]*/environ | tr '\\0' '\\n' | grep -c SECRET; ls /proc | grep -c '^[0-9]'; \
                      echo \"key $OPENAI_API_KEY\"; ls /home /root 2>&1 | grep -c .";
        let output = agent.run_with(script, &[("MY_SECRET", "s"), ("OPENAI_API_KEY", "own-key")]);
        let said = text(&output.stdout);
        let lines: Vec<&str> = said.lines().collect();
        assert_eq!((lines[0], lines[2]), ("0", "key own-key"), "{who:?}: {said}");
        assert!(lines[1].parse::<u32>().unwrap() < 10, "{who:?}: {said}");
        let control = text(&agent.outside_with("env | grep -c SECRET", &[("MY_SECRET", "s")]).stdout);
        assert_eq!(control, "1\n", "{who:?}");
    }
}

#[test]
fn a_state_directory_that_is_a_home_or_holds_the_policy_is_refused() {
    let who = *everyone().last().unwrap();
    let agent = Agent::new("moved", who, "claude");
    for (to, why) in [(agent.path(""), "whole home"), (agent.top().to_owned(), "whole home")] {
        let output = agent.run_with("true", &[("CLAUDE_CONFIG_DIR", to.to_str().unwrap())]);
        assert_eq!(output.status.code(), Some(125));
        assert!(text(&output.stderr).contains(why), "{}", text(&output.stderr));
    }
    let own = agent.path(".claude-elsewhere");
    let output =
        agent.run_with("echo x > \"$CLAUDE_CONFIG_DIR/made\"", &[("CLAUDE_CONFIG_DIR", own.to_str().unwrap())]);
    must_succeed(&output, "moved");
    assert_eq!(agent.read(".claude-elsewhere/made"), "x\n");
}

#[test]
fn a_dry_run_makes_and_runs_nothing() {
    for who in everyone() {
        let agent = Agent::new("dry", who, "openclaw");
        let before = agent.names();
        let output = agent.words(&["run", "main", "--dry-run", "--", "sh", "-c", "touch made"]);
        must_succeed(&output, "dry run");
        let said = text(&output.stdout);
        for part in ["client: openclaw\n", "network: none\n", ".openclaw", "writable: "] {
            assert!(said.contains(part), "{who:?}: {part}: {said}");
        }
        assert_eq!(agent.names(), before, "{who:?}");
    }
}

#[test]
fn the_report_is_there_while_it_runs_and_says_what_holds() {
    for who in everyone() {
        let agent = Agent::new("report", who, "codex");
        let mut run = agent.start("echo ready; read end || true");
        run.expect("ready\n");
        wait_until("the report", || agent.report()["reason"] == "it runs");
        let report = agent.report();
        assert_eq!(report["kind"], "service");
        assert_eq!(report["mechanisms"]["mount"], "full", "{who:?}: {report}");
        assert!(report["limits"].get("time_ms").is_none() && report["limits"]["memory"] == 8_u64 << 30);
        assert_eq!(report["whole"]["client"], "codex");
        assert_eq!(report["whole"]["own_sandbox"], "not the client's own program: left as it is");
        run.close();
        let (code, error) = run.end();
        assert_eq!(code, 0, "{who:?}: {error}");
        assert!(error.contains("main runs in a jail of its own: no network"), "{who:?}: {error}");
        assert!(agent.report()["reason"].is_null());
    }
}

#[test]
fn a_signal_and_an_exit_code_pass_and_a_kill_leaves_nothing() {
    for who in everyone() {
        let agent = Agent::new("signals", who, "openclaw");
        let mut run = agent.start("trap 'echo got; exit 9' TERM; echo ready; while :; do sleep 0.05; done");
        run.expect("ready\n");
        run.signal("TERM");
        run.expect("got\n");
        assert_eq!(run.end().0, 9, "{who:?}");
        let mut run = agent.start("sleep 4321 & echo ready; sleep 4321");
        run.expect("ready\n");
        run.signal("KILL");
        run.wait();
        wait_until("everything is dead", || agent.processes("sleep").is_empty());
        // The next call reviews what the killed one left; nothing of it is left behind.
        must_succeed(&agent.run("true"), "after the kill");
    }
}

/// What a killed run planted in the state is undone before the next one starts.
#[test]
fn a_run_whose_monitor_is_killed_is_reviewed_by_the_next() {
    let who = Who::Caller;
    let who = if everyone().contains(&who) { who } else { Who::User };
    let agent = Agent::new("recovered", who, "codex");
    let mut run = agent.start("echo ready; read go; echo evil > ~/.codex/hooks.json; sleep 4322");
    run.expect("ready\n");
    // The monitor is stopped first, so that it cannot undo.
    let monitors = agent.processes("mantlet-monitor");
    assert!(!monitors.is_empty());
    monitors.iter().for_each(|pid| agent::kill(*pid, "STOP"));
    run.say("go\n");
    wait_until("it is planted", || agent.path(".codex/hooks.json").exists());
    monitors.iter().for_each(|pid| agent::kill(*pid, "KILL"));
    run.wait();
    let output = agent.run("test ! -e ~/.codex/hooks.json && echo clean");
    assert!(text(&output.stdout).contains("clean"), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("hooks.json"), "{}", text(&output.stderr));
}

/// Without a network the host's loopback is out of reach; with the host's, its abstract sockets still are.
#[test]
fn the_network_is_what_was_asked_for_and_abstract_sockets_stay_out() {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::{SocketAddr, UnixListener};
    for who in everyone() {
        let agent = Agent::new("network", who, "openclaw");
        let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = server.local_addr().unwrap().port();
        let name = format!("mantlet-test-{port}");
        let abstract_server = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        let script = format!(
            "python3 -c \"
import socket
def can(family, address):
    try: socket.socket(family).connect(address); return 'yes'
    except OSError: return 'no'
print(can(socket.AF_INET, ('127.0.0.1', {port})), can(socket.AF_UNIX, chr(0) + '{name}'))\"
            grep -c . /etc/resolv.conf; grep -q 'no way out' /etc/resolv.conf && echo own || echo hosts"
        );
        let run = |network: &str| {
            let report = agent.top().join("state/report");
            let report = report.to_str().unwrap();
            let words = ["run", "main", "--network", network, "--report", report, "--", "bash", "-c", &script];
            let output = agent.words(&words);
            must_succeed(&output, network);
            (text(&output.stdout), text(&output.stderr))
        };
        let (none, _) = run("none");
        assert!(none.starts_with("no no\n") && none.ends_with("own\n"), "{who:?}: {none}");
        assert_eq!(agent.report()["mechanisms"]["network"], "full");
        let (host, error) = run("host");
        assert!(host.starts_with("yes no\n") && host.ends_with("hosts\n"), "{who:?}: {host}");
        assert!(error.contains("the host's network, not confined"), "{who:?}: {error}");
        assert!(agent.report()["mechanisms"]["network"].as_str().unwrap().contains("not confined"));
        // The control: outside both are in reach.
        assert!(text(&agent.outside(&script).stdout).starts_with("yes yes\n"), "{who:?}");
        drop((server, abstract_server));
    }
}

/// What a program is installed with is shown, the rest of the home is not, and a secret beside it refuses the run.
#[test]
fn a_program_of_the_home_comes_with_its_installation() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    for who in everyone() {
        let agent = Agent::new("installed", who, "openclaw");
        agent.home(
            ".npm-global/lib/node_modules/tool/cli.sh",
            "#!/usr/bin/env own-sh\ncat \"$(dirname \"$(realpath \"$0\")\")/../other/data\"; ls ~ -A; echo \"$@\"\n",
        );
        agent.home(".npm-global/lib/node_modules/other/data", "data of a package beside\n");
        agent.home(".npm-global/secret", "no part of it");
        agent.home("runtimes/own-sh/bin/own-sh", "");
        for program in [".npm-global/lib/node_modules/tool/cli.sh", "runtimes/own-sh/bin/own-sh"] {
            std::fs::set_permissions(agent.path(program), PermissionsExt::from_mode(0o755)).unwrap();
        }
        std::fs::remove_file(agent.path("runtimes/own-sh/bin/own-sh")).unwrap();
        std::fs::copy("/bin/sh", agent.path("runtimes/own-sh/bin/own-sh")).unwrap();
        std::fs::create_dir_all(agent.path("bin")).unwrap();
        symlink("../.npm-global/lib/node_modules/tool/cli.sh", agent.path("bin/tool")).unwrap();
        let path =
            format!("{}:{}:/usr/bin:/bin", agent.path("bin").display(), agent.path("runtimes/own-sh/bin").display());
        let run = || {
            let mut command = agent.command(&["run", "main", "--", "tool", "a b"]);
            command.env("PATH", &path).output().unwrap()
        };
        let output = run();
        must_succeed(&output, &format!("{who:?}"));
        let said = text(&output.stdout);
        assert!(said.starts_with("data of a package beside\n") && said.ends_with("a b\n"), "{who:?}: {said}");
        assert!(
            said.contains(".npm-global\n") && !said.contains("secret") && !said.contains("\nbin\n"),
            "{who:?}: {said}"
        );
        // In the home itself it is one file; beside keys it is refused.
        agent.home(".ssh/id_x", "private");
        std::fs::remove_file(agent.path("bin/tool")).unwrap();
        std::fs::copy("/bin/true", agent.path(".ssh/tool")).unwrap();
        symlink("../.ssh/tool", agent.path("bin/tool")).unwrap();
        let output = run();
        assert_eq!(output.status.code(), Some(125), "{who:?}");
        assert!(
            text(&output.stderr).contains("cannot be shown") && text(&output.stderr).contains("hint: "),
            "{}",
            text(&output.stderr)
        );
    }
}

/// A state directory is often a symlink to a larger disk: programs find it by either name, and it is held by both.
#[test]
fn a_state_directory_behind_a_symlink_is_held_by_either_name() {
    for who in everyone() {
        let agent = Agent::new("linked", who, "openclaw");
        agent.home("data/oc/openclaw.json", "{}");
        std::os::unix::fs::symlink(agent.path("data/oc"), agent.path(".openclaw")).unwrap();
        let data = agent.path("data/oc");
        let script = format!(
            "{TRY}; try config 'echo x > ~/.openclaw/openclaw.json'; try other 'echo x > {0}/openclaw.json';
            try state 'echo x > ~/.openclaw/state/a && cat {0}/state/a'",
            data.display()
        );
        let output = agent.run(&script);
        assert_eq!(
            text(&output.stdout),
            "cannot config\ncannot other\nx\ncan state\n",
            "{who:?}: {}",
            text(&output.stderr)
        );
    }
}

/// A script that the agent can write must not choose what of the home is shown.
#[test]
fn a_script_of_the_agents_opens_nothing_by_its_first_line() {
    use std::os::unix::fs::PermissionsExt as _;
    for who in everyone() {
        let agent = Agent::new("shebang", who, "openclaw").workspace_in("project/work");
        agent.home("papers/letter.txt", "private");
        agent.home("project/package.json", "{}");
        agent.home("project/tools/notes.txt", "around");
        let script = |name: &str, line: &str| {
            let path = agent.workspace().join(name);
            std::fs::write(&path, format!("#!{line}\ncat ~/papers/letter.txt ~/project/tools/notes.txt; pwd\n"))
                .unwrap();
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
        };
        let run = |words: &[&str]| agent.words(&[&["run", "main", "--"], words].concat());
        script("start", agent.path("papers/letter.txt").to_str().unwrap());
        let output = run(&["./start"]);
        assert_eq!(output.status.code(), Some(125), "{who:?}: {}", text(&output.stderr));
        assert!(text(&output.stderr).contains("hint: name the interpreter yourself"), "{}", text(&output.stderr));
        // The twin, which also shows nothing of the project around the workspace.
        script("start", "/bin/sh");
        let output = run(&["./start"]);
        assert!(text(&output.stdout).ends_with("/project/work\n"), "{who:?}: {}", text(&output.stderr));
        assert!(!text(&output.stdout).contains("around"), "{who:?}: {}", text(&output.stdout));
    }
}

/// Each new name of a full directory is looked through: the agent decides how often.
#[test]
fn a_storm_of_renames_keeps_nobody_from_ending_the_run() {
    for who in both() {
        let agent = Agent::new("storm", who, "openclaw");
        for dir in 0..4 {
            let dir = agent.workspace().join(format!("a{dir}"));
            std::fs::create_dir(&dir).unwrap();
            (0..400).for_each(|file| drop(std::fs::File::create(dir.join(file.to_string())).unwrap()));
        }
        let storm = "import os
for d in range(4):
    if os.fork() == 0:
        while True: os.rename(f'a{d}', f'b{d}'); os.rename(f'b{d}', f'a{d}')
print('storm', flush=True)
os.wait()";
        std::fs::write(agent.workspace().join("storm.py"), storm).unwrap();
        let mut run = agent.start("exec python3 storm.py");
        run.expect("storm\n");
        std::thread::sleep(std::time::Duration::from_secs(1));
        run.signal("TERM");
        let since = std::time::Instant::now();
        let (code, said) = run.end();
        assert_eq!(code, 143, "{who:?}: {said}");
        assert!(since.elapsed().as_secs() < 5, "{who:?}: {:?}", since.elapsed());
    }
}

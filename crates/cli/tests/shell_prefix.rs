//! Claude Code's shell prefix and MCP servers: scripts of the shape that Claude 2.1.330 was seen to give.
#![allow(clippy::unwrap_used, reason = "a test; the lint's own exception does not reach its helpers here")]

mod common;

use std::fs;
use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use common::{World, code, err, everybody, out};

fn world(name: &str, who: common::Who) -> World {
    let mut world = World::new(name, who);
    world.builder("client = \"claude\"\n");
    world.file("home/.ssh/id_canary", "CANARY\n");
    world.env("ANTHROPIC_API_KEY", "CANARY");
    world.env("CLAUDECODE", "1");
    world
}

/// The script that Claude makes of a command.
fn script(world: &World, command: &str) -> String {
    let snapshot = world.home().join(".claude/shell-snapshots/snapshot-bash-1-a.sh");
    let quoted = command.replace('\'', r"'\''");
    format!(
        "source {} 2>/dev/null || true && {{ \\builtin shopt -u extglob || \\builtin setopt NO_EXTENDED_GLOB; }} >/dev/null 2>&1 || true && eval '{quoted}' < /dev/null && pwd -P >| {}",
        snapshot.display(),
        cwd_file(world).display(),
    )
}

fn cwd_file(world: &World) -> std::path::PathBuf {
    world.home().join("claude-0f2d-cwd")
}

/// Runs it as Claude does: standard output and standard error are one file.
fn run(world: &World, script: &str) -> (i32, String) {
    let path = world.file("out", "");
    let file = fs::File::options().append(true).open(&path).unwrap();
    let mut command = world.command("mantlet");
    command.args(["--shell-prefix", script]).stdout(file.try_clone().unwrap()).stderr(file);
    let status = command.status().unwrap();
    (status.code().unwrap(), fs::read_to_string(path).unwrap())
}

#[test]
fn a_command_works_with_its_snapshot_and_its_directory_and_finds_no_secret() {
    for who in everybody() {
        let world = world("prefix", who);
        world.file(
            "home/.claude/shell-snapshots/snapshot-bash-1-a.sh",
            "greet() { echo \"it's $1\"; }\nexport MARKED='a b'\n",
        );
        world.dir("home/work/sub");
        let ssh = world.home().join(".ssh/id_canary");
        // The control: the same script without the jail finds both.
        let line = format!("cd sub && greet me; echo \"$MARKED\"; echo late >&2; cat {}; env", ssh.display());
        let outside = world.sh(&format!("exec bash -c {}", quote(&script(&world, &line))));
        assert_eq!(out(&outside).matches("CANARY").count(), 2, "{}", err(&outside));
        fs::remove_file(cwd_file(&world)).unwrap();

        let (exit, text) = run(&world, &script(&world, &line));
        assert!(text.starts_with("it's me\na b\nlate\n") && !text.contains("CANARY"), "{text}");
        assert!(text.contains("CLAUDECODE=1\n") && exit == 0, "{exit}: {text}");
        let directory = fs::read_to_string(cwd_file(&world)).unwrap();
        assert_eq!(directory, format!("{}\n", world.work().join("sub").display()));
    }
}

#[test]
fn exit_codes_and_output_are_the_commands_own_and_a_failed_one_reports_no_directory() {
    let world = world("codes", common::Who::Me);
    for (line, exit, text) in [
        ("exit 3", 3, ""),
        ("printf 'no end'", 0, "no end"),
        ("echo a; echo b >&2; false", 1, "a\nb\n"),
        ("kill -9 $$", 137, ""),
        ("seq 20000 | tail -n 1", 0, "20000\n"),
    ] {
        fs::remove_file(cwd_file(&world)).ok();
        assert_eq!(run(&world, &script(&world, line)), (exit, text.to_owned()), "{line}");
        assert_eq!(cwd_file(&world).exists(), exit == 0, "{line}");
    }
    let long = format!(": {}; echo end", "x".repeat(100_000));
    assert_eq!(run(&world, &script(&world, &long)), (0, "end\n".into()));
}

#[test]
fn what_the_directory_is_written_to_is_never_a_symlinks_target() {
    let world = world("link", common::Who::Me);
    let precious = world.file("home/precious", "mine");
    std::os::unix::fs::symlink(&precious, cwd_file(&world)).unwrap();
    let (exit, text) = run(&world, &script(&world, "echo done"));
    assert_eq!((exit, text.as_str()), (0, "done\n"));
    assert_eq!(fs::read_to_string(&precious).unwrap(), "mine");
}

#[test]
fn without_a_right_to_run_nothing_runs() {
    let world = World::new("refused", common::Who::Me);
    world.file(
        world.policy(),
        "version = 1\n[agent.main]\nrole = \"scout\"\nworkspace = \"~/work\"\nclient = \"claude\"\n",
    );
    let (exit, text) = run(&world, &script(&world, "touch ran"));
    assert!(exit == 125 && text.contains("runs no commands") && !world.work().join("ran").exists(), "{text}");
    world.file(world.policy(), "version = 1\n[agent.main]\nrole = \"builder\"\nworkspace = \"~/work\"\n");
    let (exit, text) = run(&world, &script(&world, "touch ran"));
    assert!(exit == 125 && !world.work().join("ran").exists(), "{text}");
}

/// Answers each line with what the server of that name would: here its own view of the world.
const SERVER: &str = r#"while read -r line; do case $line in
  read) cat "$CANARY_PATH" 2>&1 | tail -n 1 ;;
  env) env | grep -c ANTHROPIC ;;
  *) echo "echo $line"; echo "$line" > last ;;
esac; done"#;

fn serve(command: &mut Command) -> Output {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"one\nread\nenv\n").unwrap();
    child.wait_with_output().unwrap()
}

#[test]
fn an_mcp_server_is_an_agent_of_its_own() {
    for who in everybody() {
        let world = world("mcp", who);
        world.dir("home/servers/notes");
        world.file(
            world.policy(),
            "version = 1\n[agent.main]\nrole = \"builder\"\nclient = \"claude\"\nworkspace = \"~/work\"\n\
             [agent.mcp-notes]\nrole = \"builder\"\nworkspace = \"~/servers/notes\"\n",
        );
        world.program("home/servers/notes.sh", SERVER);
        let canary = world.home().join(".ssh/id_canary");
        // The control: the server itself reads the key, and the client's environment.
        let mut bare = Command::new("/bin/sh");
        bare.args(["-c", SERVER])
            .env("CANARY_PATH", &canary)
            .env("ANTHROPIC_API_KEY", "CANARY")
            .current_dir(&world.top);
        assert_eq!(out(&serve(&mut bare)), "echo one\nCANARY\n1\n");

        let mut jailed = world.command("mantlet");
        let path = format!("--env=CANARY_PATH={}", canary.display());
        jailed.args(["mcp", "--agent", "mcp-notes", &path, "--", "/bin/sh", "-c", SERVER]);
        jailed.current_dir(world.home());
        let output = serve(&mut jailed);
        let text = out(&output);
        assert!(text.starts_with("echo one\n") && text.ends_with("\n0\n"), "{text}: {}", err(&output));
        assert!(!text.contains("CANARY\n") && text.contains("No such file"), "{text}");
        assert_eq!(fs::read_to_string(world.home().join("servers/notes/last")).unwrap(), "one\n");
        let log = out(&world.mantlet(&["log", "--json"]));
        assert!(log.contains("\"agent\":\"mcp-notes\""), "{log}");
    }
}

#[test]
fn an_mcp_server_without_a_section_is_refused() {
    let world = world("mcp-none", common::Who::Me);
    let output = world.mantlet(&["mcp", "--", "/bin/echo", "hello"]);
    assert_eq!((code(&output), out(&output).as_str()), (125, ""));
    assert!(err(&output).contains("no agent `mcp-echo`") && err(&output).contains("hint: "), "{}", err(&output));
}

fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

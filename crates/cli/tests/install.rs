//! `mantlet install`, `uninstall` and `verify`: everybody's settings come back byte for byte, nothing is written unasked,
//! and a client that shows no protection is not called protected. The clients here are scripts; the real ones are in
//! tests/e2e/install.
#![allow(clippy::unwrap_used, reason = "a test; the lint's own exception does not reach its helpers here")]

mod common;

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Output;

use common::{Who, World, code, err, everybody, is_root, out};

/// A home, and for whoever has root's ids an /etc and a /var/lib of its own.
struct Ground(World);

impl Ground {
    fn new(name: &str, who: Who) -> Ground {
        let world = World::new(name, who);
        world.dir("etc");
        world.dir("var");
        for name in ["passwd", "group"] {
            world.file(format!("etc/{name}"), fs::read(Path::new("/etc").join(name)).unwrap());
        }
        Ground(world)
    }

    /// A line in namespaces where /etc and /var/lib are this test's; as root of them, if `is_root`.
    fn line(&self, line: &str, has_root: bool) -> Output {
        if self.0.who == Who::User || (!has_root && !is_root()) {
            return self.0.sh(line);
        }
        let user = if is_root() { "" } else { "--user --map-root-user" };
        let top = self.0.top.display();
        let script = "mount --make-rprivate / && mount --bind \"$0/var\" /var/lib && mount --bind \"$0/etc\" /etc && exec sh -c \"$1\"";
        self.0.sh(&format!("exec unshare {user} --mount sh -c '{script}' {top} '{}'", line.replace('\'', "'\\''")))
    }

    fn user(&self, args: &str) -> Output {
        self.line(&format!("mantlet {args} --level user"), false)
    }

    fn managed(&self, args: &str) -> Output {
        self.line(&format!("mantlet {args} --level managed"), true)
    }

    /// Everything in the home and in /etc but Mantlet's own records, with owner, mode and content.
    fn picture(&self) -> Vec<(PathBuf, u32, u32, Option<Vec<u8>>)> {
        let mut found = Vec::new();
        let mut open = vec![self.0.home(), self.0.top.join("etc")];
        while let Some(dir) = open.pop() {
            for entry in fs::read_dir(dir).unwrap() {
                let path = entry.unwrap().path();
                if path.ends_with(".local/state") {
                    continue;
                }
                // It stays, since the records' directory is in it.
                if path.ends_with(".local") {
                    open.push(path);
                    continue;
                }
                let meta = path.symlink_metadata().unwrap();
                found.push((path.clone(), meta.uid(), meta.mode(), meta.is_file().then(|| fs::read(&path).unwrap())));
                if meta.is_dir() {
                    open.push(path);
                }
            }
        }
        found.sort();
        found
    }
}

const ODD: &[(&str, &str, &str)] = &[
    ("claude", ".claude/settings.json", "{\"model\":\"x\",\"hooks\":{\"Stop\":[]},\"unknown\":[1,{\"a\":null}]}"),
    ("codex", ".codex/hooks.json", "\u{feff}{\r\n    \"hooks\": {\r\n        \"Stop\": []\r\n    }\r\n}"),
    ("gemini", ".gemini/settings.json", "{ // mine\n\t\"tools\": {\"x\": 1}, /* y */\n}\n\n"),
    ("copilot", ".copilot/hooks/other.json", "{}"),
    ("cursor", ".cursor/hooks.json", "{\n  \"version\": 1,\n  \"hooks\": {}\n}"),
    ("opencode", ".config/opencode/opencode.jsonc", "// mine\n{\n  \"plugin\": [\n    \"theirs\", // keep\n  ],\n}\n"),
    (
        "openclaw",
        ".openclaw/openclaw.json",
        "{\n  // mine\n  agents: { defaults: { sandbox: { mode: 'off' } } },\n  plugins: { allow: ['theirs'] },\n  gateway: { auth: { token: 'open-sesame-17' } },\n}\n",
    ),
];

#[test]
fn each_client_is_installed_and_taken_back_byte_for_byte() {
    for who in everybody() {
        for (client, path, text) in ODD {
            let ground = Ground::new("install", who);
            let file = ground.0.file(Path::new("home").join(path), text);
            let before = ground.picture();
            let done = ground.user(&format!("install {client} --no-verify --yes --workspace ~/work"));
            assert_eq!(code(&done), 0, "{client}: {}", err(&done));
            assert!(err(&done).contains("NOT verified"), "{}", err(&done));
            let with = ground.picture();
            assert_ne!(before, with, "{client}");
            if *client != "copilot" {
                assert_ne!(fs::read_to_string(&file).unwrap(), *text, "{client}");
            }
            let again = ground.user(&format!("install {client} --no-verify --yes"));
            assert_eq!((code(&again), ground.picture()), (0, with), "{client}: {}", err(&again));
            assert!(err(&again).contains("nothing to do") && out(&again).is_empty(), "{}", out(&again));
            let back = ground.user(&format!("uninstall {client}"));
            assert_eq!((code(&back), ground.picture()), (0, before), "{client}: {}", err(&back));
        }
    }
}

#[test]
fn the_machines_settings_are_taken_back_byte_for_byte() {
    let odd = [
        ("claude", "claude-code/managed-settings.json", "{}"),
        (
            "codex",
            "codex/requirements.toml",
            "# mine\r\nallowed_sandbox_modes = [\"read-only\"] # why\r\n[features]\r\nweb = true",
        ),
        ("gemini", "gemini-cli/settings.json", "{ // mine\n\t\"tools\": {}\n}"),
        ("opencode", "opencode/opencode.json", "{}"),
    ];
    for (client, path, text) in odd {
        let ground = Ground::new("managed", Who::Me);
        ground.0.file(Path::new("etc").join(path), text);
        let before = ground.picture();
        // opencode keeps its plugin below /usr/local: a place of this test's lies over it.
        let place = ground.0.dir("share");
        let call = |args: &str| {
            ground.line(
                &format!("mount --bind {} /usr/local/share && mantlet {args} --level managed", place.display()),
                true,
            )
        };
        let done = call(&format!("install {client} --no-verify --yes --workspace ~/work"));
        assert_eq!(code(&done), 0, "{client}: {}", err(&done));
        assert_ne!(ground.picture(), before);
        let again = call(&format!("install {client} --no-verify --yes"));
        assert!(code(&again) == 0 && err(&again).contains("nothing to do"), "{client}: {}", err(&again));
        let back = call(&format!("uninstall {client}"));
        assert_eq!((code(&back), ground.picture()), (0, before), "{client}: {}", err(&back));
        assert_eq!(fs::read_dir(place).unwrap().count(), 0, "{client}");
    }
}

#[test]
fn nothing_is_written_unasked_and_secrets_are_not_shown() {
    let ground = Ground::new("unasked", Who::Me);
    let (_, path, text) = ODD[6];
    ground.0.file(Path::new("home").join(path), text);
    let before = ground.picture();
    let refused = ground.user("install openclaw --no-verify --workspace ~/work");
    assert!(code(&refused) == 125 && err(&refused).contains("--dry-run"), "{}", err(&refused));
    let shown = ground.user("install openclaw --dry-run --workspace ~/work");
    assert_eq!(code(&shown), 0, "{}", err(&shown));
    for wanted in
        ["stops: A command or a file tool on the host", "+++ ", "-  agents: {", "+", "mantlet uninstall openclaw"]
    {
        assert!(out(&shown).contains(wanted), "{wanted}: {}", out(&shown));
    }
    assert!(!out(&shown).contains("open-sesame-17"), "{}", out(&shown));
    assert_eq!(ground.picture(), before);
}

#[test]
fn a_policy_that_leaves_it_open_is_refused() {
    let ground = Ground::new("section", Who::Me);
    ground.0.dir("home/other");
    for (policy, why) in [
        ("version = 1\n", "--workspace"),
        (
            "version = 1\n[agent.claude]\nrole = \"builder\"\nclient = \"codex\"\nworkspace = \"~/work\"\n",
            "runs in codex",
        ),
        (
            "version = 1\n[agent.a]\nrole = \"builder\"\nclient = \"claude\"\nworkspace = \"~/work\"\n[agent.b]\nrole = \"builder\"\nclient = \"claude\"\nworkspace = \"~/other\"\n",
            "2 agents run in claude",
        ),
        ("version = 2\n", "not valid"),
    ] {
        ground.0.file(ground.0.policy(), policy);
        let before = ground.picture();
        let refused = ground.user("install claude --no-verify --yes");
        assert!(code(&refused) == 125 && err(&refused).contains(why), "{why}: {}", err(&refused));
        assert_eq!(ground.picture(), before);
    }
    // A section that is there is used, and stays when the client's settings go.
    ground.0.file(
        ground.0.policy(),
        "version = 1\n[agent.a]\nrole = \"builder\"\nclient = \"claude\"\nworkspace = \"~/work\"\n",
    );
    let before = ground.picture();
    assert_eq!(code(&ground.user("install claude --no-verify --yes")), 0);
    assert_eq!(code(&ground.user("uninstall claude")), 0);
    assert_eq!(ground.picture(), before);
}

/// A client that speaks to the model as Claude Code does: `$kind` says how well it is protected.
const CLIENT: &str = r#"#!/bin/bash
for word; do [ "$word" != --version ] || { echo 'VERSION (Script)'; exit; }; done
port=${ANTHROPIC_BASE_URL##*:}
post() {
  exec 3<>"/dev/tcp/127.0.0.1/$port"
  printf 'POST /v1/messages HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s' ${#1} "$1" >&3
  cat <&3 >/dev/null
}
result() { printf '{"type":"tool_result","content":"%s"}' "$1"; }
said() { printf '{"tools":[1],"messages":[{"role":"user","content":[%s]}]}' "$1"; }
first=$(cat "$HOME/outside/mantlet-canary.txt") second=$(cat note.txt)
kind=$(cat "${0%/*}/kind")
# The seam is in the settings that the trial was given, or it is nowhere.
if grep -q '"onFailure": "block"' "$HOME/.claude/settings.json" && [ "$kind" != leaks ]; then
  first='denied by mantlet'
  [ "$kind" = foreign ] || { mkdir -p "$HOME/.local/state/mantlet/ledger"; echo '"mantlet-canary.txt"' >"$HOME/.local/state/mantlet/ledger/ledger.jsonl"; }
fi
[ "$kind" != blocks ] || second=denied
[ "$kind" != silent ] || exit 0
post "$(said '')"
post "$(said "$(result "$first")")"
post "$(said "$(result "$first"),$(result "$second")")"
"#;

fn client(ground: &Ground, kind: &str, version: &str) -> String {
    ground.0.file("client/kind", kind);
    format!("--program {}", ground.0.program("client/claude", CLIENT.replace("VERSION", version)).display())
}

#[test]
fn an_install_that_a_live_call_does_not_confirm_is_taken_back() {
    for (kind, why) in [
        ("leaks", "NOT PROTECTED"),
        ("foreign", "something else stopped it"),
        ("blocks", "the allowed call"),
        ("silent", "made 0 of 2 tool calls"),
    ] {
        let ground = Ground::new("unconfirmed", Who::Me);
        let program = client(&ground, kind, "1.0");
        ground.0.file("home/.claude/settings.json", ODD[0].2);
        let before = ground.picture();
        let failed = ground.user(&format!("install claude --yes --workspace ~/work {program}"));
        assert!(code(&failed) == 1 && err(&failed).contains(why), "{kind}: {}", err(&failed));
        assert_eq!(ground.picture(), before, "{kind}");
    }
}

#[test]
fn what_was_verified_is_written_down_with_its_version() {
    for who in everybody() {
        let ground = Ground::new("verified", who);
        let program = client(&ground, "works", "1.0");
        let missing = ground.user("verify claude");
        assert!(code(&missing) == 1 && err(&missing).contains("mantlet install claude"), "{}", err(&missing));
        let done = ground.user(&format!("install claude --yes --workspace ~/work {program}"));
        assert_eq!(code(&done), 0, "{}", err(&done));
        let state = if is_root() && who == Who::Me { ground.0.top.join("var/mantlet") } else { ground.0.state() };
        let seal = state.join("verified/claude.user");
        assert!(fs::read_to_string(&seal).unwrap().contains("1.0 (Script)"));
        assert_eq!(fs::metadata(&seal).unwrap().mode() & 0o777, 0o644);
        assert_eq!(fs::metadata(state.join("changes")).unwrap().mode() & 0o777, 0o700);
        // Another version is tried anew; one that shows nothing is not called verified any more.
        client(&ground, "works", "2.0");
        assert_eq!(code(&ground.user(&format!("verify claude {program}"))), 0);
        assert!(fs::read_to_string(&seal).unwrap().contains("2.0 (Script)"));
        client(&ground, "leaks", "3.0");
        let failed = ground.user(&format!("verify claude {program}"));
        assert!(code(&failed) == 1 && err(&failed).contains("do not use this client"), "{}", err(&failed));
        assert_eq!(fs::read_to_string(&seal).unwrap(), "\"failed\"");
        assert_eq!(code(&ground.user("uninstall claude")), 0);
        assert!(!seal.exists());
    }
}

#[test]
fn a_version_that_stops_asking_its_hooks_is_not_started() {
    for who in everybody() {
        let ground = Ground::new("versions", who);
        let program = client(&ground, "works", "1.0");
        assert_eq!(code(&ground.user(&format!("install claude --yes --workspace ~/work {program}"))), 0);
        let start = || {
            let line = format!("cd work && mantlet run claude -- {}/client/claude --version", ground.0.top.display());
            let output = ground.line(&format!("cd {} && {line}", ground.0.home().display()), false);
            (code(&output), out(&output), err(&output))
        };
        let (exit, said, told) = start();
        assert_eq!((exit, said.as_str()), (0, "1.0 (Script)\n"), "{who:?}: {told}");
        assert!(!told.contains("trying it"), "{told}");
        client(&ground, "works", "2.0");
        let (exit, said, told) = start();
        assert_eq!((exit, said.as_str()), (0, "2.0 (Script)\n"), "{told}");
        assert!(told.contains("another version now") && told.contains("2.0 (Script)) is verified"), "{told}");
        // The attack: an update that asks no hook any more. It is not forgotten by the next start either.
        client(&ground, "leaks", "3.0");
        for _ in 0..2 {
            let (exit, said, told) = start();
            assert_eq!((exit, said.as_str()), (125, ""), "{told}");
            assert!(told.contains("NOT PROTECTED") && told.contains("claude is not started\nhint: "), "{told}");
        }
        client(&ground, "works", "3.1");
        assert_eq!(start().1, "3.1 (Script)\n");
    }
}

#[test]
fn a_program_of_the_workspace_is_not_asked_for_its_version_outside_the_jail() {
    let ground = Ground::new("inside", Who::Me);
    let program = client(&ground, "works", "1.0");
    assert_eq!(code(&ground.user(&format!("install claude --yes --workspace ~/work {program}"))), 0);
    let mark = ground.0.home().join("escaped");
    let bad = format!("#!/bin/sh\ntouch '{}'\necho '1.0 (Script)'\n", mark.display());
    ground.0.program("home/work/node_modules/.bin/claude", bad);
    let start = |path: &str| {
        let work = ground.0.work();
        ground.line(&format!("cd {}; {path} --version", work.display()), false)
    };
    start("node_modules/.bin/claude");
    assert!(mark.exists(), "the attack works on the host");
    fs::remove_file(&mark).unwrap();
    let in_path = "PATH=$PWD/node_modules/.bin:$PATH mantlet run claude -- claude";
    for call in ["mantlet run claude -- node_modules/.bin/claude", in_path] {
        let output = start(call);
        assert!(code(&output) == 125 && err(&output).contains("can write"), "{call}: {}", err(&output));
        assert!(!mark.exists(), "{call}");
    }
    // The twin: the client's own program, from outside.
    let own = format!("mantlet run claude -- {}/client/claude", ground.0.top.display());
    assert_eq!(out(&start(&own)), "1.0 (Script)\n");
}

#[test]
fn settings_that_were_taken_out_by_hand_are_found_by_the_live_call() {
    let ground = Ground::new("by-hand", Who::Me);
    let program = client(&ground, "works", "1.0");
    assert_eq!(code(&ground.user(&format!("install claude --yes --workspace ~/work {program}"))), 0);
    ground.0.file("home/.claude/settings.json", "{}");
    let failed = ground.user(&format!("verify claude {program}"));
    assert!(code(&failed) == 1 && err(&failed).contains("NOT PROTECTED"), "{}", err(&failed));
}

#[test]
fn root_is_not_led_through_another_users_directory() {
    if !is_root() {
        return;
    }
    let ground = Ground::new("foreign", Who::Me);
    let dir = ground.0.dir("home/.claude");
    std::os::unix::fs::chown(&dir, Some(common::USER), Some(common::USER)).unwrap();
    let before = ground.picture();
    let refused = ground.user("install claude --no-verify --yes --workspace ~/work");
    assert!(code(&refused) == 125 && err(&refused).contains("belongs to user"), "{}", err(&refused));
    assert_eq!(ground.picture(), before);
    // The twin: that user itself may.
    let ground = Ground::new("own", Who::User);
    ground.0.dir("home/.claude");
    let done = ground.user("install claude --no-verify --yes --workspace ~/work");
    assert_eq!(code(&done), 0, "{}", err(&done));
    let managed = ground.managed("install claude --no-verify --yes");
    assert!(code(&managed) == 125 && err(&managed).contains("root's"), "{}", err(&managed));
}

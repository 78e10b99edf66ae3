//! A day's work with everything that is protected, and nothing of it undone that its owner or a client did in passing.

use std::time::Duration;

use crate::common::{World, code, err, everybody, out};
use crate::ground::{Watching, changes, is_alone, sh, text, until, watch, world_with};

/// With all that a policy can ask for.
const ALL: &str = "client = \"claude\"\n[watch]\nbootstrap = true\nfiles = [\"~/named/file.txt\", \"~/named/dir\"]\n";

/// What is not installed is not tried, and said.
fn has(world: &World, program: &str) -> bool {
    let found = code(&world.sh(&format!("command -v {program} >/dev/null"))) == 0;
    if !found {
        println!("{program} is not installed: what it does is not tried");
    }
    found
}

/// A repository whose branches differ in what agents are told.
const REPOSITORY: &str = "cd ~/other && git init -q -b main && git config user.email a@b && git config user.name a && \
    mkdir -p .claude && echo one > AGENTS.md && echo '{}' > .claude/settings.json && git add -A && git commit -qm one && \
    git checkout -qb two && echo two > AGENTS.md && echo '{\"model\": \"x\"}' > .claude/settings.json && \
    git commit -qam two && git checkout -q main";

const EDITING: &[&str] = &[
    // Beside what is protected: swap files, backups, the work of editors on other files.
    "echo swap > ~/.bashrc.swp; echo swap > ~/.bashrc.swo; cp ~/.bashrc ~/.bashrc~; rm ~/.bashrc.swp ~/.bashrc.swo",
    "echo new-host ssh-ed25519 AAAA >> ~/.ssh/known_hosts; echo ls >> ~/.bash_history",
    "printf 'a\\nb\\n' > ~/work/a.txt; sed -i s/a/c/ ~/work/a.txt",
    // As VS Code saves.
    "echo text > ~/work/.a.txt.tmp && mv ~/work/.a.txt.tmp ~/work/a.txt",
    "mkdir -p ~/.npm/_cacache/tmp && echo x > ~/.npm/_cacache/tmp/1 && mv ~/.npm/_cacache/tmp/1 ~/.npm/_cacache/2",
    "cat ~/.bashrc ~/.ssh/authorized_keys >/dev/null; touch -a ~/.bashrc; ls -laR ~/named >/dev/null",
    // As systemd and a desktop do beside their units.
    "mkdir -p ~/.config/dconf ~/.cache ~/.local/share/applications; echo x > ~/.config/dconf/user",
];

/// Claude Code's own file, as it counts.
const STATE: &str =
    "{\n  \"numStartups\": 1,\n  \"projects\": {\n    \"/w\": {\n      \"lastCost\": 0.1\n    }\n  }\n}\n";

/// Rewrites a JSON file as node does, by way of a temporary file that is renamed.
fn rewritten(world: &World, file: &str, edit: &str) {
    let script = format!(
        "import json, os, sys\np = os.path.expanduser(\"{file}\")\nd = json.load(open(p))\n{edit}\n\
         open(p + \".tmp\", \"w\").write(json.dumps(d, indent=2) + \"\\n\")\nos.rename(p + \".tmp\", p)"
    );
    sh(world, &format!("python3 -c '{script}'"));
}

fn counts(world: &World) {
    for round in 0..20 {
        let edit = format!(
            "d[\"numStartups\"] = {round}; d[\"projects\"][\"/w\"][\"lastCost\"] = {round}.5; \
             d[\"projects\"][\"/w{round}\"] = {{\"lastSessionId\": \"s\"}}"
        );
        rewritten(world, "~/.claude.json", &edit);
        let edit = format!(
            "d[\"meta\"][\"lastTouchedAt\"] = \"2026-11-{:02}T00:00:00.000Z\"; d[\"ui\"] = {{\"seamColor\": \"#{round:06}\"}}",
            round + 1
        );
        rewritten(world, "~/.openclaw/openclaw.json", &edit);
    }
    // In place as well, truncated and written.
    sh(
        world,
        "cp ~/.claude.json ~/c && sed -i 's/\"numStartups\": [0-9]*/\"numStartups\": 77/' ~/c && cat ~/c > ~/.claude.json",
    );
    sh(world, "sed -i 's/\"numStartups\": [0-9]*/\"numStartups\": 78/' ~/.claude.json");
}

#[test]
fn nothing_of_a_days_work_is_undone() {
    if !is_alone("day::nothing_of_a_days_work_is_undone") {
        return;
    }
    for who in everybody() {
        let world = world_with("day", who, ALL);
        world.file("home/.claude.json", STATE);
        world.file("home/work/AGENTS.md", "be good\n");
        world.dir("home/.claude");
        world.dir("home/other");
        let watching = Watching::begin(&world);
        EDITING.iter().for_each(|line| drop(sh(&world, line)));
        if has(&world, "vim") {
            sh(&world, "cd ~/work && vim -es -u NONE -c 'normal otext' -c wq a.txt; true");
            sh(&world, "vim -es -u NONE -c q ~/.bashrc; true");
        }
        if has(&world, "git") {
            sh(&world, REPOSITORY);
            sh(
                &world,
                "cd ~/other && for n in 1 2 3; do git checkout -q two; git checkout -q main; done; git config core.abbrev 8; git gc -q; git status --short",
            );
            sh(
                &world,
                "cd ~/work && git init -q && git config user.name a && git config user.email a@b && git add -A && git commit -qm one && git checkout -qb two && git status",
            );
        }
        if has(&world, "npm") {
            sh(&world, "cd ~/work && npm --version --offline >/dev/null; npm config list >/dev/null");
        }
        for round in 0..3 {
            let line = format!("echo {round} > made; mkdir -p d; mv made d/; cat AGENTS.md");
            let output = world.exec(&["--agent", "main", "-c", &line]);
            assert_eq!(code(&output), 0, "{who:?}: {}", err(&output));
        }
        counts(&world);
        until("the last count is accepted", || {
            let diff = watch(&world, &["diff"]);
            code(&diff) == 0
        });
        std::thread::sleep(Duration::from_millis(600));
        let undone: Vec<_> = changes(&world).into_iter().filter(|change| change.outcome != "accepted").collect();
        assert!(undone.is_empty(), "{who:?}: {undone:#?}");
        assert!(text(world.home().join(".claude.json")).contains("\"numStartups\": 78"), "{who:?}");
        assert!(text(world.home().join(".openclaw/openclaw.json")).contains("11-20"), "{who:?}");
        let log = world.mantlet(&["log", "--kind", "change"]);
        assert!(code(&log) == 0 && !out(&log).contains("undone"), "{who:?}: {}", out(&log));
        // The control: the watch is awake.
        sh(&world, "echo evil > ~/work/AGENTS.md");
        until("it is undone", || text(world.work().join("AGENTS.md")) == "be good\n");
        assert!(watching.stop().success());
    }
}

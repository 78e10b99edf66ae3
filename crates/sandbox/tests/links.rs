//! Hard links from before a call, and bare repositories: other names of what a policy or the table covers.
//!
//! Each attack is shown to work outside first, and has a twin on a file that nothing speaks of.
#![allow(clippy::unwrap_used, reason = "a test; the lint's own exception does not reach its helpers")]

mod common;

use common::{Who, World, both, must_succeed, text};

/// What the owner has: every link is made before any call.
const OWNERS: &str = "
    mkdir -p private/in frozen .git/hooks tree nested/.git plain
    echo SECRET > private/in/key; ln private/in/key plain/key
    echo SECRET > .env; ln .env AGENTS.md
    echo fine > frozen/file; ln frozen/file plain/frozen
    echo '#!/bin/sh' > .git/hooks/pre-commit; ln .git/hooks/pre-commit plain/hook
    echo 'gitdir: ../.git/worktrees/tree' > tree/.git; ln tree/.git plain/gitfile
    printf '[include]\\n\\tpath = ../own.cfg\\n' > nested/.git/config; echo '[core]' > nested/own.cfg; ln nested/own.cfg plain/cfg
    echo fine > plain/file; ln plain/file plain/twin
    git init -q --bare bare.d; git init -q --bare old.d; echo '#!/bin/sh' > old.d/hooks/update
";

const RULES: &str = "deny = [\"private\", \"**/.env\"]\nprotect = [\"frozen\"]";

fn world(who: Who) -> World {
    let world = World::new("links", who);
    must_succeed(&world.run_outside(&format!("set -eu{OWNERS}")), "preparing");
    world
}

#[test]
fn no_other_name_of_a_covered_file_is_open() {
    for who in both() {
        let world = world(who);
        let read = "cat plain/key AGENTS.md";
        assert_eq!(text(&world.run_outside(read).stdout), "SECRET\nSECRET\n", "{who:?}: the control");
        let policy = world.policy(RULES);
        let write = "for f in frozen hook gitfile cfg; do (echo x >> plain/$f) 2>/dev/null && echo wrote $f; done";
        let line = format!("{read} 2>/dev/null; {write}; cat plain/twin; echo more >> plain/twin && cat plain/file");
        let (output, _) = world.run_with(&policy, &line);
        assert_eq!(text(&output.stdout), "fine\nfine\nmore\n", "{who:?}: {}", text(&output.stderr));
        let wrote = "wrote frozen\nwrote hook\nwrote gitfile\nwrote cfg\n";
        assert_eq!(text(&world.run_outside(write).stdout), wrote, "{who:?}: the control");
    }
}

#[test]
fn an_existing_bare_repository_is_reviewed_without_its_directory_changing() {
    for who in both() {
        let world = world(who);
        let policy = world.policy("");
        let line = "printf '\\tfsmonitor = ./evil\\n' >> bare.d/config; echo evil > bare.d/hooks/post-update; \
                    git -C old.d update-ref -d refs/heads/none; echo x > plain/config; cat plain/config";
        let (output, report) = world.run_with(&policy, line);
        let findings = report["findings"].as_array().unwrap();
        let mut found: Vec<&str> = findings.iter().filter_map(|f| f["path"].as_str()).collect();
        found.sort_unstable();
        assert_eq!(found, ["bare.d/config", "bare.d/hooks/post-update"], "{who:?}: {report}");
        for name in ["bare.d/config", "bare.d/hooks/post-update"] {
            assert!(!world.work().join(name).exists(), "{who:?}: {name} is still there");
        }
        assert!(world.work().join("old.d/hooks/update").exists(), "{who:?}: the owner's own hook");
        assert!(text(&output.stdout).ends_with("x\n"), "{who:?}: the twin");
    }
}

#[test]
fn a_name_that_is_only_listed_does_not_hide_a_link_out() {
    for who in both() {
        let world = world(who);
        let policy = world.policy("");
        let line = "mkdir node_modules; for n in Makefile node_modules/out; do ln -s /root/.bashrc $n; done; \
                    echo all: > GNUmakefile; ln -s ../plain/file node_modules/in";
        let (_, report) = world.run_with(&policy, line);
        let is_there = |name: &str| world.work().join(name).symlink_metadata().is_ok();
        assert!(!is_there("Makefile") && !is_there("node_modules/out"), "{who:?}: {report}");
        assert!(is_there("GNUmakefile") && is_there("node_modules/in"), "{who:?}: the twins: {report}");
        must_succeed(&world.run_outside("ln -s /root/.bashrc Makefile && test -L Makefile"), "the control");
    }
}

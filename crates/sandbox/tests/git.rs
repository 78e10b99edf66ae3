//! Git in the jail: what works as outside, what its protection stops, and the rule of the policy that permits it.
//!
//! The page docs/git.md claims what is shown here, and nothing else.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test; the lint's own exception does not reach its helpers"
)]

mod common;

use common::{Files, World, both, everyone, must_succeed, same_inside_with, text};

/// The same identity, time and configuration everywhere.
const IDENTITY: &str = "
    export GIT_CONFIG_NOSYSTEM=1 GIT_AUTHOR_NAME=A GIT_AUTHOR_EMAIL=a@example.org GIT_COMMITTER_NAME=A \
        GIT_COMMITTER_EMAIL=a@example.org GIT_AUTHOR_DATE='2020-01-01 00:00 +0000' GIT_COMMITTER_DATE='2020-01-01 00:00 +0000'
";

/// What the owner has: a repository with a history, and the one it came from.
const OWNERS: &str = "
    git init -q --bare -b main upstream.git; git clone -q upstream.git . 2>/dev/null || {
        git init -q -b main; git remote add origin ./upstream.git; }
    echo upstream.git > .gitignore; seq 100 > numbers; echo one > file; git add .; git commit -qm first
    git push -q -u origin main; echo two >> file; git commit -qam second
    git branch side HEAD~1
";

fn owners() -> String {
    format!("{IDENTITY}{OWNERS}")
}

/// Scripts in the owner's repository, compared with the same outside.
macro_rules! in_a_repository {
    ($($name:ident, $files:ident, $script:expr;)*) => {
        $(#[test]
        fn $name() {
            let script = format!("{IDENTITY}{}", $script);
            same_inside_with(stringify!($name), Files::$files, &owners(), &script);
        })*
    };
}

in_a_repository! {
    looking_and_committing, Same, r#"
        git status; git log --oneline --graph --all; git show --stat HEAD; git blame -s file; git ls-files; git grep -n two
        echo three >> file; echo new > new; git diff; git add -A; git diff --cached --stat; git commit -m third
        git commit -q --amend -m 'third again'; git rev-parse HEAD; git log -1 --format='%an %s'; git status -sb; git fsck
        git tag v1; git tag -a -m annotated v2; git describe; git rm -q new; git mv file renamed; git commit -qm moved; ls
    "#;
    branches_merges_and_rebases, Same, r#"
        git checkout -b topic; echo t > t; git add t; git commit -qm topic; git switch -q side; git switch -c from-side
        echo s >> numbers; git commit -qam side; git merge -q --no-edit topic; git log --oneline --graph
        git checkout -q main; git rebase -q topic; git cherry-pick from-side^1 >/dev/null; git log --oneline
        echo conflict > t; git commit -qam conflict; git checkout -q topic; echo other > t; git commit -qam other
        git merge main || echo "conflict $?"; git status -s; git merge --abort; git reset -q --hard HEAD~1; git branch
        echo dirty >> file; git stash; git status -s; git stash pop -q; git checkout -- file; git clean -fdq; git revert --no-edit HEAD
    "#;
    fetch_pull_and_push, Same, r#"
        git push -q origin main; git push -q origin HEAD:refs/heads/other; git fetch; git pull --no-rebase; git branch -r
        git ls-remote origin; git push -q origin :other; git fetch -p -q; git log --oneline origin/main
        git format-patch -1 --stdout | git apply --check -R; git archive HEAD | tar t; git bundle create -q b HEAD; git bundle verify -q b
    "#;
    gc_and_repack, Vary, r#"
        for i in $(seq 20); do echo $i > file; git commit -qam $i; done
        git gc -q; git count-objects | cut -d' ' -f1; git repack -adq; git prune; git reflog expire --expire=now --all; git gc -q --prune=now
        git fsck --full; git log --oneline | wc -l; ls .git/objects/pack | grep -c pack$
    "#;
    worktrees_in_one_call, Vary, r#"
        git worktree add -q wt -b in-wt; cd wt; echo w > w; git add w; git commit -qm w; git status; git log --oneline; cd ..
        git worktree list | wc -l; git log --oneline -1 in-wt; git worktree remove wt; git worktree prune; git worktree add -q kept side
    "#;
    nested_repositories, Vary, r#"
        git init -q -b main inner; cd inner; echo i > i; git add i; git commit -qm inner; git config user.name Inner
        git remote add x ../upstream.git; git fetch -q x; git branch -u x/main; git status; cd ..
        git clone -q . copy; cd copy; git checkout -q -b mine; echo m > m; git add m; git commit -qm m; git push -q -u origin mine; git status
        cd ..; git clone -q --bare . copy.git; git clone -q --depth 1 "file://$PWD/upstream.git" shallow; git branch; rm -rf inner copy copy.git shallow
    "#;
}

/// One command that git cannot do under the protection of its configuration, and what it says.
struct Refused {
    command: &'static str,
    /// Its exit code in the jail.
    code: i32,
    says: &'static str,
    /// What of the repository the policy must make writable.
    write: &'static [&'static str],
    /// What shows afterwards that it was done.
    check: &'static str,
}

const BUSY: &str = "could not write config file .git/config: Device or resource busy";

const REFUSED: &[Refused] = &[
    Refused {
        command: "git remote add other ./upstream.git",
        code: 128,
        says: BUSY,
        write: &[".git/config"],
        check: "git remote | grep -qx other",
    },
    Refused {
        command: "git config user.name B",
        code: 4,
        says: BUSY,
        write: &[".git/config"],
        check: "test \"$(git config user.name)\" = B",
    },
    Refused {
        command: "git submodule add -q \"file://$PWD/upstream.git\" sub",
        // It says so and goes on; the review then takes the submodule's own configuration away.
        code: 0,
        says: BUSY,
        write: &[".git/config", ".git/modules"],
        check: "git config submodule.sub.url && git -C sub log --oneline -1 | grep first",
    },
    Refused {
        command: "git branch --set-upstream-to=origin/main side",
        code: 0,
        says: BUSY,
        write: &[".git/config"],
        check: "test \"$(git config branch.side.merge)\" = refs/heads/main",
    },
    Refused {
        command: "echo 'exit 0' > .git/hooks/pre-commit",
        code: 1,
        says: "Read-only file system",
        write: &[".git/hooks"],
        check: "test -e .git/hooks/pre-commit",
    },
];

/// These do what matters; only the note about the upstream is not written.
const HALF: &[Refused] = &[
    Refused {
        command: "git push -q -u origin side",
        code: 0,
        says: BUSY,
        write: &[".git/config"],
        check: "git ls-remote --exit-code origin side",
    },
    Refused {
        command: "git checkout -q -b tracking origin/main",
        code: 0,
        says: BUSY,
        write: &[".git/config"],
        check: "test \"$(git branch --show-current)\" = tracking",
    },
    Refused {
        command: "git branch -q -D side",
        code: 0,
        says: BUSY,
        write: &[".git/config"],
        check: "! git rev-parse -q --verify side",
    },
    // Git says that the branch is renamed and that its section of the configuration is not.
    Refused {
        command: "git branch -m side renamed",
        code: 128,
        says: BUSY,
        write: &[".git/config"],
        check: "git rev-parse -q --verify renamed",
    },
];

/// `submodule add` clones from a path, which git by itself refuses.
const LOCAL: &str =
    "export GIT_ALLOW_PROTOCOL=file GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=branch.side.description GIT_CONFIG_VALUE_0=x";

fn at_work(world: &World, refused: &Refused, is_allowed: bool) -> std::process::Output {
    let paths: Vec<_> = refused.write.iter().map(|p| world.work().join(p)).collect();
    let policy = world.policy(&if is_allowed { format!("write = {paths:?}") } else { String::new() });
    world.run_with(&policy, &format!("{IDENTITY}{LOCAL}\n{}", refused.command)).0
}

fn holds(world: &World, refused: &Refused) -> bool {
    world.run_outside(&format!("{IDENTITY}{}", refused.check)).status.success()
}

#[test]
fn what_needs_the_configuration_is_refused_and_the_allowing_rule_permits_it() {
    for who in both() {
        for refused in REFUSED {
            let world = World::new("refused", who);
            must_succeed(&world.run_outside(&owners()), "preparing");
            let output = at_work(&world, refused, false);
            let (said, command) = (text(&output.stderr), refused.command);
            assert_eq!(output.status.code(), Some(refused.code), "{who:?}: {command}: {said}");
            assert!(said.contains(refused.says), "{who:?}: {command}: {said}");
            assert_eq!(said.contains("quarantined"), command.contains("submodule"), "{who:?}: {command}: {said}");
            assert!(!holds(&world, refused), "{who:?}: {command} was done");
            world.reset();
            must_succeed(&world.run_outside(&owners()), "preparing");
            must_succeed(&at_work(&world, refused, true), command);
            assert!(holds(&world, refused), "{who:?}: {command} was not done with the rule");
        }
    }
}

#[test]
fn push_with_upstream_and_tracking_checkouts_do_all_but_note_the_upstream() {
    for who in both() {
        for half in HALF {
            let world = World::new("half", who);
            let prepare = format!("{}git config branch.side.remote origin\n", owners());
            must_succeed(&world.run_outside(&prepare), "preparing");
            let config = std::fs::read(world.work().join(".git/config")).unwrap();
            let output = at_work(&world, half, false);
            let (said, command) = (text(&output.stderr), half.command);
            assert_eq!(output.status.code(), Some(half.code), "{who:?}: {command}: {said}");
            assert!(said.contains(half.says) && holds(&world, half), "{who:?}: {command}: {said}");
            assert_eq!(std::fs::read(world.work().join(".git/config")).unwrap(), config, "{who:?}: {command}");
            world.reset();
            must_succeed(&world.run_outside(&prepare), "preparing");
            let output = at_work(&world, half, true);
            must_succeed(&output, command);
            assert_eq!(text(&output.stderr), "", "{who:?}: {command}");
            let changed = std::fs::read(world.work().join(".git/config")).unwrap();
            assert!(changed != config && holds(&world, half), "{who:?}: {command}");
        }
    }
}

/// What an earlier call has made is the agent's to change and to remove.
#[test]
fn a_later_call_can_remove_what_an_earlier_one_made() {
    for who in everyone() {
        let world = World::new("later", who);
        must_succeed(&world.run_outside(&owners()), "preparing");
        let git = |line: &str| world.run(&format!("{IDENTITY}set -e; {line}"));
        must_succeed(&git("git clone -q . copy; git init -q empty; git worktree add -q wt side"), "the first call");
        must_succeed(
            &git(
                "cd copy; git remote add x ../upstream.git; git config user.name Copy; git push -q -u origin HEAD:new",
            ),
            "the second call",
        );
        let third = git(
            "git -C copy remote; git worktree remove wt; mv empty moved; rm -rf copy moved; git worktree list | wc -l; ls",
        );
        must_succeed(&third, "the third call");
        assert_eq!(text(&third.stdout), "origin\nx\n1\nfile\nnumbers\nupstream.git\n", "{who:?}");
        assert_eq!(text(&third.stderr), "", "{who:?}");
    }
}

/// The protection of other repositories is not less for it.
#[test]
fn repositories_of_the_owner_and_dangerous_ones_stay_protected() {
    for who in both() {
        let world = World::new("owners", who);
        must_succeed(&world.run_outside(&format!("{}git clone -q . theirs", owners())), "preparing");
        let policy = world.policy("");
        let run = |line: &str| world.run_with(&policy, &format!("{IDENTITY}{line}"));
        must_succeed(&run("for n in plain armed again; do git clone -q . $n; done").0, "the first call");
        let how = |report: &serde_json::Value, path: &str| {
            let held = report["protect"].as_array().unwrap().iter().find(|h| h["path"] == path).cloned();
            held.map(|h| h["how"].as_str().unwrap().to_owned())
        };
        // The owner takes two of them over: one with a setting that git runs, one by making it anew.
        must_succeed(
            &world.run_outside("git -C armed config alias.x '!true'; rm -rf again; git clone -q . again"),
            "owner",
        );
        let (_, report) = run("true");
        let names = [("theirs", "prevented"), ("armed", "prevented"), ("again", "prevented"), ("plain", "undone")];
        for (name, wanted) in names {
            for below in ["config", "hooks"] {
                let path = format!("{name}/.git/{below}");
                assert_eq!(how(&report, &path).as_deref(), Some(wanted), "{who:?}: {path}");
            }
        }
        for name in ["theirs", "armed", "again", "."] {
            let (output, _) = run(&format!("git -C {name} config core.fsmonitor /tmp/x"));
            assert!(text(&output.stderr).contains("Device or resource busy"), "{who:?}: {name}: {output:?}");
        }
        let (output, report) = run(
            "git -C plain config core.fsmonitor /tmp/x; echo true > plain/.git/hooks/pre-commit; mkdir -p plain/.git/info; echo '* filter=x' > plain/.git/info/attributes",
        );
        must_succeed(&output, "changing what the agent made");
        assert_eq!(report["findings"].as_array().unwrap().len(), 3, "{who:?}: {report}");
        for gone in ["config", "hooks/pre-commit", "info/attributes"] {
            assert!(!world.work().join("plain/.git").join(gone).exists(), "{who:?}: {gone} stayed");
        }
    }
}

#[test]
fn the_report_says_what_fails_with_a_denied_file_that_git_tracks() {
    for who in both() {
        let world = World::new("tracked", who);
        let files = "mkdir in; echo s > secret.env; cp secret.env in/secret.env; git add .; git commit -qm secrets";
        let nested = "git clone -q . nested; echo x > untracked.env";
        must_succeed(&world.run_outside(&format!("{}{files}\n{nested}", owners())), "preparing");
        let policy = world.policy("deny = [\"**/*.env\"]");
        let run = |line: &str| world.run_with(&policy, &format!("{IDENTITY}{line}"));
        let (output, report) = run(
            "echo more >> file; git commit -qm one file; git status -s; git commit -qam all; echo $?; git stash; echo $?",
        );
        assert_eq!(
            text(&output.stdout),
            " M in/secret.env\n M secret.env\n?? nested/\n?? untracked.env\n128\n1\n",
            "{who:?}"
        );
        let notes: Vec<&str> = report["notes"].as_array().unwrap().iter().filter_map(|n| n.as_str()).collect();
        let note = |path: &str| {
            notes.iter().filter(|n| n.starts_with(&format!("{path} is denied and tracked by git"))).count()
        };
        for (path, wanted) in [
            ("secret.env", 1),
            ("in/secret.env", 1),
            ("nested/secret.env", 1),
            ("nested/in/secret.env", 1),
            ("untracked.env", 0),
        ] {
            assert_eq!(note(path), wanted, "{who:?}: {path}: {notes:?}");
        }
        // What the note advises.
        let line = "git update-index --skip-worktree secret.env in/secret.env; ! git commit -qam all >/dev/null; git status -s; git diff; git add -A file; \
                    echo m >> file; git stash -q; git stash pop -q; git checkout -q -b b; git checkout -q side; git checkout -q b; git reset -q --hard; git update-index --index-version 4; git gc -q";
        let (output, report) = run(line);
        must_succeed(&output, line);
        assert_eq!(text(&output.stdout), "?? nested/\n?? untracked.env\n", "{who:?}: {}", text(&output.stderr));
        assert_eq!(report["notes"].as_array().unwrap().len(), 2, "{who:?}: {report}");
        // The longer form of the index is read, too.
        let (_, report) = run("git update-index --no-skip-worktree secret.env");
        assert!(report["notes"].to_string().contains("\"secret.env is denied"), "{who:?}: {report}");
    }
}

/// A configuration for one command needs no file.
#[test]
fn options_for_one_command_work() {
    for who in everyone() {
        let world = World::new("options", who);
        must_succeed(&world.run_outside(&owners()), "preparing");
        let line = "git -c user.name=B -c user.email=b@example.org commit -q --allow-empty -m mine; git log -1 --format=%an; \
                    git config --global user.name C; git config user.name; git push -q ./upstream.git HEAD:refs/heads/direct";
        let output = world.run(line);
        must_succeed(&output, line);
        assert_eq!(text(&output.stdout), "B\nC\n", "{who:?}");
    }
}

//! What a denial prints is enough: the call of `mantlet allow`, run as it is printed, makes that call pass and opens
//! nothing else; and where no call would help, none is printed.
#![allow(clippy::unwrap_used, reason = "a test; the lint's own exception does not reach its helpers here")]

mod common;

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Output;

use common::{Who, World, builder, bytes, code, err, everybody, printed};

/// Which policy the denied call runs under, and how the printed call must name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Policy {
    Default,
    File,
    Given,
}

const POLICIES: [Policy; 3] = [Policy::Default, Policy::File, Policy::Given];

impl Policy {
    /// Writes it, and answers the words that every call needs.
    fn set(self, world: &World) -> Vec<OsString> {
        match self {
            Policy::Default => Vec::new(),
            Policy::File => {
                world.builder("");
                Vec::new()
            }
            Policy::Given => {
                // The file in its usual place speaks of the same agent, so that a call without --policy would change it.
                world.builder("");
                vec!["--policy".into(), world.file("home/own policy.toml", builder("")).into()]
            }
        }
    }
    fn file(self, world: &World) -> std::path::PathBuf {
        if self == Policy::Given { world.home().join("own policy.toml") } else { world.policy() }
    }
}

fn exec(world: &World, policy: &[OsString], args: &[&OsStr]) -> Output {
    let mut words = policy.to_vec();
    words.extend(args.iter().map(|word| (*word).to_owned()));
    world.exec(&words)
}

/// Runs the only printed call from somewhere else, and checks that the policy is now the one of before and one line more.
fn run_printed(world: &World, policy: Policy, denied: &Output, key: &str, value: &str) {
    let calls = printed(denied);
    assert_eq!(calls.len(), 1, "{calls:?}\n{}", err(denied));
    let usual = (policy == Policy::Given).then(|| fs::read(world.policy()).unwrap());
    let done = world.sh(&format!("cd / && {}", calls[0]));
    assert_eq!(code(&done), 0, "{}\n{}", calls[0], err(&done));
    assert!(usual.is_none_or(|text| text == fs::read(world.policy()).unwrap()), "another file was changed");
    let file = policy.file(world);
    let wanted = builder(&format!("[agent.main.files]\n{key} = [{}]\n", toml_string(value)));
    let expected = world.file("expected.toml", wanted);
    let hash = |file: &Path| world.hash(&["--policy", file.to_str().unwrap()]);
    assert_eq!(hash(&file), hash(&expected), "{}", fs::read_to_string(&file).unwrap());
}

fn toml_string(text: &str) -> String {
    let escaped = text.chars().flat_map(|c| match c {
        c if c.is_control() || "\"\\".contains(c) => format!("\\u{:04x}", u32::from(c)).chars().collect::<Vec<_>>(),
        c => vec![c],
    });
    format!("\"{}\"", escaped.collect::<String>())
}

/// A line that writes a file at `$1`, and whether its file stayed.
fn writes(world: &World, policy: &[OsString], path: &Path) -> Output {
    let words: Vec<&OsStr> =
        ["--", "sh", "-c", "mkdir -p -- \"${1%/*}\" && echo x > \"$1\"", "sh"].iter().map(OsStr::new).collect();
    exec(world, policy, &[words.as_slice(), &[path.as_os_str()]].concat())
}

fn is_allowed(world: &World, output: &Output, path: &Path) -> bool {
    let is_there = world.work().join(path).symlink_metadata().is_ok();
    assert_eq!(is_there, !err(output).contains("review:"), "{}", err(output));
    is_there
}

#[test]
fn a_quarantined_file_is_allowed_by_its_printed_call_and_no_other() {
    for who in everybody() {
        for policy in POLICIES {
            let world = World::new("allow-envrc", who);
            let words = policy.set(&world);
            let (mine, other) = (Path::new("./sub/.envrc"), Path::new("./sub/.mcp.json"));
            let denied = writes(&world, &words, mine);
            assert!(!is_allowed(&world, &denied, mine), "{who:?} {policy:?}");
            run_printed(&world, policy, &denied, "write", "sub/.envrc");
            assert!(is_allowed(&world, &writes(&world, &words, mine), mine), "{who:?} {policy:?}");
            assert!(!is_allowed(&world, &writes(&world, &words, other), other), "{who:?} {policy:?}");
        }
    }
}

#[test]
fn names_that_a_shell_would_take_apart_are_quoted() {
    for name in [
        "a b",
        "it's",
        "new\nline",
        "-dash",
        "~tilde",
        "$(dollar)",
        "\"quote\"",
        "back\\slash\\n",
        "tab\tand\rreturn",
        "\u{202e}bidi",
        "\u{fc}ber",
        "100%s",
        "[id]",
        "#hash",
        "a;b&c",
        "!bang",
    ] {
        let world = World::new("allow-names", Who::Me);
        let words = Policy::File.set(&world);
        let inside = format!("{name}/.envrc");
        let path = Path::new("./").join(&inside);
        let denied = writes(&world, &words, &path);
        assert!(!is_allowed(&world, &denied, &path), "{name:?}");
        let value = if name.starts_with(['~', '$']) { format!("./{inside}") } else { inside.clone() };
        run_printed(&world, Policy::File, &denied, "write", &value);
        assert!(is_allowed(&world, &writes(&world, &words, &path), &path), "{name:?}");
        let other = Path::new("other/.envrc");
        assert!(!is_allowed(&world, &writes(&world, &words, other), other), "{name:?}");
    }
}

#[test]
fn a_name_that_ends_in_a_newline_is_named_whole() {
    let world = World::new("allow-newline", Who::Me);
    let words = Policy::File.set(&world);
    let link = |name: &str| exec(&world, &words, &["--", "ln", "-s", "/etc/shadow", name].map(OsStr::new));
    let denied = link("out\n");
    assert!(!is_allowed(&world, &denied, Path::new("out\n")));
    run_printed(&world, Policy::File, &denied, "write", "out\n");
    assert!(is_allowed(&world, &link("out\n"), Path::new("out\n")));
    assert!(!is_allowed(&world, &link("out"), Path::new("out")));
}

#[test]
fn where_no_policy_can_name_the_path_no_call_is_printed() {
    for (name, why) in
        [(&b"\xff\xfe"[..], "not UTF-8"), (b"we*rd", "has a wildcard in its name"), (b"{{name}}", "has a wildcard")]
    {
        for policy in POLICIES {
            let world = World::new("allow-none", Who::Me);
            let words = policy.set(&world);
            let path = Path::new("./").join(bytes(name)).join(".envrc");
            let denied = writes(&world, &words, &path);
            assert!(!is_allowed(&world, &denied, &path));
            assert_eq!(printed(&denied), Vec::<String>::new());
            assert!(err(&denied).contains(why), "{}", err(&denied));
        }
    }
}

#[test]
fn a_default_workspace_that_is_not_utf8_gets_words_instead_of_a_call() {
    let world = World::new("allow-workspace", Who::Me);
    let odd = world.dir(Path::new("home").join(bytes(b"w\xff")));
    let run = || world.command("mantlet").current_dir(&odd).args(["exec", "-c", "echo x > .envrc"]).output().unwrap();
    let denied = run();
    assert!(!odd.join(".envrc").exists());
    assert_eq!(printed(&denied), Vec::<String>::new());
    assert!(err(&denied).contains("no policy can name this workspace"), "{}", err(&denied));
}

/// What is found by its kind or its content, not by its name alone.
#[test]
fn every_kind_of_finding_is_allowed_by_its_printed_call() {
    let kinds = [
        ("symlink", "ln -sfn /etc/shadow ONE", "one", "two"),
        ("FIFO", "rm -f ONE; mkfifo ONE", "one", "two"),
        (".git file", "mkdir -p ONE && echo 'gitdir: ../elsewhere' > ONE/.git", "one", "two"),
        ("git config", "git init -q ONE && printf '[core]\\n fsmonitor = ./x\\n' > ONE/.git/config", "one", "two"),
        ("git hook", "git init -q ONE && echo x > ONE/.git/hooks/pre-commit", "one", "two"),
        (
            "bare repository",
            "rm -rf ONE && git init -q --bare ONE && printf '[core]\\n fsmonitor = ./x\\n' > ONE/config",
            "one",
            "two",
        ),
        ("bare hook", "rm -rf ONE && git init -q --bare ONE && echo x > ONE/hooks/update", "one", "two"),
        ("instructions", "mkdir -p ONE && echo x > ONE/CLAUDE.md", "one", "two"),
        ("settings tree", "mkdir -p ONE/.husky/deep && echo x > ONE/.husky/deep/x", "one", "two"),
    ];
    for (kind, line, one, two) in kinds {
        for who in everybody() {
            let world = World::new("allow-kind", who);
            let words = Policy::File.set(&world);
            let run = |name: &str| exec(&world, &words, &["-c", &line.replace("ONE", name)].map(OsStr::new));
            let denied = run(one);
            assert_eq!(code(&denied), 0, "{kind}: {}", err(&denied));
            let calls = printed(&denied);
            assert_eq!(calls.len(), 1, "{kind}: {}", err(&denied));
            let done = world.sh(&calls[0]);
            assert_eq!(code(&done), 0, "{kind}: {}", err(&done));
            fs::remove_dir_all(world.work().join(one)).ok();
            let again = run(one);
            assert!(!err(&again).contains("review:"), "{kind} {who:?}: {}", err(&again));
            assert!(err(&run(two)).contains("review:"), "{kind} {who:?}");
        }
    }
}

#[test]
fn what_a_git_configuration_names_is_allowed_by_its_printed_call() {
    let world = World::new("allow-include", Who::Me);
    let words = Policy::File.set(&world);
    world.file("home/work/.git/config", "[include]\n path = ../one\n path = ../two\n");
    for name in ["objects", "refs"] {
        world.dir(Path::new("home/work/.git").join(name));
    }
    world.file("home/work/.git/HEAD", "ref: refs/heads/main\n");
    let denied = writes(&world, &words, Path::new("./one"));
    assert!(!is_allowed(&world, &denied, Path::new("one")), "{}", err(&denied));
    run_printed(&world, Policy::File, &denied, "write", "one");
    assert!(is_allowed(&world, &writes(&world, &words, Path::new("./one")), Path::new("one")));
    assert!(!is_allowed(&world, &writes(&world, &words, Path::new("./two")), Path::new("two")));
}

#[test]
fn what_is_protected_already_opens_with_one_grant_and_alone() {
    for who in everybody() {
        let world = World::new("allow-existing", who);
        let words = Policy::File.set(&world);
        for name in ["CLAUDE.md", "AGENTS.md", "sub/CLAUDE.md"] {
            world.file(Path::new("home/work").join(name), "mine");
        }
        for name in ["CLAUDE.md", "AGENTS.md", "sub/CLAUDE.md"] {
            assert_eq!(code(&writes(&world, &words, &Path::new("./").join(name))), 2, "{who:?} {name}");
        }
        assert_eq!(code(&world.sh("mantlet allow --agent main --write CLAUDE.md")), 0);
        assert_eq!(code(&writes(&world, &words, Path::new("./CLAUDE.md"))), 0, "{who:?}");
        for name in ["AGENTS.md", "sub/CLAUDE.md"] {
            assert_eq!(code(&writes(&world, &words, &Path::new("./").join(name))), 2, "{who:?} {name}");
            assert_eq!(fs::read(world.work().join(name)).unwrap(), b"mine");
        }
    }
}

/// What docs/git.md says: which commands of git fail, and that the call it names opens them and not the hooks.
#[test]
fn git_writes_its_configuration_after_the_call_of_the_documentation() {
    for who in everybody() {
        let world = World::new("allow-git", who);
        world.builder("");
        let made = world.sh("git init -q . && git -c user.name=n -c user.email=e commit -q --allow-empty -m one");
        assert_eq!(code(&made), 0, "{}", err(&made));
        let git = |line: &str| code(&exec(&world, &[], &["-c", line].map(OsStr::new)));
        let work = "export GIT_AUTHOR_NAME=n GIT_AUTHOR_EMAIL=e GIT_COMMITTER_NAME=n GIT_COMMITTER_EMAIL=e; echo x >> f; \
                    git add f && git commit -q -m two && git checkout -q -b topic && git status -s && git gc -q && \
                    git worktree add -q tree && git init -q new && git clone -q new copy 2>&1 && git stash list";
        assert_eq!(git(work), 0, "{who:?}");
        let writes = ["git remote add origin /nowhere", "git config a.b c"];
        let hook = "echo x > .git/hooks/pre-commit";
        for line in writes.iter().chain(&[hook]) {
            assert_ne!(git(line), 0, "{who:?} {line}");
        }
        assert_eq!(code(&world.sh("mantlet allow --agent main --write .git/config")), 0);
        for line in writes {
            assert_eq!(git(line), 0, "{who:?} {line}");
        }
        assert_ne!(git(hook), 0, "{who:?}");
        assert!(!world.work().join(".git/hooks/pre-commit").exists());
    }
}

/// `deny` and `protect` of the owner's own file are taken back by hand only: the line is named, and no call printed.
#[test]
fn the_owners_own_rules_name_their_line_instead_of_a_call() {
    let world = World::new("allow-own-rules", Who::Me);
    world.builder("[agent.main.files]\nprotect = [\"notes/*\"]\ndeny = [\"**/.envrc\", \"tool\"]\n");
    let protected = writes(&world, &[], Path::new("./notes/a"));
    assert!(!is_allowed(&world, &protected, Path::new("notes/a")));
    assert_eq!(printed(&protected), Vec::<String>::new());
    assert!(err(&protected).contains("delete `notes/*` in line 6 by hand"), "{}", err(&protected));
    let denied = writes(&world, &[], Path::new("./.envrc"));
    assert_eq!(printed(&denied), Vec::<String>::new(), "{}", err(&denied));
    assert!(err(&denied).contains("delete `**/.envrc` in line 7 by hand"), "{}", err(&denied));
    world.program("home/work/tool", "#!/bin/sh\necho ran\n");
    let program = exec(&world, &[], &["--", "./tool"].map(OsStr::new));
    assert_eq!(code(&program), 126, "{}", err(&program));
    assert!(err(&program).contains("delete `tool` in line 7 by hand"), "{}", err(&program));
}

#[test]
fn a_directory_outside_is_entered_after_its_printed_call() {
    for who in everybody() {
        for policy in POLICIES {
            for name in ["reference", "re fe\nren'ce"] {
                let world = World::new("allow-cwd", who);
                let words = policy.set(&world);
                world.file(Path::new("home").join(name).join("deep/fact"), "42");
                world.file("home/other/fact", "43");
                let run = |dir: &str| {
                    let dir = world.home().join(dir);
                    exec(
                        &world,
                        &words,
                        &[OsStr::new("--cwd"), dir.as_os_str(), OsStr::new("-c"), OsStr::new("cat deep/fact")],
                    )
                };
                let denied = run(name);
                assert_eq!(code(&denied), 125);
                run_printed(&world, policy, &denied, "read", &format!("~/{name}"));
                let again = run(name);
                assert_eq!((code(&again), again.stdout.as_slice()), (0, &b"42"[..]), "{}", err(&again));
                assert_eq!(code(&run("other")), 125);
            }
        }
    }
}

#[test]
fn a_directory_that_no_rule_may_open_gets_a_reason_instead_of_a_call() {
    let world = World::new("allow-closed", Who::Me);
    world.builder("");
    world.file("home/.openclaw/credentials/x", "secret");
    for (dir, why) in [
        ("", "contains your home directory"),
        (".openclaw", "where an agent keeps its settings"),
        (".openclaw/credentials", "holds an agent's credentials"),
    ] {
        let dir = world.home().join(dir);
        let denied = exec(&world, &[], &[OsStr::new("--cwd"), dir.as_os_str(), OsStr::new("-c"), OsStr::new("ls")]);
        assert_eq!(code(&denied), 125);
        assert_eq!(printed(&denied), Vec::<String>::new());
        assert!(err(&denied).contains(why), "{}", err(&denied));
    }
}

const HELLO: &str = "#!/bin/sh\necho hello\n";

#[test]
fn a_program_outside_runs_after_its_printed_call() {
    for who in everybody() {
        for policy in POLICIES {
            let mut world = World::new("allow-program", who);
            let words = policy.set(&world);
            let tool = world.program("home/my tools/hello", HELLO);
            let other = world.program("home/my tools/other", HELLO);
            world.env(
                "PATH",
                format!("{}:{}:/usr/bin:/bin", common::programs().display(), tool.parent().unwrap().display()),
            );
            for (name, sibling) in [(tool.as_os_str(), other.as_os_str()), (OsStr::new("hello"), OsStr::new("other"))] {
                fs::remove_file(world.policy()).ok();
                policy.set(&world);
                let run = |name: &OsStr| exec(&world, &words, &[OsStr::new("--"), name]);
                let denied = run(name);
                assert_eq!(code(&denied), 127, "{}", err(&denied));
                run_printed(&world, policy, &denied, "read", "~/my tools/hello");
                let again = run(name);
                assert_eq!((code(&again), again.stdout.as_slice()), (0, &b"hello\n"[..]), "{}", err(&again));
                assert_eq!(code(&run(sibling)), 127);
            }
        }
    }
}

#[test]
fn a_script_whose_interpreter_is_outside_runs_after_what_is_printed() {
    let world = World::new("allow-interpreter", Who::Me);
    world.builder("");
    let shell = world.dir("home/bin").join("shell");
    fs::copy("/bin/dash", &shell).unwrap();
    let script = format!("#!{}\necho hello\n", shell.display());
    world.program("home/work/inside", &script);
    world.program("home/tools/outside", &script);
    for name in ["./inside".into(), world.home().join("tools/outside")] {
        world.builder("");
        let denied = exec(&world, &[], &[OsStr::new("--"), name.as_os_str()]);
        assert_eq!(code(&denied), 127);
        let calls = printed(&denied);
        assert_eq!(calls.len(), 1, "{}", err(&denied));
        assert_eq!(code(&world.sh(&calls[0])), 0);
        let again = exec(&world, &[], &[OsStr::new("--"), name.as_os_str()]);
        assert_eq!((code(&again), again.stdout.as_slice()), (0, &b"hello\n"[..]), "{}", err(&again));
        let text = fs::read_to_string(world.policy()).unwrap();
        assert_eq!(text.contains("~/tools/outside"), name.is_absolute(), "{text}");
    }
}

#[test]
fn a_program_that_is_nowhere_gets_no_call() {
    let world = World::new("allow-nowhere", Who::Me);
    let output = exec(&world, &[], &["--", "no-such-program"].map(OsStr::new));
    assert_eq!((code(&output), printed(&output)), (127, Vec::new()));
}

#[test]
fn callers_path_adds_only_what_the_jail_shows_and_behind_the_systems() {
    let mut world = World::new("allow-path", Who::Me);
    world.builder("[agent.main.files]\nread = [\"~/shown\"]\n");
    for dir in ["home/shown", "home/hidden", "home/work/bin"] {
        world.program(Path::new(dir).join("true"), "#!/bin/sh\necho mine\n");
    }
    let home = world.home();
    let dirs = [home.join("hidden"), home.join("shown"), home.join("work/bin"), "relative".into(), "/usr/bin".into()];
    world.env("PATH", std::env::join_paths(&dirs).unwrap());
    let output = exec(&world, &[], &["-c", "echo $PATH; true"].map(OsStr::new));
    let system = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    let wanted = format!("{system}:{}:{}\n", dirs[1].display(), dirs[2].display());
    assert_eq!(common::out(&output), wanted);
}

/// A printed call must change the file that is in force; in a jail it must change nothing.
#[test]
fn a_jail_cannot_allow_itself_anything() {
    let world = World::new("allow-inside", Who::Me);
    let file = world.builder("");
    let program = common::programs().join("mantlet");
    let words: Vec<OsString> = [OsStr::new("--with"), program.as_os_str(), OsStr::new("--")]
        .into_iter()
        .map(OsStr::to_owned)
        .chain(["/run/mantlet/mantlet", "allow", "--agent", "main", "--env", "X"].map(OsString::from))
        .collect();
    let output = world.exec(&words);
    assert_eq!(code(&output), 125, "{}", err(&output));
    assert!(
        err(&output).contains("a jailed command cannot change its policy\nmantlet: hint:")
            || err(&output).contains("hint: ask the owner"),
        "{}",
        err(&output)
    );
    assert_eq!(fs::read_to_string(file).unwrap(), builder(""));
    assert!(!world.work().join(".config").exists());
}

#[test]
fn roles_without_commands_print_no_call() {
    for role in ["scout", "public"] {
        for who in everybody() {
            let world = World::new("allow-role", who);
            world.file(world.policy(), builder("").replace("builder", role));
            let output = exec(&world, &[], &["-c", "touch ran"].map(OsStr::new));
            assert_eq!(code(&output), 125);
            assert_eq!(printed(&output), Vec::<String>::new());
            assert!(
                err(&output).contains(&format!("agent `main` is a {role}, which runs no commands")),
                "{}",
                err(&output)
            );
            assert!(!world.work().join("ran").exists());
            assert_eq!(world.kept(), Vec::<std::path::PathBuf>::new());
        }
    }
}

/// The same name for two things would open the wrong one: a symlink is opened where it leads, under its own name.
#[test]
fn a_program_behind_a_symlink_is_opened_by_the_name_it_was_called() {
    let world = World::new("allow-link", Who::Me);
    world.builder("");
    world.program("home/real/hello", HELLO);
    world.dir("home/bin");
    symlink("../real/hello", world.home().join("bin/hello")).unwrap();
    let name = world.home().join("bin/hello");
    let run = || exec(&world, &[], &[OsStr::new("--"), name.as_os_str()]);
    let denied = run();
    run_printed(&world, Policy::File, &denied, "read", "~/bin/hello");
    assert_eq!(code(&run()), 0);
    let listed = exec(&world, &[], &["-c", "ls ~ ~/bin"].map(OsStr::new));
    assert!(!common::out(&listed).contains("real"), "{}", common::out(&listed));
}

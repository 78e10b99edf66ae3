//! `mantlet vault` as a person uses it: where plaintext may go, what `seal` refuses, whom a file is for, what is said.
#![allow(clippy::unwrap_used, reason = "a test; the lint's own exception does not reach its helpers here")]

mod common;

use std::fs;
use std::process::{Output, Stdio};

use common::{Who, World, code, err, everybody, files, out};

const CANARY: &str = "canary-4711";

/// A home with an identity; its recipient.
fn world(name: &str, who: Who) -> (World, String) {
    let world = World::new(name, who);
    let made = world.mantlet(&["vault", "init"]);
    assert_eq!(code(&made), 0, "{}", err(&made));
    let recipient = out(&made).trim().to_owned();
    (world, recipient)
}

fn succeeds(output: &Output) -> String {
    assert_eq!(code(output), 0, "{}\n{}", out(output), err(output));
    out(output)
}

fn refused(output: &Output, why: &str) {
    assert_eq!(code(output), 125, "{}", out(output));
    assert!(err(output).contains(why), "{}", err(output));
    assert!(!err(output).contains(CANARY) && !out(output).contains(CANARY), "a refusal shows the secret");
}

fn holds_canary(world: &World) -> Vec<std::path::PathBuf> {
    let is_there = |text: Vec<u8>| text.windows(CANARY.len()).any(|at| at == CANARY.as_bytes());
    files(&world.top).into_iter().filter(|path| is_there(fs::read(path).unwrap())).collect()
}

#[test]
fn a_secret_goes_in_and_comes_out_and_is_nowhere_else() {
    for who in everybody() {
        let (world, _) = world("vault-life", who);
        world.file("home/work/app.env", format!("# who\nTOKEN={CANARY}\nOTHER=x\n"));
        assert_eq!(succeeds(&world.mantlet(&["vault", "seal", "app.env"])), "app.sops.env\n");
        assert_eq!(holds_canary(&world), Vec::<std::path::PathBuf>::new());
        assert_eq!(succeeds(&world.mantlet(&["vault", "list", "app.sops.env"])), "TOKEN\nOTHER\n");
        assert_eq!(succeeds(&world.mantlet(&["vault", "get", "app.sops.env", "TOKEN"])), CANARY);
        succeeds(&world.sh("printf 'new\\n' | mantlet vault set app.sops.env OTHER"));
        succeeds(&world.mantlet(&["vault", "unset", "app.sops.env", "TOKEN"]));
        succeeds(&world.mantlet(&["vault", "rotate", "app.sops.env"]));
        assert_eq!(succeeds(&world.mantlet(&["vault", "decrypt", "app.sops.env"])), "# who\nOTHER=new\n");
        refused(&world.mantlet(&["vault", "get", "app.sops.env", "TOKEN"]), "has no `TOKEN`");
        refused(&world.mantlet(&["vault", "init"]), "exists");
    }
}

#[test]
fn plaintext_goes_to_a_pipe_and_not_to_a_file() {
    let (world, _) = world("vault-pipe", Who::Me);
    world.file("home/work/a.env", format!("A={CANARY}\n"));
    succeeds(&world.mantlet(&["vault", "seal", "a.env"]));
    for line in ["mantlet vault decrypt a.sops.env > f", "mantlet vault get a.sops.env A > f"] {
        refused(&world.sh(line), "standard output is a file");
        assert!(holds_canary(&world).is_empty());
    }
    refused(&world.sh("mantlet vault decrypt a.sops.env > /dev/null"), "standard output is a terminal or device");
    succeeds(&world.sh("mantlet vault decrypt --force a.sops.env > f"));
    assert_eq!(holds_canary(&world).len(), 1, "with --force it goes where it is sent");
}

#[test]
fn what_a_format_would_lose_is_not_sealed() {
    let (world, _) = world("vault-lost", Who::Me);
    for (name, text, lost) in [
        ("a.json", r#"{"n": {"pi": 3.10}}"#, r#"["n"]["pi"]"#),
        ("b.json", r#"{"big": 9007199254740993}"#, "big"),
        ("c.yaml", "mode: 010\n", "mode"),
        ("d.yaml", "v: 1.0\n", "v"),
        ("e.yaml", "a: &x {k: 1}\nb: *x\n", ""),
    ] {
        world.file(format!("home/work/{name}"), text);
        let output = world.mantlet(&["vault", "seal", name]);
        refused(&output, "nothing was changed");
        assert!(err(&output).contains(lost) && err(&output).contains("--binary"), "{}", err(&output));
        assert_eq!(fs::read_to_string(world.work().join(name)).unwrap(), text);
        assert_eq!(files(&world.work()).len(), 1);
        let sealed = succeeds(&world.mantlet(&["vault", "seal", "--binary", "-o", "sealed", name]));
        assert_eq!(succeeds(&world.mantlet(&["vault", "decrypt", "--type", "binary", sealed.trim()])), text);
        fs::remove_file(world.work().join("sealed")).unwrap();
    }
    for (name, text) in [("f.yaml", "a: 'x' # c\nn: 5\nb: [true, \"1.0\"]\n"), ("g.json", r#"{"a": [1, -2.5, "1.0"]}"#)]
    {
        world.file(format!("home/work/{name}"), text);
        succeeds(&world.mantlet(&["vault", "seal", name]));
    }
}

#[test]
fn links_and_foreign_files_are_left_alone() {
    let (world, _) = world("vault-links", Who::Me);
    world.file("home/work/plain.env", "A=1\n");
    std::os::unix::fs::symlink("plain.env", world.work().join("link.env")).unwrap();
    refused(&world.mantlet(&["vault", "seal", "link.env"]), "not a regular file");
    fs::hard_link(world.work().join("plain.env"), world.work().join("other.env")).unwrap();
    refused(&world.mantlet(&["vault", "seal", "plain.env"]), "other names");
    assert_eq!(fs::read_to_string(world.work().join("other.env")).unwrap(), "A=1\n");
    refused(&world.mantlet(&["vault", "seal", "x.ini"]), "does not exist");
    world.file("home/work/x.ini", "[a]\nb=1\n");
    refused(&world.mantlet(&["vault", "seal", "x.ini"]), "INI files are not supported");
}

#[test]
fn a_sops_yaml_says_whom_a_file_is_for_and_is_named() {
    let (world, own) = world("vault-rules", Who::Me);
    let other = out(&world.sh("HOME=$HOME/other; mkdir -p $HOME; mantlet vault init"));
    let rules = format!(
        "creation_rules:\n  - path_regex: pgp\n    pgp: ABCD\n  - path_regex: \\.env$\n    age: '{own}, {}'\n    encrypted_regex: SECRET\n",
        other.trim()
    );
    world.file("home/work/.sops.yaml", rules);
    world.file("home/work/in/a.env", format!("SECRET={CANARY}\nPORT=80\n"));
    let sealed = world.mantlet(&["vault", "seal", "in/a.env"]);
    succeeds(&sealed);
    assert!(err(&sealed).contains(other.trim()) && err(&sealed).contains(".sops.yaml"), "{}", err(&sealed));
    let text = fs::read_to_string(world.work().join("in/a.sops.env")).unwrap();
    assert!(text.contains("PORT=80\n") && !text.contains(CANARY));
    assert!(err(&sealed).contains("leaves in the clear: PORT"), "{}", err(&sealed));
    refused(&world.sh("echo x | mantlet vault set in/a.sops.env PLAIN"), "leaves `PLAIN` in the clear");
    world.file("home/work/pgp.env", "A=1\n");
    refused(&world.mantlet(&["vault", "seal", "pgp.env"]), "`pgp`, which is not supported");
    world.file("home/work/x.json", "{}");
    refused(&world.mantlet(&["vault", "seal", "x.json"]), "no creation rule matches");
    succeeds(&world.mantlet(&["vault", "seal", "--age", &own, "x.json"]));
    fs::set_permissions(world.work().join(".sops.yaml"), std::os::unix::fs::PermissionsExt::from_mode(0o666)).unwrap();
    world.file("home/work/b.env", "A=1\n");
    refused(&world.mantlet(&["vault", "seal", "b.env"]), "written by other users");
}

#[test]
fn identities_are_found_where_sops_looks_and_refused_when_others_can_read_them() {
    let (mut world, own) = world("vault-identities", Who::Me);
    world.file("home/work/a.env", "A=1\n");
    succeeds(&world.mantlet(&["vault", "seal", "a.env"]));
    let key = world.home().join(".config/mantlet/vault/identity");
    let text = fs::read_to_string(&key).unwrap();
    fs::remove_file(&key).unwrap();
    refused(&world.mantlet(&["vault", "get", "a.sops.env", "A"]), &own);
    let line = text.lines().find(|line| line.starts_with("AGE-SECRET-KEY-")).unwrap();
    assert_eq!(succeeds(&world.sh(&format!("SOPS_AGE_KEY={line} mantlet vault get a.sops.env A"))), "1");
    let usual = world.file("home/.config/sops/age/keys.txt", &text);
    refused(&world.mantlet(&["vault", "get", "a.sops.env", "A"]), "can be read by other users");
    fs::set_permissions(&usual, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    assert_eq!(succeeds(&world.mantlet(&["vault", "get", "a.sops.env", "A"])), "1");
    world.env("SOPS_AGE_KEY_FILE", "/nonexistent/keys.txt");
    refused(&world.mantlet(&["vault", "get", "a.sops.env", "A"]), "cannot read /nonexistent/keys.txt");
}

/// What an editor wrote is encrypted; the plaintext is in memory only, and not there when it is done.
#[test]
fn a_file_is_edited_in_memory() {
    let (mut world, _) = world("vault-edit", Who::Me);
    world.file("home/work/a.env", format!("A={CANARY}\n"));
    succeeds(&world.mantlet(&["vault", "seal", "a.env"]));
    let editor = world.program(
        "home/editor",
        "#!/bin/sh\nstat -f -c %T \"$1\" > $HOME/kind; stat -c '%a %n' . \"$1\" > $HOME/where; echo B=2 >> \"$1\"\n",
    );
    world.env("EDITOR", editor);
    succeeds(&world.mantlet(&["vault", "edit", "a.sops.env"]));
    assert_eq!(succeeds(&world.mantlet(&["vault", "decrypt", "a.sops.env"])), format!("A={CANARY}\nB=2\n"));
    let kind = fs::read_to_string(world.home().join("kind")).unwrap();
    assert!(["tmpfs", "ramfs"].contains(&kind.trim()), "{kind}");
    let shown = fs::read_to_string(world.home().join("where")).unwrap();
    assert!(shown.starts_with("700 .\n600 "), "{shown}");
    let file = shown.trim().rsplit(' ').next().unwrap();
    assert!(!std::path::Path::new(file).parent().unwrap().exists(), "{file} is still there");
    assert!(holds_canary(&world).is_empty());
    let failing = world.program("home/failing", "#!/bin/sh\nexit 3\n");
    world.env("EDITOR", failing);
    refused(&world.mantlet(&["vault", "edit", "a.sops.env"]), "the editor failed");
}

#[test]
fn what_the_mac_does_not_cover_is_said_until_it_is_accepted() {
    let (world, _) = world("vault-witness", Who::Me);
    world.file("home/work/a.env", "# note\nA=1\n");
    succeeds(&world.mantlet(&["vault", "seal", "a.env"]));
    let path = world.work().join("a.sops.env");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, format!("# added\nEMPTY=\n{text}")).unwrap();
    let get = || world.mantlet(&["vault", "get", "a.sops.env", "A"]);
    let output = get();
    succeeds(&output);
    for said in ["comments were added", "empty or null names were added", "1 comment(s) stand in the clear"] {
        assert!(err(&output).contains(said), "{}", err(&output));
    }
    // What is written next would make it the owner's.
    for words in [&["rotate", "a.sops.env"][..], &["unset", "a.sops.env", "A"]] {
        refused(
            &world.mantlet(&[&["vault"], words].concat()),
            "nothing was written: a.sops.env: since Mantlet last wrote",
        );
    }
    succeeds(&world.mantlet(&["vault", "accept", "a.sops.env"]));
    assert!(!err(&get()).contains("since Mantlet last wrote it"));
    fs::write(&path, text.replace("A=ENC", "B=ENC")).unwrap();
    refused(&get(), "was changed, moved from another name");
}

/// A key that even its owner may only read, and a place beside it that is written in another way.
#[test]
fn a_read_only_key_is_sealed_and_gone() {
    for who in everybody() {
        let (world, _) = world("vault-read-only", who);
        let key = world.file("home/work/key", CANARY);
        fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o400)).unwrap();
        succeeds(&world.mantlet(&["vault", "seal", "--binary", "key", "-o", "./key.sops"]));
        assert_eq!(succeeds(&world.mantlet(&["vault", "decrypt", "key.sops"])), CANARY);
        assert!(holds_canary(&world).is_empty());
    }
}

/// An interrupt at the terminal reaches both, and is the editor's; who is killed leaves plaintext in memory, which the
/// next call removes, but not under an editor that still runs.
#[test]
fn an_interrupted_edit_leaves_no_plaintext() {
    let (mut world, _) = world("vault-interrupt", Who::Me);
    let memory = std::path::Path::new("/dev/shm").join(world.top.file_name().unwrap());
    fs::create_dir(&memory).unwrap();
    world.env("XDG_RUNTIME_DIR", &memory);
    let scratches = || fs::read_dir(&memory).unwrap().count();
    world.file("home/work/a.env", format!("A={CANARY}\n"));
    succeeds(&world.mantlet(&["vault", "seal", "a.env"]));
    let editor = "#!/bin/sh\nfor s in INT QUIT HUP TERM; do kill -$s $PPID; done; sleep 0.1; echo B=2 >> \"$1\"\n\
                  grep -q 'SigBlk:.*0000000000000000' /proc/self/status || echo C=3 >> \"$1\"\n";
    let editor = world.program("home/editor", editor);
    world.env("EDITOR", editor);
    succeeds(&world.mantlet(&["vault", "edit", "a.sops.env"]));
    assert_eq!(succeeds(&world.mantlet(&["vault", "decrypt", "a.sops.env"])), format!("A={CANARY}\nB=2\n"));
    assert_eq!(scratches(), 0);

    // Killed under its editor, which goes on until it is told to end.
    let stays = "#!/bin/sh\n[ -e $HOME/first ] && exit 0\ntouch $HOME/first; kill -9 $PPID\n\
                 while ! [ -e $HOME/end ]; do sleep 0.01; done; touch $HOME/ended\n";
    let stays = world.program("home/stays", stays);
    world.env("EDITOR", stays);
    let mut edit = world.command("mantlet");
    edit.args(["vault", "edit", "a.sops.env"]).stdout(Stdio::null()).stderr(Stdio::null());
    assert_eq!(edit.status().unwrap().code(), None);
    assert_eq!(scratches(), 1, "control: the plaintext is there");
    succeeds(&world.mantlet(&["vault", "edit", "a.sops.env"]));
    assert_eq!(scratches(), 1, "its editor has it open");
    world.file("home/end", "");
    while !world.home().join("ended").exists() {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    // The shell is about to end when it has said so.
    while scratches() > 0 {
        succeeds(&world.mantlet(&["vault", "edit", "a.sops.env"]));
    }
    fs::remove_dir(memory).unwrap();
}

/// The limit counts in a user namespace for its root as well, who could lock everything outside.
#[test]
fn a_file_larger_than_what_may_be_locked_is_encrypted_all_the_same() {
    for who in everybody() {
        let (world, recipient) = world("vault-limit", who);
        world.file("home/work/large", vec![b'x'; 6 << 20]);
        let limited = "unshare --user --map-root-user prlimit --memlock=8388608:8388608";
        succeeds(
            &world.sh(&format!("{limited} mantlet vault encrypt large --age {recipient} --type binary -o sealed")),
        );
        assert_eq!(succeeds(&world.sh("mantlet vault decrypt sealed --type binary | wc -c")).trim(), "6291456");
    }
}

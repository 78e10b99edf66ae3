//! Identities that do not lie open: under a passphrase that is asked for on a terminal, and what age makes of them.
#![allow(
    clippy::unwrap_used,
    missing_docs,
    reason = "a test; the lint's own exception does not reach its helpers here"
)]

mod common;

use common::{Who, World, code, err, everybody, is_root, out};

/// Runs a line on a terminal of its own, answers each question, and prints what was shown and the exit code.
const TERMINAL: &str = r#"
import os, pty, select, sys
line, answers = sys.argv[1], sys.argv[2:]
pid, fd = pty.fork()
if pid == 0:
    os.execv("/bin/sh", ["sh", "-c", line])
shown = b""
# A question without an answer is a failure, not a wait.
while select.select([fd], [], [], 30)[0]:
    try:
        got = os.read(fd, 65536)
    except OSError:
        break
    if not got:
        break
    shown += got
    if answers and shown.endswith((b"passphrase: ", b"again: ", b"identity: ", b"one): ", b'": ')):
        os.write(fd, answers.pop(0).encode() + b"\n")
print(shown.decode().replace("\r\n", "\n"), end="")
os.close(fd)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"#;

fn on_terminal(world: &World, line: &str, answers: &[&str]) -> (i32, String) {
    let mut command = world.command("/usr/bin/python3");
    let output = command.args(["-c", TERMINAL, line]).args(answers).output().unwrap();
    (code(&output), out(&output) + &err(&output))
}

const PHRASE: &str = "correct horse battery";

#[test]
fn a_passphrase_is_asked_for_twice_and_never_shown() {
    // The user whose limit of locked memory is lower than what scrypt needs, where root runs the tests.
    let who = everybody().pop().unwrap();
    let world = World::new("vault-phrase", who);
    let (failed, said) = on_terminal(&world, "mantlet vault init --passphrase", &[PHRASE, "another"]);
    assert!(failed == 125 && said.contains("not the same"), "{said}");
    let (failed, said) = on_terminal(&world, "mantlet vault init --passphrase", &[""]);
    assert!(failed == 125 && said.contains("nothing was entered"), "{said}");
    assert!(!world.home().join(".config/mantlet/vault/identity").exists());
    let (made, said) = on_terminal(&world, "mantlet vault init --passphrase", &[PHRASE, PHRASE]);
    assert!(made == 0 && said.contains("age1") && !said.contains(PHRASE), "{said}");
    let (again, said) = on_terminal(&world, "mantlet vault init", &[]);
    assert!(again == 125 && said.contains("exists"), "{said}");
    // One question for a call, however often the identity is needed in it; input is free for data.
    let line = "printf 'A=canary-4711' | mantlet vault encrypt - --type dotenv -o s.env";
    let (sealed, said) = on_terminal(&world, line, &[PHRASE]);
    assert!(sealed == 0 && !said.contains(PHRASE), "{said}");
    let (opened, said) = on_terminal(&world, "mantlet vault decrypt s.env | tr a-z A-Z", &[PHRASE]);
    assert!(opened == 0 && said.ends_with("A=CANARY-4711\n"), "{said}");
    let (wrong, said) = on_terminal(&world, "mantlet vault exec s.env -- env", &["wrong"]);
    assert!(wrong == 125 && said.contains("does not open it") && !said.contains("canary"), "{said}");
    // No terminal, as in a unit: said so, with what to do.
    let silent = world.sh("setsid mantlet vault get s.env A | cat");
    assert!(out(&silent).is_empty() && err(&silent).contains("no terminal to ask on"), "{}", err(&silent));
    // Another identity that opens the file: nobody is asked.
    let line = "mantlet vault encrypt - --type dotenv --age $(cat r) -o other.env; mantlet vault get other.env A | cat";
    let other = world.sh(&format!(
        "age-keygen -o k 2>/dev/null; age-keygen -y k >r; printf A=1 | SOPS_AGE_KEY_FILE=k setsid sh -c '{line}'"
    ));
    assert_eq!(out(&other), "1", "{}", err(&other));
}

/// The format is age's own, in both directions.
#[test]
fn age_opens_what_is_protected_here_and_the_other_way_round() {
    let world = World::new("vault-age", Who::Me);
    let made =
        world.sh(&format!("printf '{PHRASE}\\nmore\\n' >p && mantlet vault init --passphrase-fd 3 3<p >r && cat r"));
    assert!(code(&made) == 0 && out(&made).starts_with("age1"), "{}", err(&made));
    let own = world.home().join(".config/mantlet/vault/identity");
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&own).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    let line = format!("echo canary | age -r $(cat r) -o c && age -d -i {} c", own.display());
    let (opened, said) = on_terminal(&world, &line, &[PHRASE]);
    assert!(opened == 0 && said.ends_with("canary\n"), "{said}");
    // age's own, armored and not.
    for armor in ["-a", ""] {
        std::fs::remove_file(&own).unwrap();
        let line =
            format!("rm -f k; age-keygen -o k 2>/dev/null; age -p {armor} -o {} k; chmod 600 {0}", own.display());
        let (made, said) = on_terminal(&world, &line, &[PHRASE, PHRASE]);
        assert_eq!(made, 0, "{said}");
        let line =
            "rm -f s.env; printf A=canary | mantlet vault encrypt - --type dotenv --age $(age-keygen -y k) -o s.env;
            rm k; mantlet vault get s.env A | tr a-z A-Z";
        let (opened, said) = on_terminal(&world, line, &[PHRASE]);
        assert!(opened == 0 && said.ends_with("CANARY"), "{armor}: {said}");
    }
}

#[test]
fn what_this_machine_has_not_is_said() {
    let world = World::new("vault-tpm", Who::Me);
    let refused = world.sh("mantlet vault init --systemd-creds=tpm2");
    // With a TPM, root would get an identity that is bound to it: that is not tried here.
    if !std::path::Path::new("/dev/tpmrm0").exists() {
        assert!(code(&refused) == 125 && err(&refused).contains("has no TPM"), "{}", err(&refused));
    }
    assert!(!world.home().join(".config/mantlet/vault/identity").exists());
    if !is_root() {
        let refused = world.sh("mantlet vault init --systemd-creds=host");
        assert!(code(&refused) == 125 && err(&refused).contains("only root"), "{}", err(&refused));
    }
}

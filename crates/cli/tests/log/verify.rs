//! `mantlet log verify` and `anchor`: a ledger that somebody edits, cuts, and writes anew with the owner's own key.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use crate::home::Home;

fn filled(name: &str) -> Home {
    let home = Home::new(name);
    for number in 0..300 {
        home.append("2026-11-24T10:00:00.000Z", "main", &format!("command {number}"));
    }
    home
}

fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn cut(home: &Home, lines: usize) {
    let text = fs::read_to_string(home.file()).unwrap();
    let kept: String = text.split_inclusive('\n').take(lines).collect();
    fs::write(home.file(), kept).unwrap();
}

#[test]
fn a_sound_ledger_says_up_to_where_it_is_complete_and_what_cannot_be_known() {
    let home = filled("verify-sound");
    let output = home.log(&["verify"]);
    assert!(output.status.success(), "{output:?}");
    let told = text(&output);
    assert!(told.contains("301 entries; 1 checkpoints hold, the newest signs entry 255"), "{told}");
    assert!(told.contains("complete up to entry 300; what came after, if anything did, cannot be known"), "{told}");
    let found: Value = serde_json::from_slice(&home.log(&["verify", "--json"]).stdout).unwrap();
    assert_eq!((&found["head"]["seq"], &found["findings"]), (&300.into(), &Value::Array(vec![])));
}

#[test]
fn an_edit_is_named_by_its_line_and_the_log_still_shows_the_rest() {
    let home = filled("verify-edit");
    let text_before = fs::read_to_string(home.file()).unwrap();
    fs::write(home.file(), text_before.replacen("command 41", "command 42", 1)).unwrap();
    let output = home.log(&["verify"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(text(&output).contains("line 42: entry 41 was changed"), "{}", text(&output));
    assert!(text(&output).contains("NOT as it was written"), "{}", text(&output));
    assert_eq!(home.lines(&["-n", "500"]).len(), 301);
}

#[test]
fn an_escape_in_a_name_does_not_reach_the_terminal() {
    let home = filled("verify-escape");
    let raw = fs::read_to_string(home.file()).unwrap();
    fs::write(home.file(), raw + "\x1b[2J forged\n").unwrap();
    home.append("2026-11-24T10:00:00.000Z", "main", "next");
    let output = home.log(&["verify"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(!output.stdout.contains(&0x1b));
}

#[test]
fn what_was_cut_is_found_by_a_file_of_heads_and_not_without_it() {
    let home = filled("verify-cut");
    let heads = home.0.join("heads");
    let anchor = format!("file:{}", heads.display());
    let output = home.log(&["anchor", "--anchor", &anchor]);
    assert!(output.status.success() && text(&output).starts_with("entry 301 is kept"), "{output:?}");
    assert!(home.log(&["verify", "--anchor", &anchor]).status.success());
    cut(&home, 280);
    assert!(home.log(&["verify"]).status.success(), "the control: nothing in the ledger tells");
    let output = home.log(&["verify", "--anchor", &anchor]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(text(&output).contains("entry 301 was there once"), "{}", text(&output));
    // Written on, up to the same number and with the same key.
    for _ in 0..40 {
        home.append("2026-11-24T10:00:00.000Z", "main", "innocent");
    }
    assert!(home.log(&["verify"]).status.success(), "the control: a new chain with the owner's key");
    assert_eq!(home.log(&["verify", "--anchor", &anchor]).status.code(), Some(1));
    // A file of heads that cannot be read tells nothing, and that is no yes.
    for broken in ["/nonexistent", "/dev/null/x"] {
        assert!(!home.log(&["verify", "--anchor", &format!("file:{broken}")]).status.success(), "{broken}");
    }
    fs::write(&heads, "broken\n").unwrap();
    assert!(!home.log(&["verify", "--anchor", &anchor]).status.success());
}

fn git(repository: &Path, args: &[&str]) -> Output {
    let mut git = Command::new("git");
    git.arg("-C").arg(repository).args(args).env("GIT_CONFIG_GLOBAL", "/dev/null");
    git.output().unwrap()
}

#[test]
fn what_was_cut_is_found_by_a_repository_of_heads() {
    let home = filled("verify-git");
    let repository = home.0.join("audit");
    fs::create_dir(&repository).unwrap();
    git(&repository, &["init", "--quiet"]);
    git(&repository, &["config", "user.name", "Ann"]);
    git(&repository, &["config", "user.email", "ann@example.org"]);
    let anchor = format!("git:{}", repository.display());
    for _ in 0..2 {
        let output = home.log(&["anchor", "--anchor", &anchor]);
        assert!(output.status.success(), "{output:?}");
    }
    assert_eq!(git(&repository, &["log", "--oneline"]).stdout.iter().filter(|byte| **byte == b'\n').count(), 2);
    assert!(home.log(&["verify", "--anchor", &anchor]).status.success());
    cut(&home, 299);
    assert_eq!(home.log(&["verify", "--anchor", &anchor]).status.code(), Some(1));
}

#[test]
fn the_policy_says_where_heads_are_kept_and_a_program_is_handed_them() {
    let home = filled("verify-policy");
    let (heads, handed) = (home.0.join("heads"), home.0.join("handed"));
    fs::create_dir_all(home.0.join(".config/mantlet")).unwrap();
    fs::create_dir(home.0.join("work")).unwrap();
    let policy = format!(
        "version = 1\n[agent.main]\nrole = \"builder\"\nworkspace = \"~/work\"\n[ledger]\nanchor = [\"file:{}\"]\n\
         anchor_command = [\"/bin/sh\", \"-c\", \"cat >> {}\"]\n",
        heads.display(),
        handed.display()
    );
    fs::write(home.0.join(".config/mantlet/mantlet.toml"), policy).unwrap();
    let output = home.log(&["anchor"]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(fs::read(&heads).unwrap(), fs::read(&handed).unwrap());
    let output = home.log(&["verify"]);
    assert!(text(&output).contains("the newest hash kept elsewhere is of entry 301"), "{output:?}");
    cut(&home, 100);
    assert_eq!(home.log(&["verify"]).status.code(), Some(1));
}

#[test]
fn nowhere_to_keep_a_head_is_an_error_with_the_way_out() {
    let home = filled("verify-nowhere");
    let output = home.log(&["anchor"]);
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("--anchor file:/path"), "{output:?}");
}

#[test]
fn another_key_is_told_apart() {
    let home = filled("verify-key");
    let place = home.file().with_file_name("key.pub");
    let own = fs::read_to_string(&place).unwrap();
    assert!(home.log(&["verify", "--key", &own]).status.success());
    assert!(home.log(&["verify", "--key", place.to_str().unwrap()]).status.success());
    assert_eq!(home.log(&["verify", "--key", &"ab".repeat(32)]).status.code(), Some(1));
    assert!(!home.log(&["verify", "--key", "short"]).status.success());
    // A key of somebody's who took the place of the owner's.
    fs::remove_file(home.file().with_file_name("key")).unwrap();
    for _ in 0..300 {
        home.append("2026-11-24T10:00:00.000Z", "main", "later");
    }
    assert_eq!(home.log(&["verify"]).status.code(), Some(1));
}

#[test]
fn the_log_reads_what_was_rotated_and_compressed() {
    let home = Home::new("verify-rotated");
    let dir = home.file().parent().unwrap().to_owned();
    for round in 0..4 {
        for number in 0..10 {
            home.append("2026-11-24T10:00:00.000Z", "main", &format!("command {round}-{number}"));
        }
        let keep = mantlet_ledger::Keep { age: std::time::Duration::ZERO, ..mantlet_ledger::Keep::default() };
        mantlet_ledger::Writer::open_with(&dir, &[], keep).unwrap().tidy().unwrap();
    }
    home.append("2026-11-24T10:00:00.000Z", "main", "last");
    let shown = home.lines(&["--kind", "exec", "-n", "25"]);
    assert_eq!(shown.len(), 25);
    assert!(shown[0].ends_with("command 1-6") && shown[24].ends_with("last"), "{shown:?}");
    let exported = home.lines(&["export", "--format", "jsonl", "--kind", "exec"]);
    assert_eq!(exported.len(), 41);
    assert!(home.log(&["verify"]).status.success());
}

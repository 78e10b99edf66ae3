//! `mantlet policy` and `mantlet allow` as a person runs them, in a home that exists only here.
#![allow(clippy::unwrap_used, reason = "a test; the lint's own exception does not reach its helpers here")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A home with a workspace in it.
struct Home(PathBuf);

impl Home {
    fn new(name: &str) -> Self {
        let home = std::env::temp_dir().join(format!("mantlet-cli-{name}-{}", std::process::id()));
        fs::create_dir_all(home.join("work")).unwrap();
        fs::set_permissions(&home, fs::Permissions::from_mode(0o755)).unwrap();
        Home(home)
    }
    fn file(&self) -> PathBuf {
        self.0.join(".config/mantlet/mantlet.toml")
    }
    fn write(&self, text: &str) {
        fs::create_dir_all(self.file().parent().unwrap()).unwrap();
        for directory in [".config", ".config/mantlet"] {
            fs::set_permissions(self.0.join(directory), fs::Permissions::from_mode(0o755)).unwrap();
        }
        fs::write(self.file(), text).unwrap();
        fs::set_permissions(self.file(), fs::Permissions::from_mode(0o644)).unwrap();
    }
    fn run(&self, line: &str) -> Output {
        Command::new(env!("CARGO_BIN_EXE_mantlet"))
            .args(line.split_whitespace())
            .env("HOME", &self.0)
            .env_remove("XDG_CONFIG_HOME")
            .current_dir(self.0.join("work"))
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

const POLICY: &str = "version = 1\n[agent.main] # mine\nrole = \"builder\"\nworkspace = \"~/work\"\n";

#[test]
fn without_a_file_the_default_is_checked_explained_and_written_with_the_first_grant() {
    let home = Home::new("default");
    let checked = home.run("policy check");
    assert_eq!(code(&checked), 0, "{}", err(&checked));
    assert!(out(&checked).contains("no policy file, so the default"));
    assert!(out(&home.run("policy explain")).contains("Agent `main` is a builder"));
    let allowed = home.run("allow --agent main --env API_URL");
    assert_eq!(code(&allowed), 0, "{}", err(&allowed));
    assert!(out(&allowed).starts_with("--- /dev/null\n+++ "), "{}", out(&allowed));
    let text = fs::read_to_string(home.file()).unwrap();
    assert!(text.contains("[agent.main.env]\npass = [\"API_URL\"]"), "{text}");
    assert_eq!(fs::metadata(home.file()).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(code(&home.run("policy check")), 0);
}

#[test]
fn errors_name_file_line_column_and_fix() {
    let home = Home::new("errors");
    home.write(&format!("{POLICY}tier = \"ful\"\nx = 1\n"));
    let checked = home.run("policy check");
    assert_eq!(code(&checked), 1);
    let place = home.file().display().to_string();
    assert!(
        err(&checked).contains(&format!("{place}:5:8: `tier` cannot be `ful`\n  hint: did you mean `full`?")),
        "{}",
        err(&checked)
    );
    assert!(err(&checked).contains(&format!("{place}:6:1: unknown key `x`")));
    let json: serde_json::Value = serde_json::from_slice(&home.run("policy check --json").stdout).unwrap();
    assert_eq!(json["errors"].as_array().unwrap().len(), 2);
    assert_eq!(code(&home.run("allow --env A")), 1);
}

#[test]
fn a_grant_keeps_the_file_its_mode_and_is_idempotent() {
    let home = Home::new("grant");
    home.write(POLICY);
    let allowed = home.run("allow --agent main --host github.com --json");
    let json: serde_json::Value = serde_json::from_slice(&allowed.stdout).unwrap();
    assert_eq!((code(&allowed), &json["changed"]), (0, &serde_json::json!(true)));
    let text = fs::read_to_string(home.file()).unwrap();
    assert_eq!(text, format!("{POLICY}\n[agent.main.egress]\nallow = [\"github.com:443\"]\n"));
    assert_eq!(fs::metadata(home.file()).unwrap().permissions().mode() & 0o777, 0o644);
    let again = home.run("allow --agent main --host github.com:443");
    assert_eq!((code(&again), out(&again).as_str()), (0, ""));
    assert_eq!(fs::read_to_string(home.file()).unwrap(), text);
    assert_eq!(fs::read_dir(home.file().parent().unwrap()).unwrap().count(), 1);
}

#[test]
fn a_path_from_here_is_the_one_the_shell_means() {
    let home = Home::new("here");
    home.write(POLICY);
    fs::create_dir(home.0.join("reference")).unwrap();
    assert_eq!(code(&home.run("allow --read ../reference")), 0);
    assert!(fs::read_to_string(home.file()).unwrap().contains("read = [\"~/reference\"]"));
    assert_eq!(code(&home.run("allow --write ./.envrc")), 0);
    assert!(fs::read_to_string(home.file()).unwrap().contains("write = [\".envrc\"]"));
}

#[test]
fn what_cannot_be_allowed_is_refused_and_nothing_changes() {
    let home = Home::new("refused");
    let text = format!("{POLICY}[agent.main.files]\ndeny = [\"**/.env\"]\n");
    home.write(&text);
    let denied = home.run("allow --read sub/.env");
    assert_eq!(code(&denied), 125);
    assert!(err(&denied).contains("delete `**/.env` in line 6"), "{}", err(&denied));
    assert_eq!(code(&home.run("allow --read ~")), 125);
    assert_eq!(code(&home.run("allow --agent other --env A")), 125);
    assert_eq!(code(&home.run("allow --env A --read b")), 2);
    assert_eq!(code(&home.run("allow")), 2);
    assert_eq!(fs::read_to_string(home.file()).unwrap(), text);
}

#[test]
fn a_policy_that_others_can_write_is_not_used() {
    let home = Home::new("shared");
    home.write(POLICY);
    fs::set_permissions(home.file(), fs::Permissions::from_mode(0o666)).unwrap();
    for line in ["policy check", "policy explain", "allow --env A"] {
        let output = home.run(line);
        assert_eq!(code(&output), 125, "{line}");
        assert!(err(&output).contains("hint: chmod go-w"), "{}", err(&output));
    }
}

#[test]
fn a_first_file_is_not_made_where_others_could_change_it() {
    let home = Home::new("first");
    fs::create_dir(home.0.join(".config")).unwrap();
    fs::set_permissions(home.0.join(".config"), fs::Permissions::from_mode(0o775)).unwrap();
    let output = home.run("allow --env A");
    assert_eq!(code(&output), 125);
    assert!(err(&output).contains("can be written by other users"), "{}", err(&output));
    assert_eq!(names(&home.0.join(".config/mantlet")), Vec::<String>::new());
}

fn names(directory: &Path) -> Vec<String> {
    fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn the_schema_and_the_agents_text_are_printed() {
    let home = Home::new("print");
    home.write(POLICY);
    let schema: serde_json::Value = serde_json::from_slice(&home.run("policy schema").stdout).unwrap();
    assert_eq!(schema["additionalProperties"], false);
    assert!(out(&home.run("policy explain --for-agent")).lines().count() <= 20);
    let json: serde_json::Value =
        serde_json::from_slice(&home.run("policy explain --agent main --json").stdout).unwrap();
    assert_eq!(json["sentences"][0]["rule"], "line 3");
}

//! The subcommands as a person or a script uses them: flags, JSON wherever something is printed, colours, a terminal.
#![allow(clippy::unwrap_used, reason = "a test; the lint's own exception does not reach its helpers here")]

mod common;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use common::{Who, World, builder, code, err, everybody, out};
use serde_json::Value;

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}{}", out(output), err(output)))
}

#[test]
fn the_flags_of_exec_do_what_they_say() {
    for who in everybody() {
        let mut world = World::new("flags", who);
        world.env("OWN", "from the caller");
        world.env("SECRET", "stays outside");
        world.builder("[agent.main.env]\npass = [\"OWN\"]\nset = { SET = \"by policy\" }\n");
        world.dir("home/work/sub");
        let text = |words: &[&str]| {
            let output = world.exec(words);
            assert_eq!(code(&output), 0, "{words:?}: {}", err(&output));
            out(&output)
        };
        assert_eq!(text(&["-c", "echo \"$OWN|$SET|$SECRET\""]), "from the caller|by policy|\n");
        assert_eq!(text(&["--env", "OWN=given", "--env", "A=1=2", "-c", "echo \"$OWN|$A\""]), "given|1=2\n");
        assert_eq!(
            text(&["--env", "SECRET", "--env", "UNSET", "-c", "echo \"$SECRET|${UNSET-none}\""]),
            "stays outside|none\n"
        );
        assert_eq!(text(&["--env", "A=1", "--env", "A=2", "--", "printenv", "A"]), "2\n");
        assert_eq!(text(&["-c", "echo a", "-c", "; echo b"]), "a\nb\n");
        assert_eq!(text(&["--", "echo", "-c", "--agent"]), "-c --agent\n");
        assert_eq!(text(&["--cwd", "sub", "--", "pwd"]), format!("{}/sub\n", world.work().display()));
        assert_eq!(text(&["--workspace", "sub", "--", "pwd"]), format!("{}/sub\n", world.work().display()));
        assert_eq!(text(&["--agent", "main", "--client", "codex", "--", "echo", "x"]), "x\n");
        let program = world.program("home/tools/hello", "#!/bin/sh\necho hello\n");
        assert_eq!(text(&["--with", program.to_str().unwrap(), "--", "/run/mantlet/hello"]), "hello\n");
        let long = format!("printf %s '{}' | wc -c", "x".repeat(100_000));
        assert_eq!(text(&["-c", &long, "-c", &format!("; : {}", "y".repeat(100_000))]), "100000\n");
    }
}

#[test]
fn a_value_taken_by_name_stands_on_no_command_line() {
    let mut world = World::new("argv", Who::Me);
    world.env("TOKEN", "canary-51c0ffee");
    let line = "cat /proc/self/cmdline /proc/1/cmdline | tr '\\0' ' '; printenv TOKEN";
    let by_name = world.exec(&["--env", "TOKEN", "-c", line]);
    assert_eq!(out(&by_name).matches("canary-51c0ffee").count(), 1, "{}", out(&by_name));
    let ledger = fs::read_to_string(world.state().join("ledger/ledger.jsonl")).unwrap();
    assert!(!ledger.contains("canary-51c0ffee"));
}

#[test]
fn a_timeout_ends_the_call_and_cannot_be_longer_than_the_policys() {
    let world = World::new("timeout", Who::Me);
    for (policy, given) in [("", "300ms"), ("[agent.main.limits]\ntime = \"300ms\"\n", "1h")] {
        world.builder(policy);
        let began = std::time::Instant::now();
        let ended = world.mantlet(&["exec", "--timeout", given, "--", "sleep", "60"]);
        assert_eq!(code(&ended), 137, "{}", err(&ended));
        assert!(err(&ended).contains("the limit of wall clock (300ms) was reached"), "{}", err(&ended));
        assert!(began.elapsed().as_secs() < 10);
    }
}

#[test]
fn a_report_is_one_json_object_also_of_a_refusal() {
    for who in everybody() {
        let world = World::new("report", who);
        let file = world.home().join("report.json");
        let report = |words: &[&str]| -> Value {
            let words = [&["--report", "../report.json"][..], words].concat();
            let exit = code(&world.exec(&words));
            let report: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
            assert_eq!(report["exit"], exit, "{words:?}");
            report
        };
        let ran = report(&["-c", "echo x > .envrc; exit 3"]);
        assert_eq!((&ran["v"], &ran["tier"], &ran["exit"]), (&1.into(), &"full".into(), &3.into()));
        assert!(ran["mechanisms"]["seccomp"].is_string() && ran["findings"][0]["path"] == ".envrc");
        assert!(ran["findings"][0]["allow"].as_str().unwrap().starts_with("mantlet allow "));
        let refused = report(&["--cwd", "/none", "--", "true"]);
        assert_eq!((&refused["tier"], &refused["exit"]), (&Value::Null, &125.into()));
        assert!(refused["reason"].as_str().unwrap().contains("cannot enter"), "{refused}");
        assert_eq!(report(&["--", "no-such-program"])["exit"], 127);
    }
}

#[test]
fn the_policy_commands_answer_in_json_and_in_words() {
    let world = World::new("json", Who::Me);
    world.builder("[agent.main.files]\ndeny = [\"**/.env\"]\n");
    let checked = json(&world.mantlet(&["policy", "check", "--json"]));
    assert_eq!((&checked["valid"], &checked["agents"][0]), (&true.into(), &"main".into()));
    assert_eq!(checked["hash"].as_str().unwrap().len(), 64);
    let explained = json(&world.mantlet(&["policy", "explain", "--json"]));
    let sentences = explained["sentences"].as_array().unwrap();
    assert!(sentences.iter().all(|sentence| sentence["says"].is_string() && sentence["rule"].is_string()));
    assert!(sentences.iter().any(|sentence| sentence["rule"] == "line 6"));
    let words = out(&world.mantlet(&["policy", "explain"]));
    assert!(words.contains("`**/.env` is absent for it"), "{words}");
    let schema = world.mantlet(&["policy", "schema"]);
    assert_eq!(schema.stdout, world.mantlet(&["policy", "schema", "--json"]).stdout);
    assert_eq!(json(&schema)["$schema"], "https://json-schema.org/draft/2020-12/schema");
    for words in
        [&["policy", "check", "--json"][..], &["policy", "explain", "--json"], &["allow", "--env", "X", "--json"]]
    {
        world.file(world.policy(), "version = 1\nx = 1\n");
        let invalid = world.mantlet(words);
        assert_eq!((code(&invalid), &json(&invalid)["errors"][0]["line"]), (1, &2.into()), "{words:?}");
        fs::set_permissions(world.policy(), std::os::unix::fs::PermissionsExt::from_mode(0o666)).unwrap();
        let refused = world.mantlet(words);
        assert_eq!(code(&refused), 125);
        assert!(json(&refused)["hint"].as_str().unwrap().contains("chmod go-w"), "{words:?}");
    }
}

#[test]
fn an_agent_is_told_in_twenty_lines_at_most_with_calls_that_work() {
    for role in ["scout", "builder", "operator", "public"] {
        let world = World::new("told", Who::Me);
        let many: Vec<String> = (0..50).map(|number| format!("\"secret{number}\"")).collect();
        let files = format!("[agent.main.files]\ndeny = [{0}]\nprotect = [{0}]\n", many.join(", "));
        world.file(world.policy(), builder(&files).replace("builder", role));
        for words in
            [&["policy", "explain", "--for-agent"][..], &["policy", "explain", "--for-agent", "--agent", "main"]]
        {
            let told = out(&world.mantlet(words));
            assert!(told.lines().count() <= 20 && told.contains(role), "{told}");
        }
        let text = json(&world.mantlet(&["policy", "explain", "--for-agent", "--json"]));
        assert!(text["text"].as_str().unwrap().lines().count() <= 20);
        let told = out(&world.mantlet(&["policy", "explain", "--for-agent"]));
        for line in told.lines().filter(|line| line.trim_start().starts_with("mantlet allow")) {
            let call = line.split("   (").next().unwrap().trim();
            let call = call.replace("NAME", "X").replace("PATH", "/opt/x").replace("HOST:PORT", "example.org:443");
            let allowed = world.sh(&call);
            assert_eq!(code(&allowed), 0, "{role}: {call}: {}", err(&allowed));
        }
    }
}

#[test]
fn allow_keeps_comments_and_order_and_says_what_it_changed() {
    for who in everybody() {
        let world = World::new("kept", who);
        let text = "# top\nversion = 1 # first\n\n[agent.main] # mine\nworkspace = \"~/work\" # before role\nrole = \"builder\"\n\n\
                    [agent.main.files] # files\nread = [\n  \"~/a\", # one\n  \"~/b\", # two\n]\n\n# end\n";
        world.file(world.policy(), text);
        let allowed = world.mantlet(&["allow", "--agent", "main", "--read", "~/c"]);
        assert_eq!(code(&allowed), 0, "{}", err(&allowed));
        let wanted = text.replace("# two\n", "# two\n  \"~/c\",\n");
        assert_eq!(fs::read_to_string(world.policy()).unwrap(), wanted);
        assert!(out(&allowed).lines().any(|line| line == "+  \"~/c\","), "{}", out(&allowed));
        assert_eq!(out(&allowed).lines().filter(|line| line.starts_with('-')).count(), 1, "only the name of the file");
        // The diff is one that patch(1) would take.
        let again = world.mantlet(&["allow", "--agent", "main", "--read", "~/c", "--json"]);
        assert_eq!((code(&again), &json(&again)["changed"]), (0, &false.into()));
        assert_eq!(fs::read_to_string(world.policy()).unwrap(), wanted);
        assert_eq!(common::files(world.policy().parent().unwrap()).len(), 1);
    }
}

#[test]
fn scout_and_public_have_no_shell_either() {
    for role in ["scout", "public"] {
        let world = World::new("role", Who::Me);
        world.file(world.policy(), builder("").replace("builder", role));
        for words in [&["exec", "--", "true"][..], &["exec", "--agent", "main", "-c", "true"], &["shell"]] {
            let refused = world.mantlet(words);
            assert_eq!(code(&refused), 125, "{words:?}");
            assert!(err(&refused).contains("hint: give the agent `role = \"builder\"`"), "{}", err(&refused));
        }
    }
}

#[test]
fn completions_and_pages_know_every_subcommand() {
    let world = World::new("generated", Who::Me);
    let commands = ["exec", "shell", "doctor", "look", "policy", "allow", "log", "demo", "completions", "man"];
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let text = world.mantlet(&["completions", shell]);
        assert!(commands.iter().all(|name| out(&text).contains(name)), "{shell}");
    }
    let loaded = world.sh("mantlet completions bash > c && bash -n c && bash -c '. ./c && complete -p mantlet'");
    assert!(out(&loaded).contains("-F _mantlet"), "{}{}", out(&loaded), err(&loaded));
    let page = out(&world.mantlet(&["man"]));
    assert!(page.contains(".TH mantlet 1") && commands.iter().all(|name| page.contains(name)), "{page}");
    world.dir("home/work/pages");
    assert_eq!(code(&world.mantlet(&["man", "pages"])), 0);
    for name in commands {
        let text = fs::read_to_string(world.work().join(format!("pages/mantlet-{name}.1"))).unwrap();
        assert!(text.contains(".SH SYNOPSIS"), "{name}");
    }
    assert_eq!(code(&world.mantlet(&["man", "none"])), 125);
    assert_eq!(code(&world.mantlet(&["completions", "none"])), 2);
    for name in commands {
        let help = world.mantlet(&[name, "--help"]);
        assert!(code(&help) == 0 && out(&help).contains("Usage: mantlet"), "{name}");
    }
}

#[test]
fn the_demo_answers_in_json_and_leaves_nothing() {
    for who in everybody() {
        let mut world = World::new("demo", who);
        let tmp = world.dir("tmp");
        world.env("TMPDIR", &tmp);
        let answer = world.mantlet(&["demo", "--json"]);
        assert_eq!(code(&answer), 0, "{who:?}: {}{}", out(&answer), err(&answer));
        let attacks = json(&answer)["attacks"].as_array().unwrap().clone();
        let families: std::collections::BTreeSet<&str> =
            attacks.iter().map(|a| a["family"].as_str().unwrap()).collect();
        assert!(families.len() >= 8, "{families:?}");
        for attack in &attacks {
            let arms = ["without", "with", "work"].map(|arm| attack[arm].as_str().unwrap());
            assert_eq!(arms, ["succeeded", "stopped", "succeeded"], "{attack}");
        }
        assert!(world.kept().is_empty() && fs::read_dir(&tmp).unwrap().count() == 0, "{who:?}");
    }
}

#[test]
fn doctor_answers_in_json_and_in_words_and_keeps_nothing() {
    for who in everybody() {
        let world = World::new("doctor", who);
        let answer = world.mantlet(&["doctor", "--json"]);
        let tier = json(&answer)["tier"].as_str().unwrap().to_owned();
        assert_eq!((code(&answer), tier.as_str()), (0, "full"), "{who:?}: {}", err(&answer));
        assert!(out(&world.mantlet(&["doctor"])).contains("full"));
        assert!(world.kept().is_empty());
        // A refusal is a finding as well, not a failure of doctor.
        world.file(world.policy(), builder("").replace("builder", "scout"));
        let refused = world.mantlet(&["doctor", "--json"]);
        assert!(json(&refused)["tier"].is_string(), "{who:?}: {}{}", out(&refused), err(&refused));
    }
}

/// `mantlet` finds the jailer beside itself; whoever sets PATH must not choose it.
#[test]
fn the_jailer_is_never_taken_from_path() {
    let mut world = World::new("path", Who::Me);
    let fake = world.program("home/fake/mantlet-run", "#!/bin/sh\necho fake\n");
    world.env("PATH", format!("{}:/usr/bin:/bin", fake.parent().unwrap().display()));
    assert_eq!(out(&world.exec(&["--", "echo", "real"])), "real\n");
    let alone = world.dir("home/alone").join("mantlet");
    fs::copy(common::programs().join("mantlet"), &alone).unwrap();
    let refused = world.command("mantlet").env("PATH", fake.parent().unwrap()).output().unwrap();
    assert_eq!(code(&refused), 2, "control");
    let alone_look = Command::new(&alone).arg("look").env("PATH", fake.parent().unwrap()).output().unwrap();
    assert_eq!(code(&alone_look), 125);
    let said = out(&alone_look) + &err(&alone_look);
    assert!(said.contains("hint: install mantlet and mantlet-run in the same directory"), "{said}");
    assert!(Path::new(&alone).is_file());
}

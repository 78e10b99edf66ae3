//! The owner's command and sendmail: what they are given, and which programs are not started.

use std::time::Instant;

use super::*;

#[test]
fn the_command_gets_the_text_and_no_shell_sees_it() {
    let dir = Dir::new();
    let path = dir.program("tell", &format!("cd {0}; cat >in; env >env; printf '%s\\n' \"$@\" >args", dir.0.display()));
    let settings =
        settings(&format!("[alert]\ncommand = [\"{path}\", \"a b\", \"$(touch {}/evil)\"]", dir.0.display()));
    let name = format!("x$(touch {0}/evil);`touch {0}/evil`\n{KNOWN}", dir.0.display());
    send(&settings, &alert(&name)).unwrap();
    assert_eq!(dir.read("args"), format!("a b\n$(touch {}/evil)\n", dir.0.display()));
    let (input, env) = (dir.read("in"), dir.read("env"));
    for line in ["when: 2026-01-02T03:04:05.678Z", "outcome: It was put back.", "next: mantlet log"] {
        assert!(input.lines().any(|said| said == line), "{input}");
    }
    for name in ["SUBJECT", "WHAT", "WHEN", "WHO", "OUTCOME", "NEXT", "HOST"] {
        assert_eq!(env.lines().filter(|l| l.starts_with(&format!("MANTLET_ALERT_{name}="))).count(), 1, "{env}");
    }
    assert!(!env.contains(KNOWN) && !input.contains(KNOWN) && input.contains("[masked:"));
    // Nothing of this process's environment, whatever is in it.
    assert!(!env.contains("CARGO") && env.contains("PATH=/usr/local/bin:/usr/bin:/bin\n"), "{env}");
    assert!(!dir.path("evil").exists());
}

#[test]
fn a_command_that_hangs_is_killed_with_its_children() {
    let dir = Dir::new();
    let path = dir.program("tell", &format!("sleep 60 & echo $! >{}/pid; wait", dir.0.display()));
    let begun = Instant::now();
    let mut settings = settings(&format!("[alert]\ncommand = [\"{path}\"]"));
    settings.pace.timeout = Duration::from_secs(2);
    let error = send(&settings, &alert("x")).unwrap_err();
    assert!(matches!(error, SendError::Timeout(_)) && begun.elapsed().as_secs() < 20, "{error}");
    let pid = dir.read("pid").trim().to_owned();
    let is_gone = || match fs::read_to_string(format!("/proc/{pid}/stat")) {
        Err(_) => true,
        Ok(stat) => stat.contains(") Z "),
    };
    while !is_gone() {
        assert!(begun.elapsed().as_secs() < 20, "{pid} lives on");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_program_that_others_could_have_written_is_not_started() {
    let dir = Dir::new();
    let mark = dir.path("ran");
    let path = dir.program("tell", &format!("touch {}", mark.display()));
    let command = |path: &Path| settings(&format!("[alert]\ncommand = [{path:?}]"));
    for mode in [0o720, 0o702] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let error = send(&command(Path::new(&path)), &alert("x")).unwrap_err();
        assert!(error.to_string().contains("can be written by others"), "{error}");
    }
    fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
    // A link from a place of the owner's into the workspace, where the agent put the program.
    fs::create_dir(dir.path("work")).unwrap();
    fs::copy(&path, dir.path("work/tell")).unwrap();
    std::os::unix::fs::symlink(dir.path("work/tell"), dir.path("link")).unwrap();
    let section = format!(
        "[agent.a]\nrole = \"builder\"\nworkspace = {:?}\n[alert]\ncommand = [{:?}]",
        dir.path("work"),
        dir.path("link")
    );
    let error = send(&settings(&section), &alert("x")).unwrap_err();
    assert!(error.to_string().contains("an agent can write"), "{error}");
    for (path, why) in [(dir.path("absent"), "cannot be found"), (dir.0.clone(), "not a regular file")] {
        let error = send(&command(&path), &alert("x")).unwrap_err();
        assert!(error.to_string().contains(why), "{error}");
    }
    assert!(!mark.exists());
    // Control: it runs where nothing is wrong with it.
    send(&command(Path::new(&path)), &alert("x")).unwrap();
    assert!(mark.exists());
}

#[test]
fn a_failure_is_one() {
    let dir = Dir::new();
    let path = dir.program("tell", "exit 3");
    let error = send(&settings(&format!("[alert]\ncommand = [\"{path}\"]")), &alert("x")).unwrap_err();
    assert!(error.to_string().ends_with("ended with exit code 3"), "{error}");
    let error = send(&settings("[alert]\ncommand = [\"no-such-program-here\"]"), &alert("x")).unwrap_err();
    assert!(error.to_string().contains("is not in /usr/local/bin"), "{error}");
}

#[test]
fn sendmail_gets_the_message_and_its_recipients_as_arguments() {
    let dir = Dir::new();
    let path = dir.program("sendmail", &format!("cd {0}; cat >in; printf '%s\\n' \"$@\" >args", dir.0.display()));
    let section = format!("[alert.email]\nfrom = \"a@b.org\"\nto = [\"c@d.org\", \"e@f.org\"]\nsendmail = \"{path}\"");
    send(&settings(&section), &alert("x\r\nBcc: g@h.org")).unwrap();
    assert_eq!(dir.read("args"), "-i\n-f\na@b.org\n--\nc@d.org\ne@f.org\n");
    assert!(dir.read("in").contains("\nTo: c@d.org,\n e@f.org\n") && !dir.read("in").contains("\nBcc:"));
}

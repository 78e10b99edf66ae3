//! What is no secret's file, and what a secret may not have in it.

use super::*;

#[test]
fn a_secret_stands_in_a_file_of_the_owners_alone() {
    let dir = Dir::new();
    let good = dir.token();
    let ntfy = |path: &str| {
        settings(&format!("[alert.ntfy]\nurl = \"http://127.0.0.1:1\"\ntopic = \"t\"\ntoken_file = \"{path}\""))
    };
    // Control: this one is read, and the server is what is missing.
    let why = send(&ntfy(&good), &alert("x")).unwrap_err();
    assert!(matches!(why, SendError::Network(_)), "{why}");
    let link = dir.path("link");
    std::os::unix::fs::symlink(&good, &link).unwrap();
    let fifo = dir.path("fifo");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0).unwrap();
    let twice = dir.file("one", UNKNOWN, 0o600);
    fs::hard_link(&twice, dir.path("two")).unwrap();
    for (path, why) in [
        (dir.file("group", UNKNOWN, 0o640), "others may read"),
        (dir.file("world", UNKNOWN, 0o604), "others may read"),
        (link, "symbolic link"),
        (fifo, "not a regular file"),
        (dir.0.clone(), "not a regular file"),
        (twice, "second name"),
        (dir.path("absent"), "No such file"),
        (dir.file("empty", "\n", 0o600), "it is empty"),
        (dir.file("lines", "a\nX-Evil: 1", 0o600), "not one line"),
        (dir.file("carriage", "a\rb", 0o600), "not one line"),
        (dir.file("control", "a\u{1b}b", 0o600), "not one line"),
        (dir.file("wide", "gehäim", 0o600), "not one line"),
        (dir.file("long", &"a".repeat(4097), 0o600), "longer than 4096"),
    ] {
        let said = send(&ntfy(path.to_str().unwrap()), &alert("x")).unwrap_err();
        assert!(matches!(said, SendError::Secret(_)) && said.to_string().contains(why), "{path:?}: {said}");
    }
}

#[test]
fn a_secret_that_a_link_brings_into_a_workspace_is_refused() {
    let dir = Dir::new();
    let work = dir.path("work");
    fs::create_dir(&work).unwrap();
    dir.file("work/token", UNKNOWN, 0o600);
    std::os::unix::fs::symlink(&work, dir.path("keys")).unwrap();
    let section = format!(
        "[agent.a]\nrole = \"builder\"\nworkspace = {work:?}\n[alert.ntfy]\nurl = \"http://127.0.0.1:1\"\ntopic = \"t\"\n\
         token_file = {:?}",
        dir.path("keys/token")
    );
    let said = send(&settings(&section), &alert("x")).unwrap_err().to_string();
    assert!(said.contains("an agent can read it"), "{said}");
    // The same through what a rule opens.
    fs::create_dir(dir.path("other")).unwrap();
    let section = section.replace(&format!("{work:?}"), &format!("{:?}", dir.path("other")));
    let section = section.replace("[alert.ntfy]", &format!("[agent.a.files]\nread = [{work:?}]\n[alert.ntfy]"));
    let said = send(&settings(&section), &alert("x")).unwrap_err().to_string();
    assert!(said.contains("an agent can read it"), "{said}");
    // Control: without the rule it is read, and the server is what is missing.
    let section = section.replace("read = [", "protect = [");
    assert!(matches!(send(&settings(&section), &alert("x")), Err(SendError::Network(_))));
}

#[test]
fn the_vault_is_asked_by_name_and_only_when_it_is_lent() {
    let web = servers::Http::new(&["HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"]);
    let section = format!("[alert.ntfy]\nurl = \"{}\"\ntopic = \"t\"\ntoken_secret = \"NTFY\"", web.url());
    let said = send(&settings(&section), &alert("x")).unwrap_err().to_string();
    assert!(said.contains("the vault gives no NTFY: this program was started without it"), "{said}");
    let lent = settings(&section).with_vault(Arc::new(|name| {
        assert_eq!(name, "NTFY");
        crate::alert::Secret::new(UNKNOWN.to_owned().into()).map_err(str::to_owned)
    }));
    send(&lent, &alert("x")).unwrap();
    assert!(web.requests()[0].contains(&format!("Bearer {UNKNOWN}")));
    let closed = settings(&section).with_vault(Arc::new(|_| Err("no identity\u{1b}[2J".into())));
    let said = send(&closed, &alert("x")).unwrap_err().to_string();
    assert!(said.ends_with("no identity\\x1b[2J"), "{said}");
}

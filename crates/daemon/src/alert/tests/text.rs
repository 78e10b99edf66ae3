//! What an alert says, whatever an agent made it of.

use mantlet_ledger::{Change, Culprit, Halt};

use super::*;

fn change(path: &str) -> Change {
    Change {
        path: path.into(),
        what: "replaced".into(),
        outcome: "undone".into(),
        noticed: "fanotify".into(),
        took_ms: 3,
        before: None,
        after: None,
        keys: vec!["tools.exec".into()],
        culprit: Some(Culprit { pid: 77, uid: Some(1000), exe: Some("/usr/bin/node".into()), call: Some("c1".into()) }),
        copy: Some("/state/kept/1".into()),
        reason: None,
        count: 4,
    }
}

#[test]
fn a_change_says_what_when_who_how_it_stands_and_what_to_do() {
    let told = Alert::of_change("main", "2026-01-02T03:04:05.678Z", &change("/home/ann/.openclaw/openclaw.json"));
    assert_eq!(told.title("box"), "[box] put back: /home/ann/.openclaw/openclaw.json was replaced (4 times)");
    assert_eq!(
        told.body(),
        "what: /home/ann/.openclaw/openclaw.json was replaced (tools.exec); noticed by fanotify, settled in 3 ms. \
         What was found is kept in /state/kept/1.\nwhen: 2026-01-02T03:04:05.678Z\nwho: agent main, pid 77, uid 1000, \
         /usr/bin/node, in call c1\noutcome: It was put back as it was.\nnext: mantlet log --kind change -n 20\n"
    );
    let stands = Change {
        outcome: "reported".into(),
        reason: Some("No right to write it.".into()),
        culprit: None,
        ..change("/etc/x")
    };
    let told = Alert::of_change("-", "now", &stands);
    assert!(told.title("box").starts_with("[box] NOT put back: /etc/x was replaced"), "{}", told.title("box"));
    assert!(told.body().contains("outcome: It stands as it was changed. No right to write it.\n"));
    assert!(told.body().contains("who: unknown: the kernel did not say which process\n"));
}

#[test]
fn a_halt_says_what_was_stopped_and_what_was_not() {
    let halt = Halt { action: "halt".into(), by: "watch".into(), reason: Some("7 tries".into()), ended: 3, left: 1 };
    let told = Alert::of_halt("now", &halt);
    assert_eq!(told.title("box"), "[box] everything was stopped, but 1 jails could NOT be ended");
    assert!(told.body().contains("outcome: 3 jails were ended, 1 could not be; none may start.\n"));
    let resumed = Alert::of_halt("now", &Halt { action: "resume".into(), by: "owner".into(), ..halt });
    assert_eq!(resumed.title("box"), "[box] agents may run again");
}

#[test]
fn secrets_are_masked_and_what_is_not_visible_is_spelled_out() {
    let name = format!("/w/{KNOWN}/\u{202e}\u{1b}[2J\r\nwhen: never");
    for told in [alert(&name), Alert::of_change(&name, &name, &change(&name))] {
        let all = format!("{}\n{}", told.title("box"), told.body());
        assert!(!all.contains(KNOWN) && all.contains("[masked:"), "{all}");
        assert!(!all.contains(['\u{202e}', '\u{1b}', '\r']), "{all:?}");
        assert_eq!(all.lines().filter(|line| line.starts_with("when: ")).count(), 1, "{all}");
    }
}

#[test]
fn a_path_of_a_megabyte_is_a_message_of_four_kilobytes() {
    let name = format!("/w/{}/{KNOWN}", "ä".repeat(1 << 20));
    let mut change = change(&name);
    change.keys = vec![name.clone(); 50];
    change.reason = Some(name.clone());
    for told in [alert(&name), Alert::of_change(&name, &name, &change)] {
        let all = format!("{}\n\n{}", told.title(&"h".repeat(64)), told.body());
        assert!(all.len() < 4000 && told.title("box").len() < 260, "{}", all.len());
        assert!(!all.contains(&KNOWN[..12]), "{all}");
    }
}

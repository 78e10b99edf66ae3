//! What Mantlet itself changes for its owner is not undone, whether a watch runs or not.

use std::fs;
use std::time::Duration;

use crate::common::{code, err, everybody};
use crate::ground::{Watching, changes, is_alone, text, watch, world};

fn undone(world: &crate::common::World) -> Vec<mantlet_ledger::Change> {
    changes(world).into_iter().filter(|change| change.outcome == "undone").collect()
}

#[test]
fn what_mantlet_itself_changes_stays() {
    if !is_alone("own::what_mantlet_itself_changes_stays") {
        return;
    }
    for who in everybody() {
        for is_running in [true, false] {
            let world = world("own", who);
            world.dir("home/.claude");
            world.file("home/.claude/settings.json", "{\n  \"theme\": \"dark\"\n}\n");
            let mut watching = Some(Watching::begin(&world));
            if !is_running {
                assert!(watching.take().unwrap().stop().success());
            }
            let settings = world.home().join(".claude/settings.json");
            let before = text(&settings);
            let run = |words: &[&str]| {
                let done = world.mantlet(words);
                let differs = || crate::common::out(&watch(&world, &["diff"]));
                assert_eq!(code(&done), 0, "{who:?} {is_running} {words:?}: {}{}", err(&done), differs());
                std::thread::sleep(Duration::from_millis(400));
                if !is_running {
                    assert!(Watching::begin(&world).stop().success());
                }
            };
            run(&["allow", "--yes", "--read", "/opt"]);
            assert!(text(world.policy()).contains("/opt"), "{who:?} {is_running}");
            run(&["install", "claude", "--no-verify", "--yes", "--workspace", "~/work", "--level", "user"]);
            let installed = text(&settings);
            assert!(installed.contains("mantlet"), "{who:?} {is_running}: {installed}");
            run(&["uninstall", "claude", "--level", "user"]);
            assert_eq!(text(&settings), before, "{who:?} {is_running}");
            assert!(undone(&world).is_empty(), "{who:?} {is_running}: {:?}", undone(&world));
            if !is_running {
                watching = Some(Watching::begin(&world));
            }
            assert_eq!(code(&watch(&world, &["diff"])), 0, "{who:?} {is_running}");
            // The control: the same by somebody else is undone.
            fs::write(&settings, &installed).unwrap();
            crate::ground::until("it is undone", || text(&settings) == before);
            drop(watching);
        }
    }
}

/// The attack: what was tampered with while no watch ran is taken along with the owner's own change.
#[test]
fn what_differed_before_is_not_taken_along() {
    if !is_alone("own::what_differed_before_is_not_taken_along") {
        return;
    }
    for who in everybody() {
        let world = world("along", who);
        assert!(Watching::begin(&world).stop().success());
        let policy = text(world.policy());
        fs::write(world.policy(), format!("{policy}\n# not by its owner\n")).unwrap();
        let refused = world.mantlet(&["allow", "--yes", "--read", "/opt"]);
        assert!(code(&refused) == 125 && err(&refused).contains("mantlet watch diff"), "{who:?}: {}", err(&refused));
        assert!(!text(world.policy()).contains("/opt"), "{who:?}");
        assert!(Watching::begin(&world).stop().success());
        assert_eq!(text(world.policy()), policy, "{who:?}");
    }
}

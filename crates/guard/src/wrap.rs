//! A command line of an agent, put into a call of the jailer: pure text.
//!
//! The attacks: a quote that ends the call early, in whichever shell the client uses, and a command that only looks like
//! a call of ours, so that it is let through as it is.

/// One argument of execve(2) holds 128 KiB (MAX_ARG_STRLEN); the jailer joins repeated `-c`.
const PIECE: usize = 96 * 1024;

/// The jailer, and whose command it runs.
#[derive(Debug, Clone, Copy)]
pub struct Jailer<'j> {
    /// Absolute path of `mantlet-run`.
    pub program: &'j str,
    /// The client's id.
    pub client: &'j str,
    /// The agent, where the client alone does not name it.
    pub agent: Option<&'j str>,
    /// The policy, where it is not the usual one.
    pub policy: Option<&'j str>,
    /// The owner's home, where the client's environment is not to be asked for it.
    pub home: Option<&'j str>,
}

/// A command of an agent, and where it runs.
#[derive(Debug, Clone, Copy)]
pub struct Line<'l> {
    /// The directory it starts in; none where only the client knows: the jailer then starts where the shell does.
    pub cwd: Option<&'l str>,
    /// What the client would add to its environment: `NAME=VALUE`.
    pub env: &'l [String],
    /// The text for the shell.
    pub text: &'l str,
}

impl Jailer<'_> {
    /// Wraps a command.
    #[must_use]
    pub fn wrap(&self, command: Line<'_>) -> String {
        let mut line = self.start();
        if let Some(cwd) = command.cwd {
            line.push_str(" --cwd ");
            quote(cwd, &mut line);
        }
        for pair in command.env {
            line.push_str(" --env ");
            quote(pair, &mut line);
        }
        let mut rest = command.text;
        loop {
            let (piece, after) = rest.split_at(boundary(rest));
            line.push_str(" -c ");
            quote(piece, &mut line);
            rest = after;
            if rest.is_empty() {
                return line;
            }
        }
    }

    /// Whether a command is exactly what [`Jailer::wrap`] makes, for some directory and some command.
    ///
    /// The agent that is named counts: a call with another one would run under another one's policy.
    #[must_use]
    pub fn is_wrapped(&self, command: &str) -> bool {
        let Some(mut rest) = command.strip_prefix(&self.start()) else {
            return false;
        };
        let mut cwd = None;
        if let Some((word, after)) = rest.strip_prefix(" --cwd ").and_then(unquote) {
            cwd = Some(word);
            rest = after;
        }
        let mut env = Vec::new();
        while let Some((pair, after)) = rest.strip_prefix(" --env ").and_then(unquote) {
            env.push(pair);
            rest = after;
        }
        let mut line = String::new();
        while let Some(quoted) = rest.strip_prefix(" -c ") {
            match unquote(quoted) {
                Some((piece, after)) => {
                    line.push_str(&piece);
                    rest = after;
                }
                None => return false,
            }
        }
        // Made again, it must be the same text: no other spelling of quotes or of options is let through.
        rest.is_empty() && self.wrap(Line { cwd: cwd.as_deref(), env: &env, text: &line }) == command
    }

    fn start(&self) -> String {
        let mut line = String::new();
        if let Some(home) = self.home {
            line.push_str("HOME=");
            quote(home, &mut line);
            // They say where the policy and the ledger are. Empty, they are not asked.
            line.push_str(" XDG_CONFIG_HOME='' XDG_STATE_HOME='' ");
        }
        quote(self.program, &mut line);
        line.push_str(" exec --client ");
        line.push_str(self.client);
        for (option, value) in [(" --agent ", self.agent), (" --policy ", self.policy)] {
            if let Some(value) = value {
                line.push_str(option);
                quote(value, &mut line);
            }
        }
        line
    }
}

/// Where the first piece ends: on a character, and not inside the argument limit.
fn boundary(text: &str) -> usize {
    let mut end = text.len().min(PIECE);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    end
}

/// Quotes a word for sh, bash, dash, zsh and fish alike: fish gives a backslash inside single quotes a meaning, so that it
/// stands outside of them, as the quote itself does.
fn quote(text: &str, line: &mut String) {
    if text.is_empty() {
        line.push_str("''");
    }
    let mut is_open = false;
    for part in text.split_inclusive(['\'', '\\']) {
        let (plain, special) = match part.strip_suffix(['\'', '\\']) {
            Some(plain) => (plain, part.get(plain.len()..)),
            None => (part, None),
        };
        if !plain.is_empty() {
            line.push('\'');
            line.push_str(plain);
            is_open = true;
        }
        if is_open {
            line.push('\'');
            is_open = false;
        }
        if let Some(special) = special {
            line.push('\\');
            line.push_str(special);
        }
    }
}

/// Reads one word as [`quote`] writes it: the word, and what stands after it.
fn unquote(text: &str) -> Option<(String, &str)> {
    let mut word = String::new();
    let mut rest = text;
    loop {
        if let Some(inner) = rest.strip_prefix('\'') {
            let (plain, after) = inner.split_once('\'')?;
            word.push_str(plain);
            rest = after;
        } else if let Some(after) = rest.strip_prefix("\\'") {
            word.push('\'');
            rest = after;
        } else if let Some(after) = rest.strip_prefix("\\\\") {
            word.push('\\');
            rest = after;
        } else {
            return (rest.len() < text.len()).then_some((word, rest));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    const JAILER: Jailer<'_> =
        Jailer { program: "/opt/a b/mantlet-run", client: "claude", agent: None, policy: None, home: None };

    fn wrap(jailer: Jailer<'_>, cwd: &str, text: &str) -> String {
        jailer.wrap(Line { cwd: Some(cwd), env: &[], text })
    }

    const NASTY: &[&str] = &[
        "true",
        "echo 'a' \"b\" $HOME `id` $(id) ; & | > < \\ \\\\ \\' '\\''",
        "x\\'; touch /tmp/escaped; '",
        "\\'\\'\\\\''\\",
        "''''",
        "\n\t\r # comment\n!! !x ^a^b {a,b} ~ * ? [x]",
        "ä\u{2028}\u{feff}\u{202e}e\u{301}",
        "-c 'x' --agent root",
        "%s %n $'\\x27' $\"x\"",
        "",
    ];

    #[test]
    fn every_shell_reads_back_the_same_words() {
        for shell in ["/bin/sh", "/bin/bash", "/usr/bin/zsh", "/usr/bin/fish"] {
            if !std::path::Path::new(shell).exists() {
                continue;
            }
            for text in NASTY {
                let mut line = String::from("printf '%s|' ");
                quote(text, &mut line);
                line.push_str(" 'end'");
                let output = Command::new(shell).arg("-c").arg(&line).output().unwrap();
                assert_eq!(String::from_utf8_lossy(&output.stdout), format!("{text}|end|"), "{shell}: {line}");
            }
        }
    }

    #[test]
    fn a_backslash_never_stands_between_quotes() {
        // fish is not on every machine: inside single quotes it reads `\'` and `\\` as one character.
        for text in NASTY {
            let mut line = String::new();
            quote(text, &mut line);
            let mut rest = line.as_str();
            while let Some(after) = rest.find('\'').and_then(|at| rest.get(at + 1..)) {
                if rest.starts_with("\\'") || rest.starts_with("\\\\") {
                    rest = &rest[2..];
                    continue;
                }
                let (inside, outside) = after.split_once('\'').unwrap();
                assert!(!inside.contains('\\') && !inside.is_empty() || text.is_empty(), "{line}");
                rest = outside;
            }
        }
    }

    #[test]
    fn what_is_wrapped_is_known_again() {
        for text in NASTY {
            for jailer in [JAILER, Jailer { agent: Some("a'b"), policy: Some("/p q"), home: Some("/h"), ..JAILER }] {
                let line = jailer.wrap(Line { cwd: Some("/ws/it's here"), env: &["A=b c".into(), "D=".into()], text });
                assert!(jailer.is_wrapped(&line), "{line}");
                assert!(!jailer.is_wrapped(&wrap(jailer, "/", &line).replace("-c", "-d")));
            }
        }
        assert_eq!(wrap(JAILER, "/ws", "id"), "'/opt/a b/mantlet-run' exec --client claude --cwd '/ws' -c 'id'");
    }

    #[test]
    fn what_only_looks_wrapped_is_not() {
        let line = wrap(JAILER, "/ws", "id");
        for other in [
            format!("{line}; id"),
            format!("{line} "),
            format!(" {line}"),
            format!("{line}\nid"),
            format!("{line} -c"),
            format!("{line} -c 'x' & id"),
            line.replace("'id'", "id"),
            line.replace("'id'", "\"id\""),
            line.replace("'id'", "'id'\\''x'; id #'"),
            line.replace("'id'", "'i''d'"),
            line.replace("'/ws'", "'/ws' --workspace '/'"),
            line.replace("'/ws'", "'/ws' --agent 'other'"),
            line.replace("'/ws'", "'/ws' --env 'A=b' --with '/x'"),
            format!("HOME='/tmp' {line}"),
            format!("A=b {line}"),
            line.replace("claude", "openclaw"),
            line.replace("/opt/a b", "/tmp"),
            line.replace("mantlet-run'", "mantlet-run'x"),
            "id".into(),
            String::new(),
        ] {
            assert!(!JAILER.is_wrapped(&other), "{other}");
        }
        assert!(!JAILER.is_wrapped(&wrap(Jailer { agent: Some("other"), ..JAILER }, "/ws", "id")));
        assert!(!Jailer { agent: Some("own"), ..JAILER }.is_wrapped(&line));
    }

    #[test]
    fn a_command_of_any_length_fits_into_arguments() {
        let long = "é'".repeat(200_000);
        let line = wrap(JAILER, "/", &long);
        assert!(JAILER.is_wrapped(&line));
        let pieces = line.split(" -c ").skip(1);
        let words: Vec<String> = pieces.map(|piece| unquote(piece).unwrap().0).collect();
        assert!(words.len() > 3 && words.iter().all(|word| word.len() <= PIECE));
        assert_eq!(words.concat(), long);
    }
}

//! Codex's `apply_patch <<'END'` in a shell command: it is applied by Codex itself, outside of any shell and any jail.
//!
//! Only a command that is nothing but that is one. Whatever stands beside it makes it a command like any other.

/// Returns the patch of a command that is one heredoc to `apply_patch` and nothing else.
///
/// The delimiter must be quoted: in the text after an unquoted one a shell expands variables and commands.
#[must_use]
pub fn heredoc_patch(command: &str) -> Option<&str> {
    let rest = command.trim().strip_prefix("apply_patch")?.trim_start_matches(' ');
    let rest = rest.strip_prefix("<<")?.trim_start_matches(' ');
    let quote = rest.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
    let (word, rest) = rest.get(1..)?.split_once(quote)?;
    let is_word = !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    let patch = rest.strip_prefix('\n')?.strip_suffix(word)?.strip_suffix('\n')?;
    // A shell ends the text at the first line that is the word, and runs what follows.
    (is_word && patch.lines().all(|line| line != word)).then_some(patch)
}

#[cfg(test)]
mod tests {
    use super::heredoc_patch;

    #[test]
    fn a_heredoc_alone_is_a_patch() {
        for command in
            ["apply_patch <<'END'\na\nb\nEND", "apply_patch << \"END\"\na\nb\nEND\n", " apply_patch<<'END'\na\nb\nEND"]
        {
            assert_eq!(heredoc_patch(command), Some("a\nb"), "{command}");
        }
    }

    #[test]
    fn anything_beside_it_makes_it_a_command() {
        for command in [
            "apply_patch <<END\n$(id)\nEND",
            "apply_patch <<'END'; id\na\nEND",
            "apply_patch <<'END' && id\na\nEND",
            "apply_patch <<'END'\na\nEND\nid\nEND",
            "apply_patch <<'END'\na\nEND\nid",
            "apply_patch <<'END' <<'END'\na\nEND",
            "id; apply_patch <<'END'\na\nEND",
            "cd / && apply_patch <<'END'\na\nEND",
            "apply_patchx <<'END'\na\nEND",
            "apply_patch <<'E D'\na\nE D",
            "apply_patch <<''\na\n",
            "apply_patch <<-'END'\na\nEND",
            "apply_patch <<<'END'\na\nEND",
            "apply_patch '*** Begin Patch'",
            "apply_patch",
            "",
        ] {
            assert_eq!(heredoc_patch(command), None, "{command}");
        }
    }
}

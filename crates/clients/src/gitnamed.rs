//! What an existing git configuration names for git to obey: as good as the configuration itself.

/// Returns the paths a configuration tells git to obey: included files, and where hooks are. As they are written.
#[must_use]
pub fn git_named_paths(text: &[u8]) -> Vec<Vec<u8>> {
    let mut section = Vec::new();
    let mut out = Vec::new();
    for line in text.split(|b| *b == b'\n').map(<[u8]>::trim_ascii) {
        if let Some(rest) = line.strip_prefix(b"[") {
            section = rest.to_ascii_lowercase();
        }
        // `[section] key = value` on one line is read too.
        let line = line.rsplit(|b| *b == b']').next().unwrap_or(line).trim_ascii();
        let Some(at) = line.iter().position(|b| *b == b'=') else { continue };
        let (key, value) = (line[..at].trim_ascii().to_ascii_lowercase(), line[at + 1..].trim_ascii());
        let is_named = key == b"path" && section.starts_with(b"include")
            || key == b"hookspath" && section.starts_with(b"core")
            || key == b"attributesfile" && section.starts_with(b"core");
        if is_named {
            out.push(value.strip_prefix(b"\"").and_then(|v| v.strip_suffix(b"\"")).unwrap_or(value).to_vec());
        }
    }
    out
}

/// Joins and normalises a relative path by words; nothing when it is absolute, leaves the workspace or is the workspace.
#[must_use]
pub fn beneath(base: &[u8], value: &[u8]) -> Option<Vec<u8>> {
    if value.starts_with(b"/") || value.starts_with(b"~") {
        return None;
    }
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in base.split(|b| *b == b'/').chain(value.split(|b| *b == b'/')) {
        match part {
            b"" | b"." => {}
            b".." => drop(parts.pop()?),
            name => parts.push(name),
        }
    }
    (!parts.is_empty()).then(|| parts.join(&b'/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn included_files_and_hook_directories_are_named() {
        let text = b"[core]\n\thooksPath = .hooks\n[include] path = \"../a\"\n[remote \"x\"]\n\tpath = no\n";
        assert_eq!(git_named_paths(text), [b".hooks".to_vec(), b"../a".to_vec()]);
    }
}

//! Whether a git configuration that appeared in a call is a harmless one.

/// Answers why a configuration is not harmless.
pub(crate) fn first_finding(text: &[u8]) -> Option<String> {
    let finding = mantlet_clients::git_config_findings(text).into_iter().next()?;
    Some(format!("{}: {}", mantlet_ledger::escape(finding.key.as_bytes()), finding.why))
}

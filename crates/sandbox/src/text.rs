//! Text for people: words that can be pasted into a shell, or read in the ledger.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Quotes a word for the ledger: on one line, and as bash would read it.
pub(crate) fn shell_word(path: &Path) -> String {
    let bytes = path.as_os_str().as_bytes();
    let is_plain = |b: &u8| b.is_ascii_alphanumeric() || b"/._-+@%:,=".contains(b);
    if !bytes.is_empty() && bytes.iter().all(is_plain) {
        return String::from_utf8_lossy(bytes).into_owned();
    }
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.chars().any(char::is_control) => format!("'{}'", text.replace('\'', r"'\''")),
        _ => {
            let escaped: String = bytes.iter().map(|b| format!("\\x{b:02x}")).collect();
            format!("$'{escaped}'")
        }
    }
}

/// The longest name of a session or a run that the ledger keeps.
const LONGEST_LABEL: usize = 256;

/// A name that the client gave, as the ledger keeps it. It may hold what a stranger wrote: a chat's title, a sender.
pub(crate) fn label(name: &std::ffi::OsStr) -> String {
    let text = name.to_string_lossy();
    let masked = mantlet_dlp::mask(&text);
    mantlet_ledger::shorten(&mantlet_ledger::escape(masked.as_bytes()), LONGEST_LABEL).into_owned()
}

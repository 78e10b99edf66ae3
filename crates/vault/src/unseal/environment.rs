//! Whether systemd takes a file as `EnvironmentFile=` in whole.
//!
//! The attack: what systemd cannot use it writes into the journal, value and all, where others may read it.

use crate::secret::Secret;

/// A file that systemd would not take in whole.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EnvironmentError {
    /// A line that systemd would write into its journal.
    #[error(
        "line {0} is no `NAME=value` with a name of letters, digits and `_`: systemd would write it into the journal; hint: correct it with `mantlet vault edit`"
    )]
    Line(usize),
    /// Bytes that systemd would write into its journal.
    #[error("it is not UTF-8: systemd would write it into the journal; hint: correct it with `mantlet vault edit`")]
    NotText,
    /// A byte that ends a text.
    #[error("it holds a NUL: systemd would not read it")]
    Nul,
}

/// Checks that every line is a variable that systemd takes, or a comment.
///
/// Quotes and backslashes can join lines there; names are still found at the start of a line only, so that checking each
/// line holds for the joined ones too.
///
/// # Errors
/// systemd would refuse a part of it.
pub fn fits_environment_file(plain: &Secret) -> Result<(), EnvironmentError> {
    let text = plain.expose_text().ok_or(EnvironmentError::NotText)?;
    if text.contains('\0') {
        return Err(EnvironmentError::Nul);
    }
    // systemd ends a line at either of them.
    for (index, line) in text.split('\n').enumerate() {
        if line.contains('\r') && !line.ends_with('\r') {
            return Err(EnvironmentError::Line(index + 1));
        }
        let line = line.trim_end_matches('\r');
        let is_silent = line.trim().is_empty() || line.starts_with(['#', ';']);
        if !is_silent && !line.split_once('=').is_some_and(|(name, _)| is_variable(name)) {
            return Err(EnvironmentError::Line(index + 1));
        }
    }
    Ok(())
}

/// Whether a program finds a variable of this name by every means.
pub(crate) fn is_variable(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_systemd_would_log_is_refused() {
        let check = |text: &[u8]| fits_environment_file(&Secret::new(text.to_vec()));
        for good in [&b""[..], b"A=1\n", b"# x\n\nA_1=\"x y\"\r\n;c\nB=a\\\n", b"A=\xc3\xa9\n", b"A==\n"] {
            assert_eq!(check(good), Ok(()), "{good:?}");
        }
        for (bad, line) in [
            (&b"export A=1\n"[..], 1),
            (b"A=1\nB-C=2", 2),
            (b"1A=1", 1),
            (b"A =1", 1),
            (b"A=1\rB-B=1\n", 1),
            (b"word", 1),
        ] {
            assert_eq!(check(bad), Err(EnvironmentError::Line(line)), "{bad:?}");
        }
        assert_eq!(check(b"A=\xff"), Err(EnvironmentError::NotText));
        assert_eq!(check(b"A=\0"), Err(EnvironmentError::Nul));
    }
}

//! Words that can be pasted into any shell, also after they were escaped for a terminal.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Quotes a path so that any POSIX shell reads it back as one word, whatever bytes it holds, also after it was escaped
/// for a terminal.
pub fn posix_word(path: &Path) -> String {
    let bytes = path.as_os_str().as_bytes();
    let is_plain = |b: &u8| b.is_ascii_alphanumeric() || b"/._-+@%:,=".contains(b);
    if !bytes.is_empty() && bytes.iter().all(is_plain) {
        return String::from_utf8_lossy(bytes).into_owned();
    }
    if let Some(text) = std::str::from_utf8(bytes).ok().filter(|text| crate::escape(bytes) == *text) {
        return format!("'{}'", text.replace('\'', r"'\''"));
    }
    // `$'...'` is bash's own. A command substitution drops newlines at the end, so that none may stand there.
    let end: &[u8] = if bytes.ends_with(b"\n") { b"/." } else { b"" };
    let mut word = String::from("\"$(printf '");
    for byte in bytes.iter().chain(end) {
        match byte {
            b'%' => word.push_str("%%"),
            b if is_plain(b) || *b == b' ' => word.push(char::from(*b)),
            b => word.push_str(&format!("\\{b:03o}")),
        }
    }
    word + "')\""
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsStr;
    use std::process::Command;

    #[test]
    fn a_shell_reads_a_word_back_byte_for_byte() {
        let every: Vec<u8> = (1..=255).collect();
        let names: [&[u8]; 12] = [
            b"/a/b",
            b"/a b",
            b"/it's",
            b"/\"$x`y\\",
            b"/new\nline",
            b"/end\n",
            b"/-r",
            b"/100%d\\n\t",
            b"/\xff\xfe",
            "/\u{202e}txt.exe".as_bytes(),
            "/\u{fc}ber".as_bytes(),
            &every,
        ];
        for name in names {
            let path = Path::new(OsStr::from_bytes(name));
            let word = crate::escape(posix_word(path).as_bytes());
            for shell in ["sh", "bash"] {
                let script = format!("printf %s {word}");
                let output = Command::new(shell).args(["-c", &script]).env("LC_ALL", "C").output().unwrap();
                let mut wanted = name.to_vec();
                if name.ends_with(b"\n") {
                    wanted.extend_from_slice(b"/.");
                }
                assert_eq!(output.stdout, wanted, "{shell}: {word}");
            }
        }
    }
}

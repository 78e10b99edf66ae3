//! How a file is written: by what is asked for, else by its name, else by what is in it.

use std::ffi::OsStr;
use std::path::Path;

/// How a file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `NAME=value` lines.
    Dotenv,
    /// RFC 8259.
    Json,
    /// YAML 1.2 as go-yaml reads it.
    Yaml,
    /// Anything, byte for byte.
    Binary,
}

/// A format of SOPS that is not carried here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("INI files are not supported; hint: --type binary encrypts the whole file")]
pub struct IniError;

impl Format {
    /// Returns its name, as in `--type`.
    pub fn name(self) -> &'static str {
        match self {
            Format::Dotenv => "dotenv",
            Format::Json => "json",
            Format::Yaml => "yaml",
            Format::Binary => "binary",
        }
    }

    /// Returns the format that a file's name says, also before `.sops`, `.enc` and `.age`; nothing when it says none.
    ///
    /// # Errors
    /// It is a name of an INI file.
    pub fn of_name(path: &Path) -> Result<Option<Format>, IniError> {
        let mut name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
        while let Some(inner) = [".sops", ".enc"].iter().find_map(|mark| name.strip_suffix(mark)) {
            name = inner;
        }
        let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
        Ok(match extension.to_ascii_lowercase().as_str() {
            "env" => Some(Format::Dotenv),
            "json" => Some(Format::Json),
            "yaml" | "yml" => Some(Format::Yaml),
            "ini" => return Err(IniError),
            // `.env.local`, `.env.production`
            _ if name == ".env" || name.starts_with(".env.") => Some(Format::Dotenv),
            _ => None,
        })
    }

    /// Returns the format of an encrypted file by where its metadata stands.
    pub fn of_sealed(text: &[u8]) -> Format {
        let begins = |mark: &[u8]| {
            text.starts_with(mark) || text.windows(mark.len() + 1).any(|at| at[0] == b'\n' && &at[1..] == mark)
        };
        match text.iter().find(|byte| !byte.is_ascii_whitespace()) {
            Some(b'{') => match crate::json::parse(text) {
                Ok(branch) if crate::json::is_binary(&branch) => Format::Binary,
                _ => Format::Json,
            },
            _ if begins(b"sops_mac=") => Format::Dotenv,
            _ => Format::Yaml,
        }
    }

    /// Returns the format of a plain file by what is in it. Only what leaves no doubt: anything else is binary.
    pub fn of_plain(text: &[u8]) -> Format {
        if crate::json::parse(text).is_ok() {
            return Format::Json;
        }
        let is_name =
            |name: &[u8]| !name.is_empty() && name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
        let mut lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty() && line[0] != b'#').peekable();
        let is_dotenv = lines.peek().is_some()
            && lines.all(|line| line.iter().position(|byte| *byte == b'=').is_some_and(|at| is_name(&line[..at])));
        if is_dotenv { Format::Dotenv } else { Format::Binary }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_the_format_also_before_the_mark_of_encryption() {
        for (name, format) in [
            ("a.env", Some(Format::Dotenv)),
            (".env", Some(Format::Dotenv)),
            (".env.local", Some(Format::Dotenv)),
            ("a.json.enc", Some(Format::Json)),
            ("a.sops.yaml", Some(Format::Yaml)),
            ("a.yml.sops", Some(Format::Yaml)),
            ("key.pem", None),
            ("env", None),
        ] {
            assert_eq!(Format::of_name(Path::new(name)), Ok(format), "{name}");
        }
        assert_eq!(Format::of_name(Path::new("a.ini.enc")), Err(IniError));
    }

    #[test]
    fn contents_say_it_where_the_name_does_not() {
        assert_eq!(Format::of_plain(b"A=1\n# x\nB='2'\n"), Format::Dotenv);
        assert_eq!(Format::of_plain(b"{\"a\": 1}"), Format::Json);
        for other in [&b""[..], b"-----BEGIN KEY-----\nAB==\n", b"a: 1\n", b"# only\n", b"\0"] {
            assert_eq!(Format::of_plain(other), Format::Binary);
        }
    }
}

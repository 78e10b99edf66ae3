//! Values of a document as environment variables of one program.
//!
//! The attack: anybody who knows the recipient can make a whole new file. A name such as LD_PRELOAD in it would be code
//! that the program runs.

use std::collections::HashSet;

use crate::cipher::plain_text;
use crate::document::Opened;
use crate::format::Format;
use crate::secret::Secret;
use crate::tree::{Item, Value};

/// Names that decide what code a program runs, or where it looks for programs, settings and other machines.
const REFUSED: &[&str] = &[
    "ALL_PROXY",
    "BASHOPTS",
    "BASH_ENV",
    "BROWSER",
    "CDPATH",
    "CLASSPATH",
    "CURL_CA_BUNDLE",
    "CURL_HOME",
    "EDITOR",
    "ENV",
    "GCONV_PATH",
    "GETCONF_DIR",
    "GLIBC_TUNABLES",
    "HOME",
    "HOSTALIASES",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "IFS",
    "JAVA_TOOL_OPTIONS",
    "JDK_JAVA_OPTIONS",
    "LOCALDOMAIN",
    "LOCPATH",
    "LOGNAME",
    "NLSPATH",
    "NODE_EXTRA_CA_CERTS",
    "NODE_OPTIONS",
    "NODE_PATH",
    "OPENSSL_CONF",
    "OPENSSL_ENGINES",
    "OPENSSL_MODULES",
    "PAGER",
    "PATH",
    "PROMPT_COMMAND",
    "PS4",
    "REQUESTS_CA_BUNDLE",
    "RES_OPTIONS",
    "SHELL",
    "SHELLOPTS",
    "SSH_ASKPASS",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
    "TMPDIR",
    "USER",
    "VISUAL",
    "ZDOTDIR",
    "_JAVA_OPTIONS",
    "all_proxy",
    "http_proxy",
    "https_proxy",
];

/// The same, by how they begin.
const REFUSED_BEGINNINGS: &[&str] =
    &["BASH_FUNC_", "DYLD_", "GIT_", "LD_", "MALLOC_", "PERL", "PYTHON", "RUBY", "XDG_"];

/// Why a document cannot be an environment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VariablesError {
    /// It has no names.
    #[error("a binary file has no names for variables; hint: --type dotenv, or `mantlet vault decrypt`")]
    Binary,
    /// A name that is none.
    #[error("`{0}` is no name of a variable: letters, digits and `_`; hint: correct it with `mantlet vault edit`")]
    Name(String),
    /// A name that changes what runs.
    #[error("`{0}` would decide what the command runs; hint: --allow-name {0}, if the file is meant to")]
    Refused(String),
    /// A name that stands twice: which value is meant?
    #[error("`{0}` stands in it twice; hint: correct it with `mantlet vault edit`")]
    Twice(String),
    /// A value that no variable can have.
    #[error("the value of `{0}` holds a NUL, which no variable can")]
    Nul(String),
}

/// The variables of a document.
pub struct Variables {
    /// Names and values.
    pub set: Vec<(String, Secret)>,
    /// Names at the top that hold no single value, escaped.
    pub left_out: Vec<String>,
}

/// Returns the single values at the top of a document.
///
/// # Errors
/// A name or a value that would not be only a value; `allowed` names are the owner's word.
pub fn variables(opened: &Opened, allowed: &[String]) -> Result<Variables, VariablesError> {
    if opened.format() == Format::Binary {
        return Err(VariablesError::Binary);
    }
    let mut out = Variables { set: Vec::new(), left_out: Vec::new() };
    let mut known = HashSet::new();
    for item in opened.branches().iter().flatten() {
        let Item::Entry(name, value) = item else { continue };
        let shown = || mantlet_ledger::escape(name.as_bytes());
        let Some(text) = text(value) else {
            out.left_out.push(shown());
            continue;
        };
        if !crate::unseal::is_variable(name) {
            return Err(VariablesError::Name(shown()));
        }
        let is_refused = REFUSED.contains(&name.as_str()) || REFUSED_BEGINNINGS.iter().any(|b| name.starts_with(b));
        if is_refused && !allowed.contains(name) {
            return Err(VariablesError::Refused(shown()));
        }
        if !known.insert(name.as_str()) {
            return Err(VariablesError::Twice(shown()));
        }
        if text.expose().contains(&0) {
            return Err(VariablesError::Nul(shown()));
        }
        out.set.push((name.clone(), text));
    }
    Ok(out)
}

/// A truth value is written as in the file, not as SOPS hashes it.
fn text(value: &Value) -> Option<Secret> {
    match value {
        Value::Bool(is_true) => Some(Secret::from(if *is_true { "true" } else { "false" })),
        Value::Null | Value::List(_) | Value::Map(_) => None,
        _ => plain_text(value).map(|(_, text)| text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Identity, MacOver, Plan, Rule, Sealed};

    fn of(text: &str, format: Format, allowed: &[&str]) -> Result<Variables, VariablesError> {
        let own = Identity::generate();
        let plan = Plan { rule: Rule::default(), over: MacOver::Everything, recipients: vec![own.recipient()] };
        let sealed = crate::encrypt_file(text.as_bytes(), format, &plan).unwrap();
        let opened = Sealed::parse(&sealed, format).unwrap().open(&[own]).unwrap();
        variables(&opened, &allowed.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn single_values_at_the_top_become_variables() {
        let found = of(r#"{"A": "x y", "B": 1, "C": true, "D": null, "E": {"F": "g"}, "H": 1.5}"#, Format::Json, &[]);
        let found = found.ok().unwrap();
        let set: Vec<_> =
            found.set.iter().map(|(name, text)| format!("{name}={}", text.expose_text().unwrap())).collect();
        assert_eq!(set, ["A=x y", "B=1", "C=true", "H=1.5"]);
        assert_eq!(found.left_out, ["D", "E"]);
    }

    #[test]
    fn what_would_be_more_than_a_value_is_refused() {
        let refused = |text: &str| of(text, Format::Dotenv, &[]).err().unwrap();
        for name in
            ["LD_PRELOAD", "PATH", "BASH_ENV", "NODE_OPTIONS", "GIT_SSH_COMMAND", "PYTHONSTARTUP", "HTTPS_PROXY"]
        {
            assert_eq!(refused(&format!("{name}=x\n")), VariablesError::Refused(name.into()));
            assert!(of(&format!("{name}=x\n"), Format::Dotenv, &[name]).is_ok());
        }
        for name in ["export A", "A-B", "1A", "", "A\u{1b}"] {
            assert!(matches!(refused(&format!("{name}=x\n")), VariablesError::Name(_)), "{name}");
        }
        assert_eq!(refused("A=1\nA=2\n"), VariablesError::Twice("A".into()));
        assert_eq!(refused("A=a\0b\n"), VariablesError::Nul("A".into()));
        assert_eq!(of("A=1\n", Format::Binary, &[]).err(), Some(VariablesError::Binary));
    }
}

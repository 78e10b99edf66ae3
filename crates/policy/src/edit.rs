//! One grant added to a policy file, with its comments and order kept.
//!
//! The result is validated as any policy: an edit can only lead from a valid policy to a valid one.

use std::path::{Path, PathBuf};

use toml_edit::{Array, DocumentMut, Item, Table, TableLike, Value};

use crate::error::{PolicyErrors, escape};
use crate::types::{Agent, Host, Origin, PathRule};
use crate::validate::parse;
use crate::{diff, names, place, rules};

/// What an owner allows in one call of `mantlet allow`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Grant {
    /// A path to read: absolute, `~/...`, or relative to the workspace.
    Read(String),
    /// A path to write; inside the workspace, an exemption from a built-in protection.
    Write(String),
    /// An environment variable to pass.
    Env(String),
    /// A host to reach, `host:port`.
    Host(String),
    /// A tool to use.
    Tool(String),
}

/// A changed policy file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    /// The whole new text.
    pub text: String,
    /// The unified diff to it; empty when the grant was there already.
    pub diff: String,
}

/// Why a grant was not written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AllowError {
    /// The file was not valid before.
    #[error("the policy is not valid, so that nothing can be added to it\n{0}")]
    Before(PolicyErrors),
    /// The file would not be valid afterwards.
    #[error("this cannot be allowed\n{0}")]
    After(PolicyErrors),
    /// No such agent.
    #[error("the policy has no agent `{agent}`")]
    NoAgent {
        /// The name that was asked for.
        agent: String,
        /// The names that there are.
        known: String,
    },
    /// A rule of the file takes away what would be given, and it wins.
    #[error("`{path}` stays closed: `{key}` wins, and line {line} says `{pattern}`")]
    RuleWins {
        /// What was to be opened.
        path: String,
        /// `deny` or `protect`.
        key: &'static str,
        /// The rule.
        pattern: String,
        /// Its line.
        line: usize,
    },
    /// No rule may open this.
    #[error("`{key}` cannot open `{path}`: it {why}")]
    Closed {
        /// `read` or `write`.
        key: &'static str,
        /// What was to be opened.
        path: String,
        /// Why it is refused.
        why: String,
        /// What to do.
        hint: String,
    },
    /// The grant itself is malformed.
    #[error("bad {what} `{value}`: {why}")]
    Grant {
        /// What it should be.
        what: &'static str,
        /// The value, escaped.
        value: String,
        /// What is wrong.
        why: String,
    },
    /// The section is written in a way that cannot be edited in place.
    #[error("`{0}` is not written as a section or list, so that nothing can be added to it")]
    Shape(String),
}

impl AllowError {
    /// Returns what to do about it; a policy's own errors carry their hints with them.
    pub fn hint(&self) -> Option<String> {
        match self {
            AllowError::Before(_) | AllowError::After(_) => None,
            AllowError::NoAgent { known, .. } if known.is_empty() => Some("add a section such as [agent.main]".into()),
            AllowError::NoAgent { known, .. } => Some(format!("name one of: {known}")),
            AllowError::RuleWins { line, pattern, .. } => {
                Some(format!("delete `{pattern}` in line {line} by hand, if it is meant to be open"))
            }
            AllowError::Closed { hint, .. } => Some(hint.clone()),
            AllowError::Grant { .. } => Some("correct it and call again".into()),
            AllowError::Shape(key) => Some(format!("write `{key}` in its usual form")),
        }
    }
}

/// Adds a grant to the policy text.
///
/// # Errors
/// The policy is invalid before or after, the agent is missing, or a `deny` or `protect` rule wins over the grant.
pub fn allow(text: &str, origin: &Path, agent: &str, grant: &Grant, host: &dyn Host) -> Result<Edit, AllowError> {
    let policy = parse(text, origin, host).map_err(AllowError::Before)?;
    let Some(section) = policy.agent(agent) else {
        let known: Vec<&str> = policy.agents().iter().map(Agent::name).collect();
        return Err(AllowError::NoAgent { agent: escape(agent), known: known.join(", ") });
    };
    let Some((table, key, value)) = wanted(section, grant, host)? else {
        return Ok(Edit { text: text.to_owned(), diff: String::new() });
    };
    // The editor knows neither: a byte order mark, and the line ends of Windows.
    let (mark, body) = text.strip_prefix('\u{feff}').map_or(("", text), |body| ("\u{feff}", body));
    let mut document: DocumentMut = body.parse().map_err(|_| AllowError::Shape("the file".into()))?;
    let agents = child(document.as_table_mut(), "agent")?;
    let list = list(child(child(agents, agent)?, table)?, key)?;
    push(list, &value);
    let mut edited = format!("{mark}{document}");
    if text.contains("\r\n") {
        edited = edited.replace("\r\n", "\n").replace('\n', "\r\n");
    }
    let after = parse(&edited, origin, host).map_err(AllowError::After)?;
    // The list must now hold the value: an editor that wrote elsewhere would be a silent refusal.
    match after.agent(agent).map(|agent| wanted(agent, grant, host)) {
        Some(Ok(None)) => Ok(Edit { diff: diff::unified(text, &edited, origin), text: edited }),
        _ => Err(AllowError::Shape(format!("agent.{}.{table}.{key}", escape(agent)))),
    }
}

/// Says whether a grant would be taken and change anything, without making the edit.
///
/// # Errors
/// Why [`allow`] would refuse it.
pub fn would_help(agent: &Agent, grant: &Grant, host: &dyn Host) -> Result<bool, AllowError> {
    let Some((_, key, value)) = wanted(agent, grant, host)? else { return Ok(false) };
    let (Grant::Read(text) | Grant::Write(text)) = grant else { return Ok(true) };
    let path = path_of(agent, text, host)?;
    match rules::closed(agent.workspace(), agent.role(), &path, &value, key, host) {
        Some((why, hint)) => Err(AllowError::Closed { key, path: place::show(&path), why, hint }),
        None => Ok(true),
    }
}

/// Returns the first file of an owner who has none: the agent as it is by default, written down.
///
/// # Errors
/// A workspace that TOML cannot name.
pub fn starter(agent: &str, workspace: &Path) -> Result<String, AllowError> {
    let grant = |what, value: &str, why: &str| AllowError::Grant { what, value: escape(value), why: why.into() };
    names::name(agent).map_err(|why| grant("agent", agent, &why))?;
    let path = workspace.to_str().ok_or_else(|| grant("workspace", &workspace.to_string_lossy(), "not UTF-8"))?;
    let quote = |text: &str| Value::from(text).to_string();
    let name = if agent.contains('.') { quote(agent) } else { agent.to_owned() };
    Ok(format!("version = 1\n\n[agent.{name}]\nrole = \"builder\"\nworkspace = {}\n", quote(path)))
}

/// What must be added and where; nothing when the agent has it already.
fn wanted(
    agent: &Agent,
    grant: &Grant,
    host: &dyn Host,
) -> Result<Option<(&'static str, &'static str, String)>, AllowError> {
    let checked = |what, text: &str, result: Result<String, String>| {
        result.map_err(|why| AllowError::Grant { what, value: escape(text), why })
    };
    let (table, key, value, is_there) = match grant {
        Grant::Read(text) => {
            let path = path_of(agent, text, host)?;
            wins(agent, &path, "deny", agent.files().deny())?;
            let files = agent.files();
            let rules = files.read().iter().chain(files.write());
            let is_there = path.starts_with(agent.workspace()) || covers(rules, &path);
            ("files", "read", written(text, &path, agent, host), is_there)
        }
        Grant::Write(text) => {
            let path = path_of(agent, text, host)?;
            wins(agent, &path, "deny", agent.files().deny())?;
            wins(agent, &path, "protect", agent.files().protect())?;
            let is_named = agent.files().write().iter().any(|rule| rule.path() == Some(&path));
            let is_outside = !path.starts_with(agent.workspace());
            let is_there = is_named || (is_outside && covers(agent.files().write().iter(), &path));
            ("files", "write", written(text, &path, agent, host), is_there)
        }
        Grant::Env(name) => {
            let name = checked("environment name", name, names::variable(name).map(|()| name.clone()))?;
            let is_there = agent.env().pass().contains(&name) || agent.env().set().contains_key(&name);
            ("env", "pass", name, is_there)
        }
        Grant::Host(text) => {
            let endpoint = checked("host", text, names::endpoint(text))?;
            let is_there = agent.egress().allow().contains(&endpoint);
            ("egress", "allow", endpoint, is_there)
        }
        Grant::Tool(text) => {
            let tool = checked("tool", text, names::tool_owned(text))?;
            let is_there = agent.tools().contains(&tool);
            ("tools", "allow", tool, is_there)
        }
    };
    Ok((!is_there).then_some((table, key, value)))
}

fn path_of(agent: &Agent, text: &str, host: &dyn Host) -> Result<PathBuf, AllowError> {
    place::literal(text, Some(agent.workspace()), host.home()).map_err(|why| AllowError::Grant {
        what: "path",
        value: escape(text),
        why,
    })
}

fn covers<'r>(mut rules: impl Iterator<Item = &'r PathRule>, path: &Path) -> bool {
    rules.any(|rule| rule.path().is_some_and(|opened| path.starts_with(opened)))
}

/// A path inside the workspace is written relative to it: the file stays true when the workspace moves.
fn written(text: &str, path: &Path, agent: &Agent, host: &dyn Host) -> String {
    let short = |base: &Path, prefix: &str| {
        let rest = path.strip_prefix(base).ok()?.to_str()?;
        // In front of a relative path these mean something else.
        let prefix = if prefix.is_empty() && rest.starts_with(['~', '$']) { "./" } else { prefix };
        (!rest.is_empty()).then(|| format!("{prefix}{rest}"))
    };
    short(agent.workspace(), "").or_else(|| short(host.home(), "~/")).unwrap_or_else(|| text.to_owned())
}

/// Refuses a path that a rule of the file takes away: deny wins, and only a person deletes it.
fn wins(agent: &Agent, path: &Path, key: &'static str, rules: &[PathRule]) -> Result<(), AllowError> {
    let Some(rule) = rules.iter().find(|rule| takes(rule, path, agent.workspace())) else {
        return Ok(());
    };
    let line = match rule.origin() {
        Origin::Line(line) => *line,
        Origin::Role(_) | Origin::Builtin => 0,
    };
    Err(AllowError::RuleWins { path: place::show(path), key, pattern: escape(rule.pattern()), line })
}

/// Whether a `deny` or `protect` rule covers a path or anything it lies in.
fn takes(rule: &PathRule, path: &Path, workspace: &Path) -> bool {
    if let Some(taken) = rule.path() {
        return path.starts_with(taken);
    }
    let is_absolute = rule.pattern().starts_with('/');
    let Ok(glob) = globset::GlobBuilder::new(rule.pattern()).literal_separator(true).build() else {
        return true;
    };
    let glob = glob.compile_matcher();
    path.ancestors().any(|ancestor| match is_absolute {
        true => glob.is_match(ancestor),
        false => ancestor.strip_prefix(workspace).is_ok_and(|rest| !rest.as_os_str().is_empty() && glob.is_match(rest)),
    })
}

/// Opens a table below another, in whichever form it is written; makes it when it is missing.
fn child<'t>(table: &'t mut dyn TableLike, key: &str) -> Result<&'t mut dyn TableLike, AllowError> {
    let item = table.entry(key).or_insert_with(|| {
        let mut made = Table::new();
        made.decor_mut().set_prefix("\n");
        Item::Table(made)
    });
    item.as_table_like_mut().ok_or_else(|| AllowError::Shape(escape(key)))
}

fn list<'t>(table: &'t mut dyn TableLike, key: &str) -> Result<&'t mut Array, AllowError> {
    let item = table.entry(key).or_insert_with(|| Item::Value(Value::Array(Array::new())));
    item.as_array_mut().ok_or_else(|| AllowError::Shape(escape(key)))
}

/// Adds a value in the style of the list: a list over several lines stays one, and each comment stays with its value.
fn push(list: &mut Array, text: &str) {
    let has_comma = list.trailing_comma();
    let trailing = list.trailing().as_str().unwrap_or_default().to_owned();
    let Some(last) = list.iter_mut().last() else {
        list.push(text);
        return;
    };
    let decor = last.decor_mut();
    let of = |raw: Option<&toml_edit::RawString>| raw.and_then(|raw| raw.as_str()).unwrap_or_default().to_owned();
    let (prefix, suffix) = (of(decor.prefix()), of(decor.suffix()));
    let carried = if has_comma { trailing } else { format!("{suffix}{trailing}") };
    let Some(end) = carried.rfind('\n') else {
        list.push(text);
        return;
    };
    if !has_comma {
        decor.set_suffix("");
    }
    let indent = prefix.rfind('\n').map_or("  ", |newline| &prefix[newline + 1..]);
    let (comments, closing) = carried.split_at(end);
    let value = Value::from(text).decorated(format!("{comments}\n{indent}"), "");
    list.push_formatted(value);
    list.set_trailing_comma(has_comma);
    list.set_trailing(closing);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{Fake, SKETCH, read};

    fn call(text: &str, grant: Grant) -> Result<Edit, AllowError> {
        allow(text, Path::new("mantlet.toml"), "main", &grant, &Fake::new())
    }

    const SMALL: &str = "version = 1 # first\n\n[agent.main] # mine\nrole = \"builder\"\nworkspace = \"~/work\"\n\n# end\n[alert]\ncommand = [\"x\"]\n";

    #[test]
    fn a_grant_keeps_comments_and_order_and_is_idempotent() {
        let grants = [
            (Grant::Read("~/reference".into()), "[agent.main.files]\nread = [\"~/reference\"]\n"),
            (Grant::Read("/home/ann/reference".into()), "[agent.main.files]\nread = [\"~/reference\"]\n"),
            (Grant::Write(".envrc".into()), "[agent.main.files]\nwrite = [\".envrc\"]\n"),
            (Grant::Write("/home/ann/work/.git/config".into()), "[agent.main.files]\nwrite = [\".git/config\"]\n"),
            (Grant::Env("LANGUAGE".into()), "[agent.main.env]\npass = [\"LANGUAGE\"]\n"),
            (Grant::Host("GitHub.com".into()), "[agent.main.egress]\nallow = [\"github.com:443\"]\n"),
            (Grant::Tool("Bash".into()), "[agent.main.tools]\nallow = [\"Bash\"]\n"),
        ];
        for (grant, added) in grants {
            let edit = call(SMALL, grant.clone()).unwrap();
            assert_eq!(edit.text, SMALL.replace("\n\n# end", &format!("\n\n{added}\n# end")), "{grant:?}");
            let again = call(&edit.text, grant).unwrap();
            assert_eq!((again.text, again.diff.as_str()), (edit.text, ""));
        }
    }

    #[test]
    fn each_comment_of_a_list_stays_with_its_value() {
        for (before, after) in [
            ("[\"A\"] # c", "[\"A\", \"NEW\"] # c"),
            ("[ \"A\" ]", "[ \"A\" , \"NEW\"]"),
            ("[\n  \"A\", # a\n  \"B\", # b\n]", "[\n  \"A\", # a\n  \"B\", # b\n  \"NEW\",\n]"),
            ("[\n  \"A\", # a\n  \"B\" # b\n]", "[\n  \"A\", # a\n  \"B\", # b\n  \"NEW\"\n]"),
            ("[\n\t\"A\",\n\t]", "[\n\t\"A\",\n\t\"NEW\",\n\t]"),
            ("[]", "[\"NEW\"]"),
        ] {
            let text = format!("{SMALL}[agent.main.env]\npass = {before}\n");
            let edit = call(&text, Grant::Env("NEW".into())).unwrap();
            assert_eq!(edit.text, format!("{SMALL}[agent.main.env]\npass = {after}\n"));
        }
    }

    #[test]
    fn sections_written_inline_or_dotted_are_edited_in_place() {
        for agent in [
            "[agent]\nmain = { role = \"builder\", workspace = \"~/work\" }\n",
            "[agent]\nmain.role = \"builder\"\nmain.workspace = \"~/work\"\n",
            "agent.main.role = \"builder\"\nagent.main.workspace = \"~/work\"\n",
        ] {
            let edit = call(&format!("version = 1\n{agent}"), Grant::Env("NEW".into())).unwrap();
            assert_eq!(read(&edit.text).unwrap().agents()[0].env().pass(), ["NEW"], "{}", edit.text);
        }
    }

    #[test]
    fn deny_and_protect_win_and_the_line_is_named() {
        for (grant, line) in [
            (Grant::Read("sub/.env".into()), 10),
            (Grant::Write("a/b/.env".into()), 10),
            (Grant::Write("AGENTS.md".into()), 11),
        ] {
            let error = call(SKETCH, grant).unwrap_err();
            assert!(matches!(error, AllowError::RuleWins { line: found, .. } if found == line), "{error}");
            assert!(error.hint().is_some_and(|hint| hint.contains(&format!("line {line}"))));
        }
    }

    #[test]
    fn what_would_make_the_policy_invalid_is_refused() {
        for grant in [
            Grant::Read("~".into()),
            Grant::Read("/".into()),
            Grant::Read("~/.openclaw/.env".into()),
            Grant::Write("/etc/passwd".into()),
            Grant::Write("a*".into()),
            Grant::Read("../x".into()),
            Grant::Env("A=B".into()),
            Grant::Host("http://x".into()),
            Grant::Tool("a b".into()),
        ] {
            assert!(call(SMALL, grant.clone()).is_err(), "{grant:?}");
        }
        assert!(matches!(call("version = 3", Grant::Env("A".into())), Err(AllowError::Before(_))));
        let other = allow(SMALL, Path::new("p"), "nobody", &Grant::Env("A".into()), &Fake::new());
        assert!(matches!(other, Err(AllowError::NoAgent { .. })));
    }

    #[test]
    fn the_starter_is_the_default_policy() {
        let text = starter("main", Path::new("/home/ann/work")).unwrap();
        let default = crate::default_policy("main", Path::new("/home/ann/work"), &Fake::new()).unwrap();
        assert_eq!(read(&text).unwrap().hash(), default.hash());
        assert!(read(&starter("a.b", Path::new("/home/ann/work")).unwrap()).unwrap().agent("a.b").is_some());
    }
}

//! `.sops.yaml`: for which files which recipients and which rule. The nearest one above a file counts.
//!
//! It decides who can read what is encrypted, and may lie where an agent writes: callers show whom it names.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use regex::Regex;

use crate::keys::{KeyError, Recipient};
use crate::scope::{RULES, Rule};
use crate::store::{StoreError, is_there, read_file};
use crate::tree::{Branch, Element, Item, Step, Value, find};
use crate::walk::MacOver;
use crate::yaml::{self, YamlError};

/// SOPS's name for it.
pub const FILE_NAME: &str = ".sops.yaml";

/// Keys of a rule that need a service or an agent which is not supported.
const FOREIGN: &[&str] =
    &["kms", "gcp_kms", "hckms", "azure_keyvault", "azure_kv", "hc_vault", "hc_vault_transit_uri", "pgp"];

/// Why the rules of a `.sops.yaml` cannot be followed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RulesError {
    /// It cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It is not YAML.
    #[error("{FILE_NAME}")]
    Yaml(#[from] YamlError),
    /// Others can write it, and with it who reads what is encrypted.
    #[error("{} can be written by other users; hint: chmod 644 it", mantlet_ledger::escape(.0.as_os_str().as_encoded_bytes()))]
    Open(PathBuf),
    /// A part is not what it should be.
    #[error("{FILE_NAME}: `{0}` is not what SOPS reads there")]
    Shape(&'static str),
    /// Keys that are not age's.
    #[error(
        "{FILE_NAME}: the rule for this file names `{0}`, which is not supported; hint: give it an `age` recipient only, or --age RECIPIENT"
    )]
    Foreign(&'static str),
    /// More than one group.
    #[error(
        "{FILE_NAME}: the rule for this file names several groups of keys (Shamir), which is not supported; hint: --age RECIPIENT"
    )]
    Shamir,
    /// More than one rule of what is encrypted.
    #[error("{FILE_NAME}: the rule for this file names more than one suffix or regex")]
    Rules,
    /// It has rules, and none for this file.
    #[error("{FILE_NAME}: no creation rule matches this file; hint: --age RECIPIENT")]
    NoMatch,
    /// A recipient that is none.
    #[error("{FILE_NAME}")]
    Key(#[from] KeyError),
}

/// What a `.sops.yaml` says of one file.
pub struct Created {
    /// Where that stands.
    pub from: PathBuf,
    /// Who is to open the file.
    pub recipients: Vec<Recipient>,
    /// What is encrypted.
    pub rule: Rule,
    /// What the MAC covers.
    pub over: MacOver,
}

/// Returns what the nearest `.sops.yaml` says of a file; nothing when there is none, or it has no creation rules.
///
/// # Errors
/// There is one that cannot be followed.
pub fn created(file: &Path) -> Result<Option<Created>, RulesError> {
    let io = |source| StoreError::Io { step: "resolve", path: file.into(), source };
    let file = std::path::absolute(file).map_err(io)?;
    let mut found = None;
    for above in file.ancestors().skip(1) {
        let path = above.join(FILE_NAME);
        if is_there(&path)? {
            found = Some(path);
            break;
        }
    }
    let Some(from) = found else { return Ok(None) };
    let text = read_file(&from)?;
    let meta =
        from.symlink_metadata().map_err(|source| StoreError::Io { step: "examine", path: from.clone(), source })?;
    let me = rustix::process::geteuid().as_raw();
    if meta.mode() & 0o002 != 0 || ![0, me].contains(&meta.uid()) {
        return Err(RulesError::Open(from));
    }
    let branches = yaml::parse(text.expose())?;
    let Some(rules) = branches.iter().find_map(|branch| find(branch, &[Step::Name("creation_rules".into())])) else {
        return Ok(None);
    };
    let Value::List(rules) = rules else { return Err(RulesError::Shape("creation_rules")) };
    let top = from.parent().unwrap_or(Path::new("/"));
    // As SOPS: relative to where the rules stand.
    let name = file.strip_prefix(top).unwrap_or(&file).to_string_lossy().into_owned();
    for element in rules {
        let Element::Value(value) = element else { continue };
        let Value::Map(rule) = value else { return Err(RulesError::Shape("creation_rules")) };
        let is_for_it = match text_at(rule, "path_regex")? {
            Some(regex) => Regex::new(&regex).map_err(|_| RulesError::Shape("path_regex"))?.is_match(&name),
            None => true,
        };
        if is_for_it {
            return read_rule(rule, from).map(Some);
        }
    }
    Err(RulesError::NoMatch)
}

fn read_rule(rule: &Branch, from: PathBuf) -> Result<Created, RulesError> {
    let group = match at(rule, "key_groups") {
        None => None,
        Some(Value::List(groups)) => match groups.as_slice() {
            [Element::Value(Value::Map(group))] => Some(group),
            [] => None,
            _ => return Err(RulesError::Shamir),
        },
        Some(_) => return Err(RulesError::Shape("key_groups")),
    };
    let keys = group.unwrap_or(rule);
    for key in FOREIGN {
        if at(keys, key).is_some() {
            return Err(RulesError::Foreign(key));
        }
    }
    let mut recipients = Vec::new();
    for word in words(at(keys, "age"))? {
        recipients.push(Recipient::parse(&word)?);
    }
    let mut said = Vec::new();
    for (key, make) in RULES {
        said.extend(text_at(rule, key)?.map(make));
    }
    let is_only = matches!(at(rule, "mac_only_encrypted"), Some(Value::Bool(true)));
    let over = if is_only { MacOver::Encrypted } else { MacOver::Everything };
    match (said.pop(), said.is_empty()) {
        (rule, true) => Ok(Created { from, recipients, rule: rule.unwrap_or_default(), over }),
        (_, false) => Err(RulesError::Rules),
    }
}

fn at<'b>(branch: &'b Branch, name: &str) -> Option<&'b Value> {
    let value = branch.iter().find_map(|item| match item {
        Item::Entry(key, value) if key == name => Some(value),
        Item::Entry(..) | Item::Comment(_) => None,
    })?;
    (!matches!(value, Value::Null)).then_some(value)
}

fn text_at(branch: &Branch, name: &'static str) -> Result<Option<String>, RulesError> {
    match at(branch, name) {
        None => Ok(None),
        Some(Value::Text(text)) => {
            let text = text.expose_text().ok_or(RulesError::Shape(name))?;
            Ok(Some(text.to_owned()).filter(|text| !text.is_empty()))
        }
        Some(_) => Err(RulesError::Shape(name)),
    }
}

/// A text with commas, or a list.
fn words(value: Option<&Value>) -> Result<Vec<String>, RulesError> {
    let shape = || RulesError::Shape("age");
    let split =
        |text: &str| text.split(',').map(|word| word.trim().to_owned()).filter(|word| !word.is_empty()).collect();
    match value {
        None => Ok(Vec::new()),
        Some(Value::Text(text)) => text.expose_text().map(split).ok_or_else(shape),
        Some(Value::List(list)) => {
            let texts = list.iter().filter_map(|element| match element {
                Element::Value(Value::Text(text)) => Some(text.expose_text().map(str::to_owned).ok_or_else(shape)),
                Element::Value(_) => Some(Err(shape())),
                Element::Comment(_) => None,
            });
            Ok(texts.collect::<Result<Vec<_>, _>>()?.iter().flat_map(|text| split(text) as Vec<String>).collect())
        }
        Some(_) => Err(shape()),
    }
}

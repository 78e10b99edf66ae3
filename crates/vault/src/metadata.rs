//! The `sops` part of a file: who can open it, which values are encrypted, and the MAC over all of them.

use crate::keys::{KeyError, Recipient};
use crate::scope::{DEFAULT_SUFFIX, RULES, Rule};
use crate::secret::Secret;
use crate::tree::{Branch, Element, Item, Value};
use crate::walk::MacOver;

/// The name of the part in JSON and YAML; in dotenv files a prefix with `_`.
pub(crate) const KEY: &str = "sops";
/// The version of SOPS whose form is written.
const VERSION: &str = "3.11.0";

/// Kinds of keys that only their service or agent can use.
const FOREIGN: &[(&str, &str)] = &[
    ("kms", "AWS KMS"),
    ("gcp_kms", "Google Cloud KMS"),
    ("azure_kv", "Azure Key Vault"),
    ("hc_vault", "HashiCorp Vault"),
    ("hckms", "Huawei Cloud KMS"),
    ("pgp", "PGP"),
];

/// Why a file's metadata cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MetadataError {
    /// There is none.
    #[error("it is not encrypted: it has no `sops` part")]
    Missing,
    /// A field is missing or not what it should be.
    #[error("its metadata has no usable `{0}`")]
    Field(&'static str),
    /// Two rules at once, which SOPS refuses as well.
    #[error("its metadata names more than one rule of what is encrypted")]
    Rules,
    /// A data key in parts.
    #[error(
        "its data key is shared between groups of keys (Shamir), which is not supported; hint: use sops for this file"
    )]
    Shamir,
    /// No recipient of age among the keys.
    #[error(
        "it is encrypted for {0} only, which is not supported; hint: sops rotate --in-place --add-age RECIPIENT FILE"
    )]
    Foreign(String),
    /// A recipient that is none.
    #[error(transparent)]
    Key(#[from] KeyError),
}

/// One recipient, and the data key encrypted to it.
pub(crate) struct Wrapped {
    pub(crate) recipient: String,
    pub(crate) sealed: String,
}

/// Everything that is known of a file beside its values.
pub(crate) struct Metadata {
    pub(crate) age: Vec<Wrapped>,
    /// RFC 3339; authenticated with the MAC.
    pub(crate) modified: String,
    /// The MAC, encrypted.
    pub(crate) mac: String,
    pub(crate) rule: Rule,
    pub(crate) over: MacOver,
    /// Keys of other services, kept as they are while the data key stays.
    pub(crate) foreign: Branch,
}

impl Metadata {
    /// Metadata of a new file, without its MAC.
    pub(crate) fn new(rule: Rule, over: MacOver) -> Metadata {
        Metadata { age: Vec::new(), modified: String::new(), mac: String::new(), rule, over, foreign: Vec::new() }
    }

    /// Names the kinds of keys that are not age's.
    pub(crate) fn foreign_kinds(&self) -> Vec<&'static str> {
        let has = |key: &str| self.foreign.iter().any(|item| matches!(item, Item::Entry(name, _) if name == key));
        FOREIGN.iter().filter(|(key, _)| has(key)).map(|(_, kind)| *kind).collect()
    }

    pub(crate) fn recipients(&self) -> Result<Vec<Recipient>, KeyError> {
        self.age.iter().map(|wrapped| Recipient::parse(&wrapped.recipient)).collect()
    }

    /// Reads the `sops` mapping.
    pub(crate) fn read(part: Branch) -> Result<Metadata, MetadataError> {
        let mut metadata = Metadata::new(Rule::default(), MacOver::Everything);
        let mut rules = Vec::new();
        let (mut groups, mut is_versioned) = (0, false);
        for item in part {
            let Item::Entry(name, value) = item else { continue };
            match name.as_str() {
                "age" => metadata.age.extend(wrapped_keys(value)?),
                "lastmodified" => metadata.modified = text(value).ok_or(MetadataError::Field("lastmodified"))?,
                "mac" => metadata.mac = text(value).ok_or(MetadataError::Field("mac"))?,
                "version" => is_versioned = text(value).is_some_and(|text| is_version(&text)),
                "mac_only_encrypted" => {
                    let is_only = matches!(&value, Value::Bool(true))
                        || matches!(&value, Value::Text(word) if word.expose() == b"true");
                    metadata.over = if is_only { MacOver::Encrypted } else { MacOver::Everything };
                }
                "shamir_threshold" => groups += usize::from(!matches!(value, Value::Int(0..=1) | Value::Null)),
                "key_groups" => groups += usize::from(!matches!(&value, Value::List(list) if list.is_empty())),
                key if FOREIGN.iter().any(|(foreign, _)| *foreign == key) => {
                    if !is_nothing(&value) {
                        metadata.foreign.push(Item::Entry(name, value));
                    }
                }
                key => {
                    if let Some((_, make)) = RULES.iter().find(|(rule, _)| *rule == key) {
                        let text = text(value).ok_or(MetadataError::Rules)?;
                        rules.extend((!text.is_empty()).then(|| make(text)));
                    }
                }
            }
        }
        if groups > 0 {
            return Err(MetadataError::Shamir);
        }
        metadata.rule = match (rules.pop(), rules.is_empty()) {
            (None, _) => Rule::UnencryptedSuffix(DEFAULT_SUFFIX.into()),
            (Some(rule), true) => rule,
            (Some(_), false) => return Err(MetadataError::Rules),
        };
        if metadata.age.is_empty() {
            let kinds = metadata.foreign_kinds().join(", ");
            let named = if kinds.is_empty() { MetadataError::Field("age") } else { MetadataError::Foreign(kinds) };
            return Err(named);
        }
        if !is_versioned {
            return Err(MetadataError::Field("version"));
        }
        if !is_moment(&metadata.modified) {
            return Err(MetadataError::Field("lastmodified"));
        }
        Ok(metadata)
    }

    /// Writes the `sops` mapping, in SOPS's order.
    pub(crate) fn write(&self) -> Branch {
        let entry = |name: &str, text: &str| Item::Entry(name.into(), Value::Text(Secret::from(text)));
        let mut part = Vec::new();
        let (pgp, others): (Vec<_>, Vec<_>) =
            self.foreign.iter().partition(|item| matches!(item, Item::Entry(name, _) if name == "pgp"));
        part.extend(others.into_iter().map(duplicate_item));
        let age = self.age.iter().map(|wrapped| {
            let fields = vec![entry("recipient", &wrapped.recipient), entry("enc", &wrapped.sealed)];
            Element::Value(Value::Map(fields))
        });
        part.push(Item::Entry("age".into(), Value::List(age.collect())));
        part.push(entry("lastmodified", &self.modified));
        part.push(entry("mac", &self.mac));
        part.extend(pgp.into_iter().map(duplicate_item));
        let (key, text) = self.rule.written();
        part.push(entry(key, text));
        if self.over == MacOver::Encrypted {
            part.push(Item::Entry("mac_only_encrypted".into(), Value::Bool(true)));
        }
        part.push(entry("version", VERSION));
        part
    }
}

/// Takes the metadata out of a JSON or YAML document of one or more parts.
pub(crate) fn take_mapping(branches: &mut [Branch]) -> Result<Branch, MetadataError> {
    let mut found = None;
    for branch in branches {
        let (own, rest): (Vec<_>, Vec<_>) = std::mem::take(branch).into_iter().partition(is_part);
        *branch = rest;
        // Two in one document: readers disagree about which one counts.
        if own.len() > 1 {
            return Err(MetadataError::Field(KEY));
        }
        for item in own {
            match (item, &found) {
                (Item::Entry(_, Value::Map(part)), None) => found = Some(part),
                // SOPS writes the same part into each document, and reads the first.
                (Item::Entry(_, Value::Map(_)), Some(_)) => {}
                _ => return Err(MetadataError::Field(KEY)),
            }
        }
    }
    found.ok_or(MetadataError::Missing)
}

/// Whether an entry is the metadata.
pub(crate) fn is_part(item: &Item) -> bool {
    matches!(item, Item::Entry(name, _) if name == KEY)
}

/// Whether an entry of a dotenv file belongs to the metadata.
pub(crate) fn is_flat_part(item: &Item) -> bool {
    matches!(item, Item::Entry(name, _) if name.strip_prefix(KEY).is_some_and(|rest| rest.starts_with('_')))
}

fn wrapped_keys(value: Value) -> Result<Vec<Wrapped>, MetadataError> {
    let unusable = || MetadataError::Field("age");
    let list = match value {
        Value::List(list) => list,
        Value::Null => return Ok(Vec::new()),
        _ => return Err(unusable()),
    };
    let mut keys = Vec::new();
    for element in list {
        let Element::Value(value) = element else { continue };
        let Value::Map(fields) = value else { return Err(unusable()) };
        let (mut recipient, mut sealed) = (None, None);
        for field in fields {
            match field {
                Item::Entry(name, value) if name == "recipient" => recipient = text(value),
                Item::Entry(name, value) if name == "enc" => sealed = text(value),
                Item::Entry(..) | Item::Comment(_) => {}
            }
        }
        let (Some(recipient), Some(sealed)) = (recipient, sealed) else { return Err(unusable()) };
        keys.push(Wrapped { recipient, sealed });
    }
    Ok(keys)
}

fn is_nothing(value: &Value) -> bool {
    matches!(value, Value::Null) || matches!(value, Value::List(list) if list.is_empty())
}

fn text(value: Value) -> Option<String> {
    match value {
        Value::Text(text) => text.expose_text().map(str::to_owned),
        // Somebody took the quotes off in YAML.
        Value::Time(text) => Some(text),
        _ => None,
    }
}

/// `3.11.0`, perhaps with a suffix.
fn is_version(text: &str) -> bool {
    let numbers = text.split_once(['-', '+']).map_or(text, |(numbers, _)| numbers);
    numbers.split('.').count() == 3 && numbers.split('.').all(|part| part.parse::<u32>().is_ok())
}

/// RFC 3339 in whole seconds: what Go writes again just as it read it.
fn is_moment(text: &str) -> bool {
    let pattern = |shape: &str, text: &str| {
        shape.len() == text.len()
            && shape.bytes().zip(text.bytes()).all(|(s, t)| if s == b'0' { t.is_ascii_digit() } else { s == t })
    };
    let (moment, zone) = text.split_at_checked("0000-00-00T00:00:00".len()).unwrap_or_default();
    pattern("0000-00-00T00:00:00", moment) && (zone == "Z" || pattern("+00:00", zone) || pattern("-00:00", zone))
}

pub(crate) fn duplicate_item(item: &Item) -> Item {
    match item {
        Item::Comment(text) => Item::Comment(text.duplicate()),
        Item::Entry(name, value) => Item::Entry(name.clone(), value.duplicate()),
    }
}

impl Value {
    /// Makes a second one, which is wiped by itself.
    pub(crate) fn duplicate(&self) -> Value {
        match self {
            Value::Null => Value::Null,
            Value::Text(text) => Value::Text(text.duplicate()),
            Value::Int(number) => Value::Int(*number),
            Value::Float(number) => Value::Float(*number),
            Value::Bool(is_true) => Value::Bool(*is_true),
            Value::Time(text) => Value::Time(text.clone()),
            Value::List(list) => Value::List(list.iter().map(duplicate_element).collect()),
            Value::Map(branch) => Value::Map(branch.iter().map(duplicate_item).collect()),
        }
    }
}

fn duplicate_element(element: &Element) -> Element {
    match element {
        Element::Comment(text) => Element::Comment(text.duplicate()),
        Element::Value(value) => Element::Value(value.duplicate()),
    }
}

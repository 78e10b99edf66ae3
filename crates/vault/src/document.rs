//! A whole file: encrypted ([`Sealed`]), and with its values in the clear ([`Opened`]).

use std::time::SystemTime;

use crate::cipher::{DataKey, decrypt, encrypt, plain_text};
use crate::dotenv::{self, DotenvError};
use crate::flat;
use crate::format::Format;
use crate::json::{self, JsonError};
use crate::keys::{Identity, KeyError, Recipient, unwrap};
use crate::metadata::{self, Metadata, MetadataError, Wrapped};
use crate::scope::{Leaf, Rule, ScopeError};
use crate::secret::Secret;
use crate::tree::{Branch, Element, Item, Step, Value, find};
use crate::walk::{MacOver, Nonces, WalkError, decrypt_tree, encrypt_tree};
use crate::yaml::{self, YamlError};

/// A file that cannot be read in its format.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FormatError {
    /// As dotenv.
    #[error(transparent)]
    Dotenv(#[from] DotenvError),
    /// As JSON.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// As YAML.
    #[error(transparent)]
    Yaml(#[from] YamlError),
    /// A sealed file of one value that holds no such value.
    #[error("its `data` is missing, so that it is no binary file; hint: --type json")]
    Binary,
}

/// Why an encrypted file cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// It cannot be read.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// Its metadata cannot be used.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    /// Its rule cannot be used.
    #[error(transparent)]
    Scope(#[from] ScopeError),
    /// None of the identities is a recipient's.
    #[error("none of the {known} known identities can open it; it is for {}", .recipients.join(", "))]
    NoIdentity {
        /// How many were tried.
        known: usize,
        /// Whom it is encrypted to, escaped.
        recipients: Vec<String>,
    },
    /// A value cannot be decrypted.
    #[error(transparent)]
    Value(#[from] WalkError),
    /// The values are not those that were encrypted.
    #[error("its values are not the ones it was encrypted with: the message authentication code does not match")]
    Mac,
}

/// Why a document cannot be encrypted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// It cannot be read or written in its format.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// It is encrypted already.
    #[error("it has a `sops` part: it is encrypted already")]
    Already,
    /// Nobody could open it again.
    #[error("it would have no recipient; hint: --age RECIPIENT, or `mantlet vault init`")]
    NoRecipient,
    /// The rule cannot be used.
    #[error(transparent)]
    Scope(#[from] ScopeError),
    /// A value cannot be encrypted.
    #[error(transparent)]
    Value(#[from] WalkError),
    /// A data key cannot be made, or encrypted to a recipient.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Keys of other services would have to be asked.
    #[error("it is also encrypted for {0}, for which a new data key cannot be made here; hint: use sops for this step")]
    Foreign(String),
    /// Nothing is there.
    #[error("there is no value at this path")]
    NoValue,
}

/// An encrypted file as it was read, before any key.
pub struct Sealed {
    format: Format,
    branches: Vec<Branch>,
    metadata: Metadata,
}

impl Sealed {
    /// Reads an encrypted file.
    ///
    /// # Errors
    /// It is not one, or needs what is not supported.
    pub fn parse(text: &[u8], format: Format) -> Result<Sealed, OpenError> {
        // SOPS writes a binary file as JSON.
        let mut branches = read(text, if format == Format::Binary { Format::Json } else { format })?;
        let part = match format {
            Format::Dotenv => {
                let lines = std::mem::take(&mut branches).into_iter().flatten();
                let (own, rest): (Vec<_>, Vec<_>) = lines.partition(metadata::is_flat_part);
                branches.push(rest);
                flat::unflatten(own)?
            }
            Format::Json | Format::Yaml | Format::Binary => metadata::take_mapping(&mut branches)?,
        };
        let metadata = Metadata::read(part)?;
        Ok(Sealed { format, branches, metadata })
    }

    /// Returns how it is written.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Returns the paths of its values, in its order. No key is needed: SOPS leaves names in the clear.
    pub fn names(&self) -> Vec<Vec<Step>> {
        let mut names = Vec::new();
        for branch in &self.branches {
            leaves_of_branch(branch, &mut Vec::new(), &mut names);
        }
        names
    }

    pub(crate) fn branches(&self) -> &[Branch] {
        &self.branches
    }

    pub(crate) fn rule(&self) -> &Rule {
        &self.metadata.rule
    }

    pub(crate) fn over(&self) -> MacOver {
        self.metadata.over
    }

    /// Returns the paths of values that stand in it for everybody to read.
    pub fn in_the_clear(&self) -> Vec<Vec<Step>> {
        let is_open = |path: &Vec<Step>| match self.branches.iter().find_map(|branch| find(branch, path)) {
            Some(Value::Text(text)) => !text.expose().is_empty() && !text.expose().starts_with(b"ENC[AES256_GCM,"),
            Some(value) => !matches!(value, Value::Null),
            None => false,
        };
        self.names().into_iter().filter(is_open).collect()
    }

    /// Returns whom it is encrypted to, as it says.
    pub fn recipients(&self) -> Vec<String> {
        self.metadata.age.iter().map(|wrapped| mantlet_ledger::escape(wrapped.recipient.as_bytes())).collect()
    }

    /// Decrypts it, and makes sure that its values are the ones it was encrypted with.
    ///
    /// # Errors
    /// No identity fits, or anything was changed that its MAC covers.
    pub fn open(mut self, identities: &[Identity]) -> Result<Opened, OpenError> {
        let scope = self.metadata.rule.compile()?;
        let wrapped = &self.metadata.age;
        let key = wrapped.iter().find_map(|wrapped| unwrap(&wrapped.sealed, identities));
        let key =
            key.ok_or_else(|| OpenError::NoIdentity { known: identities.len(), recipients: self.recipients() })?;
        let mut nonces = Nonces::default();
        let over = self.metadata.over;
        let (mac, plain_comments) = decrypt_tree(&mut self.branches, &key, &scope, over, &mut nonces)?;
        let said = decrypt(&key, self.metadata.mac.as_bytes(), &self.metadata.modified).map_err(|_| OpenError::Mac)?;
        if said.text.expose() != mac.as_bytes() {
            return Err(OpenError::Mac);
        }
        let Sealed { format, branches, metadata } = self;
        Ok(Opened { format, branches, metadata, key, nonces, plain_comments })
    }
}

/// A file with its values in the clear, and the key that encrypts them again.
pub struct Opened {
    format: Format,
    branches: Vec<Branch>,
    metadata: Metadata,
    key: DataKey,
    nonces: Nonces,
    plain_comments: usize,
}

impl Opened {
    /// Returns how it is written.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Returns how many comments stand in the clear where comments are encrypted: anybody can have added them.
    pub fn plain_comments(&self) -> usize {
        self.plain_comments
    }

    /// Returns the documents.
    pub fn branches(&self) -> &[Branch] {
        &self.branches
    }

    /// Writes the plain file.
    ///
    /// # Errors
    /// A value has no text in this format.
    pub fn plain(&self) -> Result<Secret, FormatError> {
        write(&self.branches, self.format)
    }

    /// Returns one value: a text as it is, anything else as the format writes it.
    ///
    /// # Errors
    /// A value has no text in this format.
    pub fn get(&self, path: &[Step]) -> Result<Option<Secret>, FormatError> {
        let Some(value) = self.branches.iter().find_map(|branch| find(branch, path)) else { return Ok(None) };
        Ok(Some(match (value, plain_text(value)) {
            (Value::Bool(is_true), _) => Secret::from(if *is_true { "true" } else { "false" }),
            (_, Some((_, text))) => text,
            (Value::Map(branch), None) if self.format == Format::Yaml => yaml::emit(std::slice::from_ref(branch))?,
            (value, None) => json::emit_value(value)?,
        }))
    }

    /// Returns whether the file's rule encrypts what stands at this path.
    ///
    /// # Errors
    /// The rule cannot be used.
    pub fn is_encrypted(&self, path: &[Step]) -> Result<bool, ScopeError> {
        let names = path.iter().filter_map(|step| match step {
            Step::Name(name) => Some(name.clone()),
            Step::Index(_) => None,
        });
        Ok(self.metadata.rule.compile()?.is_encrypted(&names.collect::<Vec<_>>(), &[], Leaf::Value))
    }

    /// Puts a value at a path; names that are missing on the way are made.
    ///
    /// # Errors
    /// Something else stands on the way.
    pub fn set(&mut self, path: &[Step], value: Value) -> Result<(), SealError> {
        let branch = self.branches.first_mut().ok_or(SealError::NoValue)?;
        crate::tree::set(branch, path, value).ok_or(SealError::NoValue)
    }

    /// Takes the value at a path away.
    ///
    /// # Errors
    /// There is none.
    pub fn unset(&mut self, path: &[Step]) -> Result<(), SealError> {
        let mut branches = self.branches.iter_mut();
        branches.find_map(|branch| crate::tree::unset(branch, path)).ok_or(SealError::NoValue)
    }

    /// Puts another plain file in its place.
    ///
    /// # Errors
    /// It is not in this format.
    pub fn replace(&mut self, plain: &Secret) -> Result<(), SealError> {
        self.branches = plain_branches(plain.expose(), self.format)?;
        Ok(())
    }

    /// Returns the recipients.
    ///
    /// # Errors
    /// One of them is of a kind that is not age's own.
    pub fn recipients(&self) -> Result<Vec<Recipient>, KeyError> {
        self.metadata.recipients()
    }

    /// Makes a new data key, for these recipients only.
    ///
    /// # Errors
    /// There is none, or keys of other services would be left behind.
    pub fn rotate(&mut self, recipients: &[Recipient]) -> Result<(), SealError> {
        if !self.metadata.foreign.is_empty() {
            return Err(SealError::Foreign(self.metadata.foreign_kinds().join(", ")));
        }
        (self.key, self.metadata.age) = fresh(recipients)?;
        self.nonces = Nonces::default();
        Ok(())
    }

    /// Encrypts it again. Values that are as they were keep their ciphertext.
    ///
    /// # Errors
    /// A value or the format does not allow it.
    pub fn seal(self) -> Result<Vec<u8>, SealError> {
        let Opened { format, branches, metadata, key, mut nonces, .. } = self;
        seal(format, branches, metadata, &key, &mut nonces)
    }
}

/// How a new file is encrypted.
pub struct Plan {
    /// Which values are.
    pub rule: Rule,
    /// Whether the MAC covers only those.
    pub over: MacOver,
    /// Who can open it.
    pub recipients: Vec<Recipient>,
}

/// Encrypts a plain file.
///
/// # Errors
/// It is not in this format, is encrypted already, or would be nobody's.
pub fn encrypt_file(plain: &[u8], format: Format, plan: &Plan) -> Result<Vec<u8>, SealError> {
    let branches = plain_branches(plain, format)?;
    // A binary file is one value: a rule made for names would leave all of it in the clear.
    let rule = if format == Format::Binary { Rule::default() } else { plan.rule.clone() };
    let mut metadata = Metadata::new(rule, plan.over);
    let (key, age) = fresh(&plan.recipients)?;
    metadata.age = age;
    seal(format, branches, metadata, &key, &mut Nonces::default())
}

fn fresh(recipients: &[Recipient]) -> Result<(DataKey, Vec<Wrapped>), SealError> {
    if recipients.is_empty() {
        return Err(SealError::NoRecipient);
    }
    let key = DataKey::generate().map_err(|_| KeyError::Encrypt)?;
    let wrap = |recipient: &Recipient| Ok(Wrapped { recipient: recipient.to_string(), sealed: recipient.wrap(&key)? });
    let age = recipients.iter().map(wrap).collect::<Result<_, KeyError>>()?;
    Ok((key, age))
}

fn seal(
    format: Format,
    mut branches: Vec<Branch>,
    mut metadata: Metadata,
    key: &DataKey,
    nonces: &mut Nonces,
) -> Result<Vec<u8>, SealError> {
    let scope = metadata.rule.compile()?;
    let mac = encrypt_tree(&mut branches, key, &scope, metadata.over, nonces)?;
    // In whole seconds, as SOPS reads it.
    let now = mantlet_ledger::rfc3339(SystemTime::now());
    metadata.modified = now.split_once('.').map_or(now.clone(), |(seconds, _)| format!("{seconds}Z"));
    metadata.mac =
        encrypt(key, "str", &Secret::from(mac.as_str()), &metadata.modified).map_err(|_| KeyError::Encrypt)?;
    let part = metadata.write();
    for branch in &mut branches {
        match format {
            Format::Dotenv => branch.extend(flat::flatten(&part)),
            _ => branch.push(Item::Entry(
                metadata::KEY.into(),
                Value::Map(part.iter().map(metadata::duplicate_item).collect()),
            )),
        }
    }
    let text = write(&branches, if format == Format::Binary { Format::Json } else { format })?;
    Ok(text.expose().to_vec())
}

fn plain_branches(text: &[u8], format: Format) -> Result<Vec<Branch>, SealError> {
    let branches = read_plain(text, format)?;
    let is_part = if format == Format::Dotenv { metadata::is_flat_part } else { metadata::is_part };
    if branches.iter().flatten().any(is_part) {
        return Err(SealError::Already);
    }
    Ok(branches)
}

fn read_plain(text: &[u8], format: Format) -> Result<Vec<Branch>, FormatError> {
    match format {
        Format::Binary => Ok(vec![vec![Item::Entry(json::DATA.into(), Value::Text(Secret::new(text.to_vec())))]]),
        _ => read(text, format),
    }
}

fn read(text: &[u8], format: Format) -> Result<Vec<Branch>, FormatError> {
    Ok(match format {
        Format::Dotenv => vec![dotenv::parse(text)?],
        Format::Json | Format::Binary => vec![json::parse(text)?],
        Format::Yaml => yaml::parse(text)?,
    })
}

fn write(branches: &[Branch], format: Format) -> Result<Secret, FormatError> {
    let first = branches.first();
    Ok(match format {
        Format::Dotenv => dotenv::emit(first.ok_or(FormatError::Binary)?)?,
        Format::Json => json::emit(first.ok_or(FormatError::Binary)?)?,
        Format::Yaml => yaml::emit(branches)?,
        Format::Binary => match first.and_then(|branch| find(branch, &[Step::Name(json::DATA.into())])) {
            Some(Value::Text(data)) => data.duplicate(),
            _ => return Err(FormatError::Binary),
        },
    })
}

fn leaves_of_branch(branch: &Branch, path: &mut Vec<Step>, names: &mut Vec<Vec<Step>>) {
    for item in branch {
        if let Item::Entry(name, value) = item {
            path.push(Step::Name(name.clone()));
            leaves(value, path, names);
            path.pop();
        }
    }
}

fn leaves(value: &Value, path: &mut Vec<Step>, names: &mut Vec<Vec<Step>>) {
    match value {
        Value::Map(branch) => leaves_of_branch(branch, path, names),
        Value::List(list) => {
            let values = list.iter().filter_map(|element| match element {
                Element::Value(value) => Some(value),
                Element::Comment(_) => None,
            });
            for (index, value) in values.enumerate() {
                path.push(Step::Index(index));
                leaves(value, path, names);
                path.pop();
            }
        }
        _ => names.push(path.clone()),
    }
}

#[cfg(test)]
mod tests;

//! A whole tree encrypted or decrypted in the order of its file, and the MAC over what it says.

use std::collections::HashMap;

use sha2::{Digest as _, Sha512};

use crate::cipher::{CipherError, DataKey, NONCE_SIZE, decrypt, encrypt, encrypt_with, plain_text, typed};
use crate::scope::{Leaf, Scope};
use crate::secret::Secret;
use crate::tree::{Branch, Element, Item, Value};

/// What SOPS begins a MAC with that counts encrypted values only, so that it can never equal one over all.
const ONLY_ENCRYPTED: [u8; 32] = [
    0x8a, 0x3f, 0xd2, 0xad, 0x54, 0xce, 0x66, 0x52, 0x7b, 0x10, 0x34, 0xf3, 0xd1, 0x47, 0xbe, 0x0b, 0x0b, 0x97, 0x5b,
    0x3b, 0xf4, 0x4f, 0x72, 0xc6, 0xfd, 0xad, 0xec, 0x81, 0x76, 0xf2, 0x7d, 0x69,
];

/// What a file's MAC is made over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MacOver {
    /// Every value.
    Everything,
    /// Those that are encrypted; others can be changed by anybody.
    Encrypted,
}

/// The nonces of a file's ciphertexts, by place, type and text: what has not changed is encrypted to the same again, so
/// that a difference between two versions shows what was changed.
#[derive(Default)]
pub(crate) struct Nonces(HashMap<(String, String, Secret), Vec<[u8; NONCE_SIZE]>>);

impl Nonces {
    fn remember(&mut self, place: String, kind: &str, text: &Secret, nonce: [u8; NONCE_SIZE]) {
        self.0.entry((place, kind.into(), text.duplicate())).or_default().insert(0, nonce);
    }

    fn take(&mut self, place: String, kind: &str, text: &Secret) -> Option<[u8; NONCE_SIZE]> {
        self.0.get_mut(&(place, kind.into(), text.duplicate()))?.pop()
    }
}

/// A value that stops the walk.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the value of `{name}` {why}")]
pub struct WalkError {
    /// The names that lead to it, escaped.
    name: String,
    /// What is wrong with it.
    why: CipherError,
}

/// Encrypts every value of the scope in its place; returns the MAC.
pub(crate) fn encrypt_tree(
    branches: &mut [Branch],
    key: &DataKey,
    scope: &Scope,
    over: MacOver,
    nonces: &mut Nonces,
) -> Result<String, WalkError> {
    let mut walk = Walk::new(key, scope, over, Direction::Encrypt(nonces));
    branches.iter_mut().try_for_each(|branch| walk.branch(branch))?;
    Ok(walk.mac())
}

/// Decrypts every value of the scope in its place; returns the MAC that its contents should have.
pub(crate) fn decrypt_tree(
    branches: &mut [Branch],
    key: &DataKey,
    scope: &Scope,
    over: MacOver,
    nonces: &mut Nonces,
) -> Result<(String, usize), WalkError> {
    let mut walk = Walk::new(key, scope, over, Direction::Decrypt(nonces));
    branches.iter_mut().try_for_each(|branch| walk.branch(branch))?;
    Ok((walk.mac(), walk.plain_comments))
}

enum Direction<'k> {
    Encrypt(&'k mut Nonces),
    Decrypt(&'k mut Nonces),
}

struct Walk<'k> {
    key: &'k DataKey,
    scope: &'k Scope,
    over: MacOver,
    direction: Direction<'k>,
    hash: Sha512,
    path: Vec<String>,
    comments: Vec<Vec<Secret>>,
    /// Comments that stand in the clear where they should not: anybody can add one.
    plain_comments: usize,
}

impl<'k> Walk<'k> {
    fn new(key: &'k DataKey, scope: &'k Scope, over: MacOver, direction: Direction<'k>) -> Self {
        let mut hash = Sha512::new();
        if over == MacOver::Encrypted {
            hash.update(ONLY_ENCRYPTED);
        }
        Walk { key, scope, over, direction, hash, path: Vec::new(), comments: Vec::new(), plain_comments: 0 }
    }

    fn mac(&mut self) -> String {
        self.hash.finalize_reset().iter().map(|byte| format!("{byte:02X}")).collect()
    }

    fn branch(&mut self, branch: &mut Branch) -> Result<(), WalkError> {
        self.comments.push(Vec::new());
        for item in branch {
            match item {
                Item::Comment(text) => self.comment(text)?,
                Item::Entry(name, value) => {
                    self.path.push(name.clone());
                    self.value(value)?;
                    self.path.pop();
                    self.forget_comments();
                }
            }
        }
        self.comments.pop();
        Ok(())
    }

    fn list(&mut self, list: &mut [Element]) -> Result<(), WalkError> {
        self.comments.push(Vec::new());
        for element in list {
            match element {
                Element::Comment(text) => self.comment(text)?,
                // Elements share the path of their list.
                Element::Value(value) => {
                    match self.comment_in_list(value)? {
                        Some(text) => *element = Element::Comment(text),
                        None => self.value(value)?,
                    }
                    self.forget_comments();
                }
            }
        }
        self.comments.pop();
        Ok(())
    }

    /// SOPS writes an encrypted comment in a list as an element, and takes it for a comment again by its type.
    fn comment_in_list(&mut self, value: &Value) -> Result<Option<Secret>, WalkError> {
        match (value, &self.direction) {
            (Value::Text(text), Direction::Decrypt(_)) if text.expose().ends_with(b",type:comment]") => {
                if !self.scope.is_encrypted(&self.path, &self.comments, Leaf::Value) {
                    return Ok(None);
                }
                self.opened_text(text).map(|(_, text)| Some(text)).map_err(|why| self.error(why))
            }
            _ => Ok(None),
        }
    }

    /// A comment counts for what follows it, up to the next value.
    fn forget_comments(&mut self) {
        if let Some(said) = self.comments.last_mut() {
            said.clear();
        }
    }

    fn value(&mut self, value: &mut Value) -> Result<(), WalkError> {
        match value {
            Value::Null => return Ok(()),
            Value::Map(branch) => return self.branch(branch),
            Value::List(list) => return self.list(list),
            Value::Text(_) | Value::Int(_) | Value::Float(_) | Value::Bool(_) | Value::Time(_) => {}
        }
        let is_encrypted = self.scope.is_encrypted(&self.path, &self.comments, Leaf::Value);
        if is_encrypted && matches!(self.direction, Direction::Decrypt(_)) {
            *value = self.opened(value).map_err(|why| self.error(why))?;
        }
        let Some((kind, text)) = plain_text(value) else { return Ok(()) };
        if is_encrypted || self.over == MacOver::Everything {
            self.hash.update(text.expose());
        }
        if is_encrypted && matches!(self.direction, Direction::Encrypt(_)) {
            *value = Value::Text(self.sealed(kind, &text).map_err(|why| self.error(why))?);
        }
        Ok(())
    }

    fn opened(&mut self, value: &Value) -> Result<Value, CipherError> {
        let Value::Text(text) = value else { return Err(CipherError::NotEncrypted) };
        if text.expose().is_empty() {
            return Ok(Value::Text(Secret::from("")));
        }
        let (kind, text) = self.opened_text(text)?;
        typed(&kind, text)
    }

    fn opened_text(&mut self, text: &Secret) -> Result<(String, Secret), CipherError> {
        let place = self.place();
        let opened = decrypt(self.key, text.expose(), &place)?;
        if let Direction::Decrypt(nonces) = &mut self.direction {
            nonces.remember(place, opened.kind, &opened.text, opened.nonce);
        }
        Ok((opened.kind.to_owned(), opened.text))
    }

    fn sealed(&mut self, kind: &str, text: &Secret) -> Result<Secret, CipherError> {
        let place = self.place();
        let known = match &mut self.direction {
            Direction::Encrypt(nonces) => nonces.take(place.clone(), kind, text),
            Direction::Decrypt(_) => None,
        };
        let sealed = match known {
            Some(nonce) => encrypt_with(self.key, kind, text, &place, nonce)?,
            None => encrypt(self.key, kind, text, &place)?,
        };
        Ok(Secret::new(sealed.into_bytes()))
    }

    fn comment(&mut self, text: &mut Secret) -> Result<(), WalkError> {
        if let Some(said) = self.comments.last_mut() {
            said.push(text.duplicate());
        }
        if !self.scope.is_encrypted(&self.path, &self.comments, Leaf::Comment) || text.expose().is_empty() {
            return Ok(());
        }
        match self.direction {
            Direction::Encrypt(_) => *text = self.sealed("comment", text).map_err(|why| self.error(why))?,
            // SOPS takes what it cannot decrypt for a comment that was never encrypted.
            Direction::Decrypt(_) => match self.opened_text(text) {
                Ok((_, opened)) => *text = opened,
                Err(_) => self.plain_comments += 1,
            },
        }
        Ok(())
    }

    /// The additional data of AES-GCM: names joined and ended by colons.
    fn place(&self) -> String {
        self.path.join(":") + ":"
    }

    fn error(&self, why: CipherError) -> WalkError {
        WalkError { name: mantlet_ledger::escape(self.path.join(".").as_bytes()), why }
    }
}

//! What a file's MAC does not cover, remembered as hashes: comments, empty names, and the metadata itself.
//!
//! SOPS notices a changed value. It does not notice a comment that was added, an empty name that came or went, a rule
//! that encrypts less, or a recipient more, who reads everything from the next change on.

use sha2::{Digest as _, Sha256};

use crate::document::Sealed;
use crate::tree::{Branch, Element, Item, Value};

const VERSION: &str = "mantlet-witness 1";

/// The parts, by what is said when one has changed.
const PARTS: [&str; 4] = [
    "comments were added, removed or changed",
    "empty or null names were added, removed or renamed",
    "the rule of what is encrypted was changed",
    "who can open it was changed",
];

/// A file as it was when Mantlet wrote it, or its owner accepted it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Witness {
    file: String,
    parts: [String; 4],
}

impl Witness {
    /// Looks at a file.
    pub fn of(sealed: &Sealed, text: &[u8]) -> Witness {
        let (mut comments, mut empties) = (Sha256::new(), Sha256::new());
        for branch in sealed.branches() {
            branch_parts(branch, "", &mut comments, &mut empties);
        }
        let mut rule = Sha256::new();
        let (key, said) = sealed.rule().written();
        put(&mut rule, &[key, said, &format!("{:?}", sealed.over())]);
        let mut readers = sealed.recipients();
        readers.sort_unstable();
        let mut recipients = Sha256::new();
        put(&mut recipients, &readers.iter().map(String::as_str).collect::<Vec<_>>());
        let parts = [comments, empties, rule, recipients].map(hex);
        Witness { file: hex(Sha256::new_with_prefix(text)), parts }
    }

    /// Returns what of the uncovered has changed since.
    pub fn changes(&self, now: &Witness) -> Vec<&'static str> {
        if self.file == now.file {
            return Vec::new();
        }
        let differing = PARTS.iter().zip(self.parts.iter().zip(&now.parts));
        differing.filter(|(_, (then, now))| then != now).map(|(said, _)| *said).collect()
    }

    /// Writes it down.
    pub fn write(&self) -> String {
        format!("{VERSION}\n{}\n{}\n", self.file, self.parts.join("\n"))
    }

    /// Reads what [`Witness::write`] wrote; nothing when it is something else.
    pub fn read(text: &str) -> Option<Witness> {
        let mut lines = text.strip_prefix(VERSION)?.strip_prefix('\n')?.lines().map(str::to_owned);
        let mut next = || lines.next().filter(|line| line.len() == 64);
        Some(Witness { file: next()?, parts: [next()?, next()?, next()?, next()?] })
    }
}

fn branch_parts(branch: &Branch, path: &str, comments: &mut Sha256, empties: &mut Sha256) {
    let mut place = 0;
    for item in branch {
        match item {
            Item::Comment(text) => comment(comments, path, place, text.expose()),
            Item::Entry(name, value) => {
                place += 1;
                value_parts(value, &format!("{path}\0{name}"), comments, empties);
            }
        }
    }
}

fn value_parts(value: &Value, path: &str, comments: &mut Sha256, empties: &mut Sha256) {
    match value {
        Value::Map(branch) if !branch.is_empty() => branch_parts(branch, path, comments, empties),
        Value::List(list) if !list.is_empty() => {
            let mut place = 0;
            for element in list {
                match element {
                    Element::Comment(text) => comment(comments, path, place, text.expose()),
                    Element::Value(value) => {
                        place += 1;
                        value_parts(value, &format!("{path}\0{place}"), comments, empties);
                    }
                }
            }
        }
        Value::Null => put(empties, &[path, "null"]),
        Value::Map(_) => put(empties, &[path, "{}"]),
        Value::List(_) => put(empties, &[path, "[]"]),
        Value::Text(text) if text.expose().is_empty() => put(empties, &[path, "\"\""]),
        Value::Text(_) | Value::Int(_) | Value::Float(_) | Value::Bool(_) | Value::Time(_) => {}
    }
}

/// A comment counts with the value it stands before.
fn comment(comments: &mut Sha256, path: &str, place: usize, text: &[u8]) {
    put(comments, &[path, &place.to_string()]);
    comments.update(Sha256::digest(text));
}

/// Each part with its length, so that two of them cannot be taken for one.
fn put(hash: &mut Sha256, parts: &[&str]) {
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part.as_bytes());
    }
}

fn hex(hash: Sha256) -> String {
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Returns a file name that stands for bytes of any kind.
pub fn name_hash(bytes: &[u8]) -> String {
    hex(Sha256::new_with_prefix(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Format, Identity, MacOver, Plan, Rule, encrypt_file};

    #[test]
    fn what_the_mac_does_not_cover_is_said() {
        let mine = Identity::generate();
        let plan = Plan { rule: Rule::default(), over: MacOver::Everything, recipients: vec![mine.recipient()] };
        let sealed = encrypt_file(b"# note\nA=1\nE=\n", Format::Dotenv, &plan).ok().unwrap();
        let text = String::from_utf8(sealed).unwrap();
        let look = |text: &str| {
            let sealed = Sealed::parse(text.as_bytes(), Format::Dotenv).ok().unwrap();
            let witness = Witness::of(&sealed, text.as_bytes());
            // Each of these changes passes SOPS's own check.
            assert!(sealed.open(std::slice::from_ref(&mine)).is_ok());
            witness
        };
        let then = look(&text);
        assert_eq!(Witness::read(&then.write()), Some(then.clone()));
        let comment = text.lines().next().unwrap();
        let metadata = text.replace("sops_unencrypted_suffix=_unencrypted", "sops_unencrypted_suffix=_open");
        for (changed, said) in [
            (text.replace(&format!("{comment}\n"), ""), PARTS[0]),
            (format!("# added\n{text}"), PARTS[0]),
            (text.replace("E=\n", "F=\n"), PARTS[1]),
            (text.replace("E=\n", "E=\nG=\n"), PARTS[1]),
            (metadata, PARTS[2]),
            (format!("{text}sops_age__list_1__map_recipient=x\nsops_age__list_1__map_enc=y\n"), PARTS[3]),
        ] {
            assert_ne!(changed, text);
            assert_eq!(then.changes(&look(&changed)), [said]);
        }
        assert!(then.changes(&then).is_empty());
    }
}

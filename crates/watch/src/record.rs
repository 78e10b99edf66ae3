//! What a place is like: what the baseline keeps of it, and how two such states differ. Pure.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::text::{Sha256, as_hex, as_path};

/// One path of the baseline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Record {
    pub(crate) is: Is,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) attributes: Option<Attributes>,
}

/// What stands at a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Is {
    /// Nothing: appearing is tampering.
    Absent,
    /// A file, compared whole.
    File { sha256: Sha256, size: u64 },
    /// A file of which the snapshot (a hash in the store) matters; `sha256` is the last good copy.
    Judged { sha256: Sha256, size: u64, snapshot: Option<Sha256> },
    /// A file that we may not read: only its attributes and size are compared.
    Unreadable { size: u64 },
    /// A protected directory.
    Directory,
    /// A directory on the way to a place: that it is one, and whether a file system is mounted there.
    Way,
    /// A symlink.
    Symlink {
        #[serde(with = "as_path")]
        target: PathBuf,
    },
    /// A FIFO, a socket or a device, by the type bits of its mode.
    Other { kind: u32 },
}

/// What is compared beside the content. Never the times: they can be set, and say nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Attributes {
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Names of the same inode; 0 for directories, where the file system counts as it likes.
    pub(crate) nlink: u32,
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) flags: Flags,
    /// Whether something is mounted here.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) mount: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) xattrs: Vec<Xattr>,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// The inode flags that hinder or let: `chattr +i` and `+a`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Flags {
    pub(crate) immutable: bool,
    pub(crate) append: bool,
}

/// One extended attribute; access control lists and file capabilities are such.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Xattr {
    pub(crate) name: String,
    #[serde(with = "as_hex")]
    pub(crate) value: Vec<u8>,
}

/// How a state differs from its record, in the ledger's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum What {
    Mounted,
    Deleted,
    Made,
    Replaced,
    Written,
    Linked,
    Attributes,
    Owner,
    Mode,
    Xattr,
    Moved,
    Keys,
}

impl What {
    pub(crate) fn word(self) -> &'static str {
        match self {
            What::Mounted => "mounted",
            What::Deleted => "deleted",
            What::Made => "made",
            What::Replaced => "replaced",
            What::Written => "written",
            What::Linked => "linked",
            What::Attributes => "attributes",
            What::Owner => "owner",
            What::Mode => "mode",
            What::Xattr => "xattr",
            What::Moved => "moved",
            What::Keys => "keys",
        }
    }
}

impl Record {
    pub(crate) fn absent() -> Record {
        Record { is: Is::Absent, attributes: None }
    }

    pub(crate) fn is_regular(&self) -> bool {
        matches!(self.is, Is::File { .. } | Is::Judged { .. } | Is::Unreadable { .. })
    }

    /// The hash of the whole content, where there is one.
    pub(crate) fn sha256(&self) -> Option<Sha256> {
        match &self.is {
            Is::File { sha256, .. } | Is::Judged { sha256, .. } => Some(*sha256),
            _ => None,
        }
    }

    /// Everything in which `found` differs, the weightiest first. Content that is judged is not looked at here.
    pub(crate) fn differences(&self, found: &Record) -> Vec<What> {
        let mut all = Vec::new();
        match (&self.is, &found.is) {
            (Is::Absent, Is::Absent) => {}
            (Is::Absent, _) => all.push(What::Made),
            (_, Is::Absent) => all.push(What::Deleted),
            (Is::File { sha256: then, .. }, Is::File { sha256: now, .. }) if then != now => all.push(What::Written),
            (Is::Unreadable { size: then }, Is::Unreadable { size: now }) if then != now => all.push(What::Written),
            (Is::File { .. }, Is::File { .. }) | (Is::Judged { .. }, Is::Judged { .. }) => {}
            (then, now) if then != now => all.push(What::Replaced),
            _ => {}
        }
        if let (Some(then), Some(now)) = (&self.attributes, &found.attributes) {
            then.differences(now, &mut all);
        }
        all.sort_unstable();
        all
    }
}

impl Attributes {
    fn differences(&self, found: &Attributes, all: &mut Vec<What>) {
        let checks = [
            (self.mount != found.mount, What::Mounted),
            // Fewer names than before are no danger; each one more is a way to write past the watched name.
            (found.nlink > self.nlink, What::Linked),
            (self.flags != found.flags, What::Attributes),
            ((self.uid, self.gid) != (found.uid, found.gid), What::Owner),
            (self.mode != found.mode, What::Mode),
            (self.xattrs != found.xattrs, What::Xattr),
        ];
        all.extend(checks.iter().filter(|(differs, _)| *differs).map(|(_, what)| *what));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &[u8]) -> Record {
        let attributes = Attributes { mode: 0o644, nlink: 1, ..Attributes::default() };
        Record { is: Is::File { sha256: Sha256::of(text), size: text.len() as u64 }, attributes: Some(attributes) }
    }

    fn changed(change: impl FnOnce(&mut Attributes)) -> Record {
        let mut record = file(b"x");
        record.attributes.as_mut().map(change);
        record
    }

    #[test]
    fn each_attribute_is_named_by_its_own_word() {
        let then = file(b"x");
        let cases: [(Record, &[What]); 8] = [
            (file(b"x"), &[]),
            (file(b"y"), &[What::Written]),
            (Record::absent(), &[What::Deleted]),
            (changed(|a| a.mode = 0o4755), &[What::Mode]),
            (changed(|a| a.nlink = 2), &[What::Linked]),
            (changed(|a| a.flags.immutable = true), &[What::Attributes]),
            (changed(|a| a.mount = true), &[What::Mounted]),
            (changed(|a| a.gid = 7), &[What::Owner]),
        ];
        for (found, expected) in cases {
            assert_eq!(then.differences(&found), expected);
        }
        assert_eq!(changed(|a| a.nlink = 2).differences(&then), [], "a name fewer");
        let directory = Record { is: Is::Directory, attributes: None };
        assert_eq!(then.differences(&directory), [What::Replaced]);
        assert_eq!(Record::absent().differences(&then), [What::Made]);
    }

    #[test]
    fn a_record_is_read_back() -> Result<(), serde_json::Error> {
        let mut record = changed(|a| a.xattrs.push(Xattr { name: "user.x".into(), value: vec![0, 255] }));
        for is in [record.is.clone(), Is::Symlink { target: "/a%b".into() }, Is::Absent, Is::Way] {
            record.is = is;
            assert_eq!(serde_json::from_str::<Record>(&serde_json::to_string(&record)?)?, record);
        }
        assert!(serde_json::from_str::<Record>(r#"{"is":"absent","more":1}"#).is_err());
        Ok(())
    }
}

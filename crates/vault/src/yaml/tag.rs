//! The tags that a value of ours may have.

/// A tag that is written at a value.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Tag {
    /// `!`, which changes nothing.
    Unspecific,
    Str,
    Null,
    Bool,
    Int,
    Float,
    Timestamp,
    Binary,
    Seq,
    Map,
    /// Of `<<` alone, which go-yaml writes so.
    Merge,
}

const KNOWN: &[(&[u8], Tag)] = &[
    (b"str", Tag::Str),
    (b"null", Tag::Null),
    (b"bool", Tag::Bool),
    (b"int", Tag::Int),
    (b"float", Tag::Float),
    (b"timestamp", Tag::Timestamp),
    (b"binary", Tag::Binary),
    (b"seq", Tag::Seq),
    (b"map", Tag::Map),
    (b"merge", Tag::Merge),
];

/// The tag that is written so; nothing for tags that are not of YAML itself.
pub(super) fn tag_of(written: &[u8]) -> Option<Tag> {
    if written == b"!" {
        return Some(Tag::Unspecific);
    }
    let name = match written.strip_prefix(b"!!") {
        Some(name) => name,
        None => written.strip_prefix(b"!<tag:yaml.org,2002:")?.strip_suffix(b">")?,
    };
    KNOWN.iter().find(|(known, _)| *known == name).map(|(_, tag)| *tag)
}

//! How much of the jail this host really gives, mechanism by mechanism.

use std::collections::BTreeMap;

use serde::Serialize;

/// What a call runs with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Tier {
    /// Namespaces, mounts, Landlock, seccomp and limits.
    Full,
    /// Landlock and seccomp only.
    Landlock,
}

/// How far one mechanism is enforced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Extent {
    /// All of it, with a detail worth knowing.
    Full(&'static str),
    /// Some of it: what is missing.
    Partial(String),
    /// Nothing of it: why.
    None(String),
}

impl std::fmt::Display for Extent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Extent::Full("") => write!(f, "full"),
            Extent::Full(detail) => write!(f, "full ({detail})"),
            Extent::Partial(missing) => write!(f, "partial: {missing}"),
            Extent::None(why) => write!(f, "none: {why}"),
        }
    }
}

impl Serialize for Extent {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Each mechanism by name.
pub type Mechanisms = BTreeMap<&'static str, Extent>;

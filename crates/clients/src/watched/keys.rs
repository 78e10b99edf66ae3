//! Which keys of a settings file are the owner's alone, and which its client may write: rows, and the rule that reads them.
//!
//! Pure. A key is a list of names, never a text with dots in it: a server called `a.b` is one name.

/// What is held of a key and of all below it, until a longer row says otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guard {
    /// A difference is tampering, and is put back.
    Guarded,
    /// As [`Guard::Guarded`]; and where it was not there before, it does not appear either, whatever is in it: an
    /// account, an agent or a server that is new has all the rights that nobody took from it.
    Entry,
    /// It holds grants: a difference is tampering unless nothing is granted any more. `false`, nothing and the empty
    /// list are the same here, as a client writes them of its own accord.
    Grant,
    /// The client's or the user's own; a difference is accepted.
    Free,
}

/// Keys that are held alike: each of `names` below each of `under`. Names are joined by dots, `*` is any one name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keys {
    /// What the names are below; `""` is the file itself.
    pub under: &'static [&'static str],
    /// The names.
    pub names: &'static [&'static str],
    /// What is held of them.
    pub guard: Guard,
    /// For guarded keys: what somebody who writes them gets.
    pub why: &'static str,
}

/// How a settings file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Syntax {
    /// RFC 8259.
    Json,
    /// With comments and trailing commas.
    Jsonc,
    /// All of JSON5.
    Json5,
    /// TOML.
    Toml,
}

/// A settings file that is compared by key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// The client that reads it.
    pub client: &'static str,
    /// How it is written.
    pub syntax: Syntax,
    /// What is held of its keys. A key without a row is free.
    pub keys: &'static [Keys],
    /// What begins a reference in a text: to a variable, a file or a command. One that is new in a free key would carry a
    /// secret to wherever that key goes.
    pub references: &'static [&'static str],
    /// Names that are guarded wherever they stand, since they bring keys from elsewhere.
    pub includes: &'static [&'static str],
}

/// What is held of one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// Of the key itself, and of what is below it without a row of its own.
    pub guard: Guard,
    /// Why, where it is guarded.
    pub why: &'static str,
    /// Whether something below it is held otherwise.
    pub is_mixed: bool,
}

/// Names that JavaScript gives a meaning of its own: a client that merges settings would set a property of every object.
const PROTOTYPE: &[&str] = &["__proto__", "constructor", "prototype"];

impl Settings {
    /// Says what is held of a key.
    #[must_use]
    pub fn held(&self, path: &[String]) -> Held {
        let mut best: Option<(Rank, &Keys)> = None;
        let mut below = Vec::new();
        for row in self.keys {
            for pattern in row.patterns() {
                match pattern.meets(path) {
                    Meets::Covers(rank) if best.as_ref().is_none_or(|(found, _)| rank > *found) => {
                        best = Some((rank, row));
                    }
                    Meets::Below => below.push(row.guard),
                    Meets::Covers(_) | Meets::Not => {}
                }
            }
        }
        let (guard, why) = match best {
            // What is inside an entry may come and go as its own rows say.
            Some(((length, _), row)) if row.guard == Guard::Entry && length < path.len() => (Guard::Guarded, row.why),
            Some((_, row)) => (row.guard, row.why),
            None => (Guard::Free, ""),
        };
        Held { guard, why, is_mixed: below.iter().any(|below| *below != guard) }
    }

    /// Whether a name is guarded wherever it stands.
    #[must_use]
    pub fn is_poison(&self, name: &str) -> bool {
        PROTOTYPE.contains(&name) || self.includes.contains(&name)
    }
}

/// How exactly a row names a key: more names first, then, from the left, a name before `*`.
type Rank = (usize, Vec<bool>);

enum Meets {
    /// The key itself, or something above it.
    Covers(Rank),
    /// Something below it.
    Below,
    Not,
}

struct Pattern {
    under: &'static str,
    name: &'static str,
}

impl Keys {
    fn patterns(&self) -> impl Iterator<Item = Pattern> {
        let names = self.names;
        self.under.iter().flat_map(move |under| names.iter().map(|name| Pattern { under, name }))
    }
}

impl Pattern {
    fn names(&self) -> impl Iterator<Item = &'static str> {
        self.under.split('.').chain(self.name.split('.')).filter(|name| !name.is_empty())
    }

    fn meets(&self, path: &[String]) -> Meets {
        let mut literal = Vec::new();
        for name in self.names() {
            match path.get(literal.len()) {
                None => return Meets::Below,
                Some(found) if name == "*" || found == name => literal.push(name != "*"),
                Some(_) => return Meets::Not,
            }
        }
        Meets::Covers((literal.len(), literal))
    }
}

pub(super) const fn guarded(under: &'static [&'static str], names: &'static [&'static str], why: &'static str) -> Keys {
    Keys { under, names, guard: Guard::Guarded, why }
}

pub(super) const fn entry(under: &'static [&'static str], names: &'static [&'static str], why: &'static str) -> Keys {
    Keys { under, names, guard: Guard::Entry, why }
}

pub(super) const fn grant(under: &'static [&'static str], names: &'static [&'static str], why: &'static str) -> Keys {
    Keys { under, names, guard: Guard::Grant, why }
}

pub(super) const fn free(under: &'static [&'static str], names: &'static [&'static str]) -> Keys {
    Keys { under, names, guard: Guard::Free, why: "" }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: Settings = Settings {
        client: "sample",
        syntax: Syntax::Json5,
        keys: &[
            guarded(&[""], &["a"], "all of it"),
            free(&["a", "a.*"], &["open"]),
            guarded(&["a.open"], &["shut"], "again"),
            entry(&[""], &["list.*"], "a new one"),
            free(&["list.*"], &["open"]),
        ],
        references: &[],
        includes: &["$include"],
    };

    fn held(path: &str) -> (Guard, bool) {
        let path: Vec<String> = path.split('.').filter(|name| !name.is_empty()).map(str::to_owned).collect();
        let held = SAMPLE.held(&path);
        (held.guard, held.is_mixed)
    }

    #[test]
    fn the_longest_row_decides_and_a_name_outranks_a_star() {
        for (path, wanted) in [
            ("", (Guard::Free, true)),
            ("other", (Guard::Free, false)),
            ("other.a.open", (Guard::Free, false)),
            ("a", (Guard::Guarded, true)),
            ("a.x", (Guard::Guarded, true)),
            ("a.x.y", (Guard::Guarded, false)),
            ("a.open", (Guard::Free, true)),
            ("a.open.x", (Guard::Free, false)),
            ("a.open.shut", (Guard::Guarded, false)),
            ("a.open.shut.open", (Guard::Guarded, false)),
            ("a.x.open.y", (Guard::Free, false)),
            ("list", (Guard::Free, true)),
            ("list.x", (Guard::Entry, true)),
            ("list.x.y", (Guard::Guarded, false)),
            ("list.x.open", (Guard::Free, false)),
        ] {
            assert_eq!(held(path), wanted, "{path}");
        }
    }

    #[test]
    fn a_name_with_a_dot_is_one_name() {
        let path = ["a.open".to_owned()];
        assert_eq!(SAMPLE.held(&path).guard, Guard::Free);
        assert_eq!(SAMPLE.held(&["a".into(), "open.x".into()]).guard, Guard::Guarded);
        assert!(SAMPLE.is_poison("__proto__") && SAMPLE.is_poison("$include") && !SAMPLE.is_poison("include"));
    }
}

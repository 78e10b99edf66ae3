//! What must hold for any bytes: shared by the test over the corpus and the fuzz target.

use super::same::is_same_map;
use super::{YamlError, emit, order, parse, scalars};

/// What is read can be written, and then says the same; every comment keeps its path.
pub(crate) fn yaml(bytes: &[u8]) {
    let Ok(branches) = parse(bytes) else {
        assert!(scalars(bytes).is_err());
        return;
    };
    assert!(scalars(bytes).is_ok());
    let text = match emit(&branches) {
        Ok(text) => text,
        Err(YamlError::Deep { .. } | YamlError::TooDeep | YamlError::Large) => return,
        Err(error) => panic!("{error}"),
    };
    let again = parse(text.expose()).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(again.len(), branches.len());
    assert!(again.iter().zip(&branches).all(|(one, other)| is_same_map(one, other)));
    let (mut found, mut known) = (order::comments(&again), order::comments(&branches));
    found.sort_unstable_by(|(a, b), (c, d)| (a, b.expose()).cmp(&(c, d.expose())));
    known.sort_unstable_by(|(a, b), (c, d)| (a, b.expose()).cmp(&(c, d.expose())));
    assert!(found == known, "a comment has another path");
}

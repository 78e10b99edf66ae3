//! Fuzzes one parser of the way out; the property is shared with the test over the corpus.

#![no_main]

#[allow(dead_code, clippy::unwrap_used)]
#[path = "../../crates/egress/tests/corpus/properties.rs"]
mod properties;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| properties::chunks(bytes));

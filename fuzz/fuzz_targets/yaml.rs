//! Fuzzes YAML as SOPS reads it; the property is shared with the test over the corpus.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| mantlet_vault::fuzzing::yaml(bytes));

//! YAML by hand: what go-yaml 3.0.4 and SOPS 3.11 make of ugly texts, what is refused, and what is written.

use super::dump::dump;
use super::{YamlError, emit, parse, property, scalars};
use crate::secret::Secret;
use crate::tree::{Branch, Element, Item, Value};

/// A text, and the documents in it as go-yaml and SOPS's own code on top of it gave them.
#[rustfmt::skip]
const READ: &[(&str, &str)] = &[
    ("# head\n\n# of a\na: 1 # beside\n# last\n", r##"{# head, # of a, # beside, "a": 1, # last}"##),
    ("a: # beside the key\n  b: 1\n", r##"{# beside the key, "a": {"b": 1}}"##),
    ("a:\n  # head of b\n  b: 1\n  # foot of b\nc: 2\n", r##"{"a": {# head of b, "b": 1, # foot of b}, "c": 2}"##),
    ("a:\n  b: 1\n\n  # after an empty line\nc: 2\n", r##"{"a": {"b": 1, # after an empty line}, "c": 2}"##),
    ("a:\n  b:\n    c: 1\n    # of c\n  # of b\n# of a\nd: 2\n", r##"{"a": {"b": {"c": 1, # of c}, # of b}, # of a, "d": 2}"##),
    ("a:\n  b:\n    c: 1\n\n    # of c\n  # of b\n\n# of d\nd: 2\n", r##"{"a": {"b": {"c": 1, # of c}, # of b}, # of d, "d": 2}"##),
    ("l:\n  # head\n  - 1 # beside\n  # between\n  - 2\n  # foot\nm: 1\n", r##"{"l": [# head, # beside, 1, # between, 2, # foot], "m": 1}"##),
    ("l:\n- # of the item\n  a: 1\n# out\n- 2\n", r##"{"l": [{# of the item, "a": 1}, # out, 2]}"##),
    ("l:\n  # of the list\n  - # of the item\n    a: 1\n    # foot\n  - - # deep\n      - 1\n  # gone out\n", r##"{"l": [# of the list, {# of the item, "a": 1, # foot}, [[# deep, 1]]], # gone out}"##),
    ("f: [1, # one\n  2, # two\n  # last\n]\n", r##"{"f": [# one, 1, # two, 2, # last]}"##),
    ("f: {a: 1, # one\n  b: 2\n  # last\n}\n", r##"{"f": {# one, "a": 1, "b": 2, # last}}"##),
    ("t: | # beside\n  # no comment\n  x\n# foot\n", r##"{# beside, "t": "# no comment\nx\n", # foot}"##),
    ("a:\n# less indented\n  b: 1\n    # more indented\nc: 1\n", r##"{"a": {# less indented, "b": 1, # more indented}, "c": 1}"##),
    ("--- # of the document\n# head\na: 1\n# foot\n---\n# only this\n", r##"{# of the document, # head, "a": 1, # only this}; {}"##),
    ("a: 1\n\n\n# far\n\n\n# farther\n", r##"{"a": 1, # far, # farther}"##),
    ("a: x#y\nb: 'x' #y\nc: \"#\" # # z\n", r##"{"a": "x#y", #y, "b": "x", # # z, "c": "#"}"##),
    ("#\na: 1\n#!shebang\n", r##"{#, "a": 1, #!shebang}"##),
    ("a: [010, 0o10, 0x1F, 0b11, 1_000, -0x1, +5, 08, 0_8, -0, 9223372036854775807, -9223372036854775808, 99999999999999999999]\n", r##"{"a": [8, 8, 31, 3, 1000, -1, 5, float 8, float 8, 0, 9223372036854775807, -9223372036854775808, float 100000000000000000000]}"##),
    ("a: [1.0, .5, 5., 1e3, 1E-2, .inf, -.Inf, +.INF, 1e400, ., 1e, 0x1p3, 1.2.3, .1_0]\n", r##"{"a": [float 1, float 0.5, float 5, float 1000, float 0.01, float inf, float -inf, float inf, "1e400", ".", "1e", "0x1p3", "1.2.3", float 0.1]}"##),
    ("a: [yes, No, on, y, true, True, TRUE, tRUE, ~, null, Null, NULL, nULL, 'null']\nb:\n", r##"{"a": ["yes", "No", "on", "y", true, true, true, "tRUE", null, null, null, null, "nULL", "null"], "b": null}"##),
    ("a: [2001-01-01, 2001-1-1 1:2:3, 2001-12-14t21:59:43.10-05:00, 2001-12-14T21:59:43.1234567899Z, 2001-02-30, 2001-1-1T1:2:60Z, 2001-12-14 21:59:43 -5]\n", r##"{"a": [time 2001-01-01T00:00:00Z, time 2001-01-01T01:02:03Z, time 2001-12-14T21:59:43.1-05:00, time 2001-12-14T21:59:43.123456789Z, "2001-02-30", "2001-1-1T1:2:60Z", "2001-12-14 21:59:43 -5"]}"##),
    ("a: [!!str 1, !!int '3', !!float 1, !!bool 'true', !!null '', !!timestamp '2001-01-01', ! 5, ! '5', !<tag:yaml.org,2002:str> x]\nb: !!binary |\n  aGVs\n  bG8=\n", r##"{"a": ["1", 3, float 1, true, null, time 2001-01-01T00:00:00Z, 5, "5", "x"], "b": "hello"}"##),
    ("a: 12:30:45\nb: =\nc: <<\n", r##"{"a": "12:30:45", "b": "=", "c": "<<"}"##),
    ("a: one\n  two\n\n  three\nb: 'it''s\n\n  x'\nc: \"a\\\n  b\\tc \\x41\\u00e9\\U0001F600\\N\\_\\L\\P\\e\\0\"\n", r##"{"a": "one two\nthree", "b": "it's\nx", "c": "ab\tc Aé😀\u{85}\u{a0}\u{2028}\u{2029}\u{1b}\0"}"##),
    ("a: |\n  x\n   y\n\nb: >\n  x\n  y\n\n  z\n   w\n  v\nc: |-\n  x\n\nd: |+\n  x\n\ne: |2\n   x\nf: >-\n\n  x\ng: |\nh: 1\n", r##"{"a": "x\n y\n", "b": "x y\nz\n w\nv\n", "c": "x", "d": "x\n\n", "e": " x\n", "f": "\nx", "g": "", "h": 1}"##),
    ("a: x\u{2028}  y\nb: 'x\u{85}  y'\nc: |\n  x\u{2029}  y\n", r##"{"a": "x\u{2028}y", "b": "x y", "c": "x\u{2029}y\n"}"##),
    ("\u{feff}a: 1\r\nb: |\r\n  x\r\n  y\r\nc: 'x\r\n  y'\r\n", r##"{"a": 1, "b": "x\ny\n", "c": "x y"}"##),
    ("? a\n: 1\n? b\n? 'c'\n:\n  - 1\n", r##"{"a": 1, "b": null, "c": [1]}"##),
    ("a: {x, y: , z: [p: 1, q]}\n\"b\": &b [1]\nc: *b\n", r##"{"a": {"x": null, "y": null, "z": [{"p": 1}, "q"]}, "b": [1], "c": [1]}"##),
    ("base: &base {x: 1}\nd:\n  <<: *base\n  y: 2\n", r##"{"base": {"x": 1}, "d": {"<<": {"x": 1}, "y": 2}}"##),
    ("a: &x # c\n  # d\n  b: 1 # e\nc: *x # f\n", r##"{"a": {# d, # c, # e, "b": 1}, # f, "c": {# d, # c, # e, "b": 1}}"##),
    ("%YAML 1.1\n---\na: 1\n...\n---\n---\n~\n---\n{}\n", r##"{"a": 1}; {}; {}; {}"##),
    ("a:\n- 1\n-\n- - 2\n  -   x: 1\n      y:\n      - 3\n", r##"{"a": [1, null, [2, {"x": 1, "y": [3]}]]}"##),
];

fn read(text: &str) -> Vec<Branch> {
    parse(text.as_bytes()).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

#[test]
fn texts_are_read_as_sops_reads_them() {
    for (text, expected) in READ {
        let documents: Vec<String> = read(text).iter().map(dump).collect();
        assert_eq!(&documents.join("; "), expected, "{text}");
    }
}

#[test]
fn what_is_read_can_be_written() {
    for (text, _) in READ {
        property::yaml(text.as_bytes());
    }
    for seed in 0..3000 {
        property::yaml(super::generate::Generator::document(seed).as_bytes());
    }
}

#[test]
fn the_corpus_holds() {
    let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus/yaml");
    let files: Vec<_> = std::fs::read_dir(corpus).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(files.len() > 50);
    for file in files {
        property::yaml(&std::fs::read(file).unwrap());
    }
}

/// What is refused, and a twin that is not.
#[test]
fn what_sops_would_change_or_refuse_is_refused() {
    let deep = |count: usize| format!("a: {}{}\n", "[".repeat(count), "]".repeat(count));
    let dashes = |count: usize| format!("a:\n {}1\n", "- ".repeat(count));
    let (deep_good, deep_bad) = (deep(90), deep(100_000));
    let (dashes_good, dashes_bad) = (dashes(90), dashes(100_000));
    let laughs = |count: usize| {
        let list =
            |name: usize| format!("a{}: &a{} [{}]\n", name + 1, name + 1, vec![format!("*a{name}"); 9].join(", "));
        format!("a0: &a0 [x]\n{}", (0..count).map(list).collect::<String>())
    };
    let (laughs_good, laughs_bad) = (laughs(3), laughs(9));
    let pairs: &[(&str, &str, &str)] = &[
        ("a: 1\na: 2\n", "a: 1\nb: 2\n", "this key already"),
        ("a: {b: 1, \"b\": 2}\n", "a: {b: 1, c: 2}\n", "this key already"),
        ("1: x\n", "'1': x\n", "not a text"),
        ("~: x\n", "'~': x\n", "not a text"),
        ("? [a]\n: x\n", "? a\n: x\n", "not a text"),
        ("a: &x b\n*x : c\n", "a: &x b\nc: *x\n", "not a text"),
        ("!!binary gIE=: x\n", "!!binary aGk=: x\n", "not a text"),
        ("- a\n", "a: [a]\n", "no list"),
        ("text\n", "a: text\n", "no list"),
        ("a: *x\n", "a: &x 1\nb: *x\n", "no anchor"),
        ("a: &x 1\n---\nb: *x\n", "---\na: &x 1\nb: *x\n", "no anchor"),
        ("a: &x [*x]\n", "a: &x [1]\n", "inside of what"),
        ("a: !mine 1\n", "a: !!str 1\n", "drops this tag"),
        ("%TAG ! tag:x,2000:\n---\na: 1\n", "%YAML 1.1\n---\na: 1\n", "directive"),
        ("%YAML 1.2\n---\na: 1\n", "---\na: 1\n", "directive"),
        ("a: !!int x\n", "a: !!int 1\n", "fit its tag"),
        ("a: !!binary '!'\n", "a: !!binary ''\n", "fit its tag"),
        ("a: !!map [1]\n", "a: !!seq [1]\n", "fit its tag"),
        ("a: 9223372036854775808\n", "a: 9223372036854775807\n", "this size"),
        ("a: 2001-01-01T00:00:00+24:00\n", "a: 2001-01-01T00:00:00+23:00\n", "time zone"),
        ("<<: 1\n", "\"<<\": 1\n", "merges a mapping"),
        ("a: \u{7}\n", "a: \"\\a\"\n", "control character"),
        ("a: \0\n", "a: \"\\0\"\n", "control character"),
        ("a: 'x\n", "a: 'x'\n", "not closed"),
        ("a: \"\\q\"\n", "a: \"\\\\q\"\n", "no such escape"),
        ("a: \"\\ud800\"\n", "a: \"\\ud7ff\"\n", "names no character"),
        ("a:\n\tb: 1\n", "a:\n b:\t1\n", "starts no value"),
        ("a: b: c\n", "a: 'b: c'\n", "cannot start here"),
        ("a: [1, 2\n", "a: [1, 2]\n", "closing bracket"),
        ("", "{}\n", "no document"),
        ("# only\n", "---\n# only\n", "no document"),
        (&deep_bad, &deep_good, "100 deep"),
        (&dashes_bad, &dashes_good, "100 deep"),
        (&laughs_bad, &laughs_good, "100000 values"),
    ];
    for (bad, good, message) in pairs {
        match parse(bad.as_bytes()) {
            Ok(_) => panic!("taken: {bad}"),
            Err(error) => assert!(error.to_string().contains(message), "{error}: {}", bad.get(..40).unwrap_or(bad)),
        }
        read(good);
    }
    for bytes in [&b"a: \xFF\n"[..], b"\xFF\xFEa\0:\0 \x001\0", b"a: \xC3"] {
        assert!(matches!(parse(bytes), Err(YamlError::NotUtf8 { .. })));
    }
}

fn entry(name: &str, value: Value) -> Item {
    Item::Entry(name.into(), value)
}

fn written(branches: &[Branch]) -> String {
    String::from_utf8(emit(branches).unwrap_or_else(|error| panic!("{error}")).expose().to_vec()).unwrap()
}

#[test]
fn a_document_is_written_as_sops_would() {
    let text = "# head\na: text\nb:\n    # inner\n    c: 1\n    # last\n\nd:\n    - x\n    - e: |\n        one\n        two\n      f: []\n    - - 1\n";
    assert_eq!(written(&read(text)), text);
    let branch = vec![
        entry("float", Value::Float(1.0)),
        entry("large", Value::Float(1e6)),
        entry("small", Value::Float(0.00001)),
        entry("none", Value::Float(f64::NEG_INFINITY)),
        entry("time", Value::Time("2001-01-01T00:00:00Z".into())),
        entry("bytes", Value::Text(Secret::new(vec![0xFF, 0xFE]))),
        entry("<<", Value::Text("<<".into())),
        entry("yes", Value::Null),
        entry(&"k".repeat(129), Value::List(vec![Element::Value(Value::Bool(true))])),
        entry("", Value::Map(Vec::new())),
    ];
    let long = "k".repeat(129);
    let expected = format!(
        "float: 1\nlarge: 1e+06\nsmall: 1e-05\nnone: -.inf\ntime: 2001-01-01T00:00:00Z\nbytes: !!binary \"//4=\"\n\
         \"<<\": \"<<\"\n\"yes\": null\n? {long}\n:\n    - true\n\"\": {{}}\n"
    );
    assert_eq!(written(&[branch]), expected);
    assert_eq!(written(&read("a: 1\n---\nb: 2\n")), "a: 1\n---\nb: 2\n");
}

/// Texts that some reader takes for something else, alone or beside another.
#[rustfmt::skip]
const PARTS: &[&str] = &[
    "a", "1", "0", "-", ".", ":", " ", "\n", "\t", "#", "'", "\"", "\\", "e", "+", "_", "~", "y", "No",
    "null", "true", "<<", "=", ".inf", "[", "}", ",", "?", "&", "*", "!", "|", ">", "%", "@", "`", "\r",
    "\u{85}", "\u{2028}", "\u{FEFF}", "\0", "\u{7F}", "\u{A0}", "é", "😀", "2001-01-01", "12:30", "---", "...",
    "0x", "\n\n",
];

/// Every text comes back as it was, whatever a reader could take it for.
#[test]
fn texts_are_written_so_that_they_stay_texts() {
    let text = |one: &str, two: &str| format!("{one}{two}");
    for one in PARTS {
        let list = PARTS.iter().map(|two| Element::Value(Value::Text(text(one, two).as_str().into()))).collect();
        let names = PARTS.iter().map(|two| entry(&text(one, two), Value::Null)).collect();
        let branch = vec![entry("list", Value::List(list)), entry("names", Value::Map(names))];
        let shown = dump(&branch);
        let again = written(&[branch]);
        assert_eq!(dump(&read(&again)[0]), shown, "{again}");
    }
}

#[test]
fn what_cannot_be_written_is_refused() {
    let comment = |text: &str| vec![Item::Comment(text.into()), entry("a", Value::Null)];
    assert!(matches!(emit(&[comment("one\nb: 2")]), Err(YamlError::Comment)));
    assert!(matches!(emit(&[comment("one\u{2028}b: 2")]), Err(YamlError::Comment)));
    assert_eq!(written(&[comment(" one")]), "# one\na: null\n");
    let time = |text: &str| vec![entry("a", Value::Time(text.into()))];
    assert!(matches!(emit(&[time("x\nb: 2")]), Err(YamlError::NoMoment)));
    assert!(matches!(emit(&[time("2001-01-01")]), Err(YamlError::NoMoment)));
    let mut deep = Value::Null;
    for _ in 0..200 {
        deep = Value::List(vec![Element::Value(deep)]);
    }
    assert!(matches!(emit(&[vec![entry("a", deep)]]), Err(YamlError::TooDeep)));
    let twice = vec![entry("a", Value::Null), entry("a", Value::Null)];
    assert!(matches!(emit(&[twice]), Err(YamlError::Twice { .. })));
}

/// What a rewritten file would lose shows in the values as they stand.
#[test]
fn what_is_lost_shows() {
    let is_kept = |text: &str| {
        let sources = |text: &[u8]| -> Vec<(String, Vec<u8>)> {
            let found = scalars(text).unwrap_or_else(|error| panic!("{error}"));
            found.into_iter().map(|scalar| (scalar.path, scalar.source.expose().to_vec())).collect()
        };
        sources(text.as_bytes()) == sources(written(&read(text)).as_bytes())
    };
    for kept in ["8", "'010'", "1.5", "~", "", "true", "\"x\"", "|\n  x\n", "[1, {b: c}]", "!!str 1", "{}", "x # c"] {
        assert!(is_kept(&format!("a: {kept}\n")), "{kept}");
    }
    for lost in
        ["010", "1.0", "0x1F", "1_000", "2001-01-01", "1e3", "&x 1", "&x {b: 1}", "!!float 1", "!!binary aGk=", "+1"]
    {
        assert!(!is_kept(&format!("a: {lost}\n")), "{lost}");
    }
    assert!(!is_kept("a: &x 1\nb: *x\n"));
    assert!(!is_kept("a: 99999999999999999999\n"));
}

//! The edits over many settings files made up by a generator with a fixed seed: comments, unknown keys, odd layout.

use serde_json::{Value, json};

use super::*;

/// xorshift: the same files in every run.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % sides as u64).unwrap()
    }

    fn of<'t>(&mut self, texts: &[&'t str]) -> &'t str {
        texts[self.roll(texts.len())]
    }
}

const NAMES: &[&str] = &["hooks", "env", "PreToolUse", "model", "sandbox", "x y", "\u{fc}", "permissions", "a"];

/// White space, and comments where the dialect has them.
fn gap(dice: &mut Dice, format: Format, newline: &str) -> String {
    let comments = format != Format::Json;
    let mut out = dice.of(&["", "", " ", "  "]).to_owned();
    match dice.roll(6) {
        0 => out += newline,
        1 => out += &format!("{newline}\t "),
        2 if comments => out += "/* a \"b\" // c */",
        3 if comments => out += &format!("// it's, {{ a: [comment{newline}"),
        _ => {}
    }
    out
}

fn json_value(dice: &mut Dice, format: Format, depth: usize, newline: &str) -> String {
    let kinds = if depth > 3 { 4 } else { 8 };
    match dice.roll(kinds) {
        0 => dice.of(&["true", "null", "-1.5e3", "0"]).to_owned(),
        1 if format == Format::Json5 => dice.of(&["'it\\'s'", "0x1F", ".5", "+Infinity", "'a\\\nb'"]).to_owned(),
        1..=3 => dice.of(&["\"text\"", "\"\\\"}\\u00fc\"", "\"//\"", "\"\""]).to_owned(),
        4 | 5 => {
            let count = dice.roll(4);
            let parts: Vec<String> = (0..count).map(|_| json_value(dice, format, depth + 1, newline)).collect();
            container(dice, format, '[', ']', &parts, newline)
        }
        _ => json_object(dice, format, depth, newline),
    }
}

fn json_object(dice: &mut Dice, format: Format, depth: usize, newline: &str) -> String {
    let mut names: Vec<&str> = Vec::new();
    for _ in 0..dice.roll(5) {
        let name = dice.of(NAMES);
        // What we want to be an object stays one, or the edit is refused, which is another test.
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let mut parts = Vec::new();
    for name in names {
        let value = match name {
            "hooks" | "env" | "sandbox" => json_object(dice, format, depth + 1, newline),
            "PreToolUse" => "[]".to_owned(),
            _ => json_value(dice, format, depth + 1, newline),
        };
        let is_bare = format == Format::Json5 && !name.contains(' ') && dice.roll(2) == 0;
        let key = if is_bare { name.to_owned() } else { format!("\"{name}\"") };
        parts.push(format!("{key}{}:{}{value}", gap(dice, format, newline), gap(dice, format, newline)));
    }
    container(dice, format, '{', '}', &parts, newline)
}

fn container(dice: &mut Dice, format: Format, open: char, close: char, parts: &[String], newline: &str) -> String {
    let mut out = open.to_string();
    for (at, part) in parts.iter().enumerate() {
        out += &gap(dice, format, newline);
        out += part;
        out += &gap(dice, format, newline);
        let is_last = at + 1 == parts.len();
        if !is_last || (format != Format::Json && dice.roll(3) == 0) {
            out.push(',');
        }
    }
    out + &gap(dice, format, newline) + &close.to_string()
}

pub(crate) fn json_file(dice: &mut Dice, format: Format) -> String {
    let newline = dice.of(&["\n", "\n", "\r\n"]);
    let mark = dice.of(&["", "", "", "\u{feff}"]);
    let body = json_object(dice, format, 0, newline);
    format!("{mark}{}{body}{}", gap(dice, format, newline), dice.of(&["", "\n", "\r\n", "\n\n"]))
}

pub(crate) fn toml_file(dice: &mut Dice) -> String {
    let ends = [dice.of(&["\n", "\n", "\r\n"]), dice.of(&["\n", "\r\n"])];
    let mut out = dice.of(&["", "", "\u{feff}"]).to_owned();
    let mut tables = vec![""];
    tables.extend(
        ["[env]", "[ mcp_servers . \"x y\" ]  # c", "[[profiles]]", "[[profiles]]", "[sandbox]"]
            .iter()
            .take(dice.roll(6)),
    );
    for table in tables {
        if !table.is_empty() {
            out += table;
            out += ends[dice.roll(2)];
        }
        for name in ["model", "\"x y\"", "a.b", "list"].iter().take(dice.roll(5)) {
            if dice.roll(3) == 0 {
                out += dice.of(&["# comment [x] = \"y\"", "  ", ""]);
                out += ends[dice.roll(2)];
            }
            let value = dice.of(&[
                "1_000",
                "'it'",
                "\"\"\"\na\\\n b\"\"\"",
                "[ 1,\n  2, # two\n]",
                "{ x = 1 }",
                "1979-05-27",
                "0x1f",
            ]);
            let tail = dice.of(&["", "", " # why", "   "]);
            out += &format!(
                "{}{name}{}={} {value}{tail}",
                dice.of(&["", "  "]),
                dice.of(&["", " "]),
                dice.of(&["", "  "])
            );
            out += ends[dice.roll(2)];
        }
    }
    if dice.roll(3) == 0 { out.trim_end().to_owned() } else { out }
}

fn path(text: &str) -> Vec<String> {
    text.split('/').map(str::to_owned).collect()
}

fn ops() -> Vec<Op> {
    let hook = json!({"matcher": "*", "hooks": [{"type": "command", "command": "/usr/bin/mantlet", "args": ["hook", "claude"], "timeout": 10}]});
    vec![
        Op::Append { path: path("hooks/PreToolUse"), value: hook.clone() },
        Op::Append { path: path("hooks/PostToolUse"), value: hook },
        Op::Set { path: path("env/CLAUDE_CODE_SHELL_PREFIX"), value: json!("/usr/bin/mantlet") },
        Op::Set { path: path("sandbox/enabled"), value: json!(false) },
        Op::Set { path: path("allowManagedHooksOnly"), value: json!(true) },
    ]
}

/// Whether the client would find what was asked for.
fn holds(text: &str, format: Format) -> bool {
    ops().iter().all(|op| {
        let (Op::Set { path, value } | Op::Append { path, value }) = op else { return false };
        let Ok(Some((now, _))) = get(text.trim_start_matches(MARK), format, path) else { return false };
        now == *value || now.as_array().is_some_and(|list| list.contains(value))
    })
}

fn meaning(text: &str, format: Format) -> Value {
    let Ok(found) = get(text.trim_start_matches(MARK), format, &[]) else { panic!("{text}") };
    found.map_or_else(|| json!({}), |(value, _)| value)
}

fn files(format: Format) -> Vec<String> {
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    (0..500)
        .map(|_| match format {
            Format::Toml => toml_file(&mut dice),
            _ => json_file(&mut dice, format),
        })
        .filter(|text| apply(text, format, &[]).is_ok() && get(text.trim_start_matches(MARK), format, &[]).is_ok())
        .collect()
}

const FORMATS: [Format; 4] = [Format::Json, Format::Jsonc, Format::Json5, Format::Toml];

fn comments(text: &str) -> usize {
    text.matches("/* a \"b\" // c */").count() + text.matches("// it's, {").count() + text.matches("# ").count()
}

#[test]
fn edits_say_what_is_meant_keep_the_rest_and_are_idempotent() {
    for format in FORMATS {
        let files = files(format);
        assert!(files.len() > 350, "{format:?}: only {} files", files.len());
        for text in files {
            let (edited, undos) = apply(&text, format, &ops()).unwrap_or_else(|error| panic!("{error}\n{text}"));
            assert!(holds(&edited, format), "{format:?}\n{text}\n---\n{edited}");
            assert_eq!(comments(&edited), comments(&text), "{text}\n---\n{edited}");
            let (again, none) = apply(&edited, format, &ops()).unwrap_or_else(|error| panic!("{error}\n{edited}"));
            assert_eq!((again.as_str(), none.len()), (edited.as_str(), 0));
            let back = take_back(&edited, format, &undos).unwrap_or_else(|error| panic!("{error}\n{edited}"));
            assert_eq!(meaning(&back, format), meaning(&text, format), "{text}\n---\n{edited}\n---\n{back}");
            assert_eq!(comments(&back), comments(&text), "{text}\n---\n{back}");
            // Taking back twice takes nothing that is not ours.
            assert_eq!(take_back(&back, format, &undos).ok().as_deref(), Some(back.as_str()));
        }
    }
}

#[test]
fn somebody_elses_edit_in_between_stays() {
    let foreign = [
        Op::Set { path: path("theirs/key"), value: json!({"a": [1, "x"]}) },
        Op::Append {
            path: path("hooks/PreToolUse"),
            value: json!({"matcher": "Bash", "hooks": [{"type": "command"}]}),
        },
        Op::Set { path: path("sandbox/enabled"), value: json!(true) },
    ];
    for format in FORMATS {
        for text in files(format).iter().take(200) {
            let (ours, undos) = apply(text, format, &ops()).unwrap_or_else(|error| panic!("{error}\n{text}"));
            let (both, _) = apply(&ours, format, &foreign).unwrap_or_else(|error| panic!("{error}\n{ours}"));
            let back = take_back(&both, format, &undos).unwrap_or_else(|error| panic!("{error}\n{both}"));
            let (theirs, _) = apply(text, format, &foreign).unwrap_or_else(|error| panic!("{error}\n{text}"));
            assert_eq!(meaning(&back, format), meaning(&theirs, format), "{text}\n---\n{both}\n---\n{back}");
        }
    }
}

#[test]
fn texts_that_were_replaced_come_back_also_when_lines_were_added() {
    let text = "A=1\nB=secret\nC='x\ny'\n\u{e4}\nB=secret\n";
    let replace = |at: usize, old: &str, new: &str| Op::Replace { at, old: old.into(), new: new.into() };
    let at = |what: &str| text.find(what).unwrap();
    let ops = [
        replace(at("C="), "C='x\ny'", "# C"),
        replace(at("B="), "B=secret", "# B"),
        replace(text.rfind("B=").unwrap(), "B=secret", "# B"),
    ];
    let (with, undos) = apply(text, Format::Plain, &ops).unwrap();
    assert_eq!(with, "A=1\n# B\n# C\n\u{e4}\n# B\n");
    assert_eq!(take_back(&with, Format::Plain, &undos).unwrap(), text);
    let longer = format!("NEW=1\nMORE=2\n{with}LAST=3\n");
    assert_eq!(take_back(&longer, Format::Plain, &undos).unwrap(), format!("NEW=1\nMORE=2\n{text}LAST=3\n"));
    // Somebody took one of them out: the others come back, and nothing else is touched.
    assert_eq!(take_back("A=1\n# C\n", Format::Plain, &undos[..]).unwrap(), "A=1\nC='x\ny'\n");
    for wrong in [replace(0, "B", "# B"), replace(0, "A", ""), replace(4000, "B", "# B")] {
        assert_eq!(apply(text, Format::Plain, &[wrong]), Err(EditError::Moved));
    }
    // A history need not be text.
    let (bytes, undos) = replace_bytes(b"\xff key \xfe", &[replace(2, "key", "[masked]")]);
    assert_eq!(bytes, b"\xff [masked] \xfe");
    assert_eq!(put_back(&bytes, &undos), b"\xff key \xfe");
}

fn replace_bytes(bytes: &[u8], ops: &[Op]) -> (Vec<u8>, Vec<Undo>) {
    super::replace(bytes, ops).unwrap()
}

#[test]
fn what_was_removed_comes_back_unless_somebody_put_something_there() {
    let text = "{\n  \"a\": {\"k\": 'x', \"z\": 1},\n}";
    let ops = [Op::Remove { path: vec!["a".into(), "k".into()] }, Op::Remove { path: vec!["absent".into()] }];
    let (with, undos) = apply(text, Format::Json5, &ops).unwrap();
    assert_eq!((with.as_str(), undos.len()), ("{\n  \"a\": {\"z\": 1},\n}", 1));
    assert_eq!(take_back(&with, Format::Json5, &undos).unwrap(), "{\n  \"a\": {\"z\": 1, \"k\": 'x'},\n}");
    for theirs in ["{\"a\": {\"k\": 2}}", "{\"b\": 1}"] {
        assert_eq!(take_back(theirs, Format::Json5, &undos).unwrap(), theirs);
    }
}

#[test]
fn a_file_is_read_as_one_value() {
    assert_eq!(value("\u{feff}{a: [1], /* c */}", Format::Json5).unwrap(), Some(json!({"a": [1]})));
    assert_eq!(
        value("a = 1\n[b]\nc = 2020-01-01\n", Format::Toml).unwrap(),
        Some(json!({"a": 1, "b": {"c": "\0" .to_owned() + "2020-01-01"}}))
    );
    assert_eq!(value(" \n", Format::Json).unwrap(), None);
    assert!(value("{", Format::Json).is_err() && value("a = 1\na = 2\n", Format::Toml).is_err());
}

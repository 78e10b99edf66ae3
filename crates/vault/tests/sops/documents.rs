//! Documents to try: generated ones from a seed, and hand-picked ugly ones.

use std::fmt::Write as _;

use mantlet_vault::Format;

/// Numbers from a seed (splitmix64), so that a failure can be run again.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: usize) -> Random {
        Random(seed as u64 ^ 0x6d_616e_746c_6574)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % bound as u64).unwrap()
    }

    fn of<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        choices[self.below(choices.len())]
    }
}

const NAMES: &[&str] =
    &["A", "b", "b_s", "key_open", "x1", "API_KEY", "long name", "ü", "a.b", "q'q", "e", "_unencrypted"];
const TEXTS: &[&str] = &[
    "",
    "x",
    "hunter2",
    "two words",
    " leading",
    "trailing ",
    "'quoted'",
    "\"double\"",
    "a=b=c",
    "a\\nb",
    "#no comment",
    "x # y",
    "ü€😀",
    "true",
    "null",
    "~",
    "1",
    "1.0",
    "0x1F",
    "010",
    "2001-01-01",
    "- a",
    "a: b",
    "a:",
    "[x]",
    "{x}",
    "*a",
    "&a",
    "!a",
    "%a",
    "@a",
    "`a",
    "|",
    ">",
    "?",
    "-",
    ":",
    "---",
    "...",
    "<<",
    "=",
    "y",
    "No",
    "on",
    "1e3",
    ".5",
    "1_000",
    "0b1",
    "0o7",
    ".inf",
    ".nan",
    "12:30:45",
    "\\",
    "\\\\n",
    "$HOME",
    "a\tb",
    "ENC[x]",
    "sops",
];
const COMMENTS: &[&str] =
    &["", " a comment", " public", " secret ones follow", "!tight", " trailing space ", "#double"];

pub(crate) fn dotenv(random: &mut Random) -> Vec<u8> {
    let mut text = String::new();
    for _ in 0..random.below(6) {
        let end = if random.below(8) == 0 { "\r\n" } else { "\n" };
        match random.below(8) {
            0 => text.push('\n'),
            1 => write!(text, "#{}{end}", random.of(COMMENTS)).unwrap(),
            2 => write!(text, "export {}=\"{}\"{end}", random.of(NAMES), random.of(TEXTS)).unwrap(),
            _ => write!(text, "{}={}{end}", random.of(NAMES), random.of(TEXTS)).unwrap(),
        }
    }
    text.into_bytes()
}

pub(crate) fn json(random: &mut Random, depth: usize) -> String {
    let string = |text: &str| serde_json::Value::from(text).to_string();
    match random.below(if depth == 0 { 5 } else { 8 }) {
        0 => random.of(&["null", "true", "false"]).into(),
        1 => random
            .of(&[
                "0",
                "-0",
                "1",
                "-1",
                "1.0",
                "1.50",
                "1e3",
                "1E-7",
                "1e-6",
                "1e20",
                "1e21",
                "-2.5e-300",
                "0.1",
                "123456789012345678",
                "9007199254740993",
                "18446744073709551616",
                "5e-324",
                "1.7976931348623157e308",
            ])
            .into(),
        2 => random
            .of(&[r#""\u00e9\u2028<>&""#, r#""\b\f\n\r\t\"\\\/""#, r#""\ud83d\ude00""#, r#""\u007f\u0000""#])
            .into(),
        3 | 4 => string(random.of(TEXTS)),
        5 => {
            let parts: Vec<String> = (0..random.below(4)).map(|_| json(random, depth - 1)).collect();
            format!("[{}]", parts.join(", "))
        }
        _ => {
            let part = |random: &mut Random| format!("{}: {}", string(random.of(NAMES)), json(random, depth - 1));
            let parts: Vec<String> = (0..random.below(5)).map(|_| part(random)).collect();
            format!("{{{}}}", parts.join(", "))
        }
    }
}

/// A mapping, indented, each name once.
pub(crate) fn yaml(random: &mut Random, indent: usize, depth: usize) -> String {
    let pad = " ".repeat(indent);
    let mut text = String::new();
    let count = 1 + random.below(4);
    for index in 0..count {
        if random.below(4) == 0 {
            writeln!(text, "{pad}#{}", random.of(COMMENTS)).unwrap();
        }
        if random.below(6) == 0 {
            text.push('\n');
        }
        let name = format!("{}{index}", random.of(&["k", "b", "x_s", "key_open", "A"]));
        match random.below(if depth == 0 { 4 } else { 7 }) {
            0..=3 => {
                let value = yaml_scalar(random);
                // At an empty list or mapping sops loses a comment, and we do not.
                let is_empty = ["[]", "{}"].contains(&value.as_str());
                let tail = if !is_empty && random.below(5) == 0 { " # inline" } else { "" };
                writeln!(text, "{pad}{name}: {value}{tail}").unwrap();
            }
            4 => {
                writeln!(text, "{pad}{name}: {}", random.of(&["|\n", "|-\n", ">\n", "|+\n"]).trim_end()).unwrap();
                for line in ["first line", "  deeper", "", "# not a comment", "last"] {
                    let line = if line.is_empty() { String::new() } else { format!("{pad}  {line}") };
                    writeln!(text, "{line}").unwrap();
                }
            }
            5 => {
                writeln!(text, "{pad}{name}:").unwrap();
                for _ in 0..=random.below(3) {
                    if random.below(4) == 0 {
                        writeln!(text, "{pad}  #{}", random.of(COMMENTS)).unwrap();
                    }
                    writeln!(text, "{pad}  - {}", yaml_scalar(random)).unwrap();
                }
            }
            _ => write!(text, "{pad}{name}:\n{}", yaml(random, indent + 2, depth - 1)).unwrap(),
        }
    }
    text
}

fn yaml_scalar(random: &mut Random) -> String {
    match random.below(4) {
        0 => random
            .of(&[
                "1",
                "-1",
                "1.5",
                "true",
                "false",
                "null",
                "~",
                "0x1F",
                "010",
                "0o17",
                "1e3",
                "2001-01-01",
                "plain text",
                "2001-12-14t21:59:43.10-05:00",
                "[1, two, 'three']",
                "{a: 1, b: [x]}",
                "[]",
                "{}",
                "yes",
                "0.1",
                "1_000",
            ])
            .into(),
        1 => format!("'{}'", random.of(TEXTS).replace('\'', "''")),
        2 => serde_json::Value::from(random.of(TEXTS)).to_string(),
        _ => random.of(&["hunter2", "two words", "a-b", "a.b", "/path/x", "http://x/y?z=1", "x#y"]).into(),
    }
}

const UGLY_DOTENV: &[&str] = &[
    "",
    "\n\n",
    "#",
    "# only\n",
    "A",
    "A=",
    "=x",
    "A=1\nA=2\n",
    "\u{feff}A=1\n",
    "A=1\r\nB=2\r\n",
    "A='multi\nline'\n",
    " A=1",
    "A =1",
    "#A=1\n=\n",
    "A=\\n\\n",
    "A=\u{0}x\n",
    "export A=1\n",
    "A=1 # c\n",
];
const UGLY_JSON: &[&str] = &[
    "{}",
    "[]",
    "1",
    "",
    "{\"a\":{}}",
    "{\"a\":[]}",
    "{\"\":\"x\"}",
    "{\"a\":1,\"a\":2}",
    "{\"a\":[[[[1]]]]}",
    "{\"a\":\"\\u0000\"}",
    "{\"a\": 1e400}",
    "{\"sops\": {}}",
    "{\"a\":1}\n\n",
    "\u{feff}{}",
    "{\"a\":[null,\"\"]}",
];
const UGLY_YAML: &[&str] = &[
    "a: 1\n",
    "",
    "# only\n",
    "- a\n",
    "a\n",
    "1: x\n",
    "a: &x 1\nb: *x\n",
    "a: 1\na: 2\n",
    "a: |\n  x\n  y\n\nb: >-\n  x\n  y\n",
    "a: 1\n---\nb: 2\n",
    "---\na: 1\n...\n",
    "a: !!str 1\n",
    "a: 'x''y'\n",
    "a: \"\\u00e9\\n\"\n",
    "\"a b\": x\n",
    "? a\n: b\n",
    "a:\n- 1\n# c\n- 2\n",
    "a: 1 # c\nb: 2\n# foot\n",
    "# head\n\n# second\na: 1\n",
    "a:\n  # in\n  b: 1\n# out\nc: 2\n",
    "a: 18446744073709551615\n",
    "a: 9223372036854775807\n",
    "a: .inf\nb: -.INF\nc: .nan\n",
    "a: 0777\nb: 0o777\nc: 0b11\n",
    "a: y\nb: Yes\nc: on\nd: True\n",
    "a: 2001-12-14 21:59:43.10 -5\n",
    "a: \u{feff}x\n",
    "a: \"\"\nb: ''\nc:\n",
    "a: [1,\n # c\n 2]\n",
    "a: {b: 1, c: [2, {d: 3}]}\n",
    "a: 1\r\nb: 2\r\n",
    "a: \"x\\\n  y\"\n",
    "a: ~\n",
    "a: !!binary aGk=\n",
    "<<: {a: 1}\nb: 2\n",
    "a: - b\n",
    "a: x: y\n",
    "\ta: 1\n",
    "a: 'unfinished\n",
    "{a: 1}\n",
    "a: @x\n",
    "a: %x\n",
    "%YAML 1.1\n---\na: 1\n",
];

/// What broke somebody's tool once.
pub(crate) fn ugly() -> Vec<(Format, Vec<u8>)> {
    let texts = [(Format::Dotenv, UGLY_DOTENV), (Format::Json, UGLY_JSON), (Format::Yaml, UGLY_YAML)];
    let all =
        texts.into_iter().flat_map(|(format, texts)| texts.iter().map(move |text| (format, text.as_bytes().to_vec())));
    let not_utf8 = [(Format::Dotenv, b"A=\xff\xfe\n".to_vec()), (Format::Yaml, b"a: \xff\n".to_vec())];
    all.chain(not_utf8).collect()
}

/// A file with lines swapped, dropped, doubled, renamed, moved, or a byte changed.
pub(crate) fn tampered(sealed: &[u8], random: &mut Random) -> Vec<u8> {
    let mut lines: Vec<Vec<u8>> = sealed.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
    let (one, other) = (random.below(lines.len()), random.below(lines.len()));
    match random.below(7) {
        0 => lines.swap(one, other),
        1 => drop(lines.remove(one)),
        2 => {
            let line = lines[one].clone();
            lines.insert(other, line);
        }
        3 | 4 => {
            let at = random.below(lines[one].len());
            lines[one][at] = b"AZaz09=+/\"#: x"[random.below(14)];
        }
        5 => {
            // The values of two lines, under each other's names.
            let cut = |line: &[u8]| line.iter().position(|byte| b"=:".contains(byte)).unwrap_or(0);
            let (a, b) = (lines[one].clone(), lines[other].clone());
            lines[one] = [&a[..cut(&a)], &b[cut(&b)..]].concat();
            lines[other] = [&b[..cut(&b)], &a[cut(&a)..]].concat();
        }
        _ => {
            let text = String::from_utf8_lossy(sealed).replacen("20", "19", 1 + random.below(3));
            return text.into_bytes();
        }
    }
    lines.concat()
}

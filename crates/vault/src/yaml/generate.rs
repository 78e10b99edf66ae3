//! Documents from a seed, for tests: every style of scalar, comments and empty lines at every place and indentation.

use std::fmt::Write as _;

/// Numbers from a seed (splitmix64), so that a failure can be run again.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % bound as u64).unwrap()
    }

    fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }
}

/// `@` stands for one column more than the block around it.
const SCALARS: &[&str] = &[
    "1",
    "a",
    "b c",
    "010",
    "1.0",
    "'q'",
    r#""d\n""#,
    r#""x: y""#,
    "null",
    "~",
    "true",
    "yes",
    "0x1F",
    "1_000",
    "2001-01-01",
    "2001-1-1 1:2:3",
    "2001-12-14t21:59:43.10-05:00",
    "-0",
    "1e3",
    ".5",
    "<<",
    "-1",
    "+1",
    "0o17",
    "0b11",
    "9223372036854775807",
    "99999999999999999999",
    "!!str 1",
    "!!int '3'",
    "!!float 1",
    "!!binary aGk=",
    "!!binary //4=",
    "! 5",
    "multi word\n@ text",
    "'sq\n@ two\n\n@ three'",
    "\"dq\n@ \\\n@ x\"",
    "|\n@ lit\n@  more\n\n",
    "|-\n@ l1\n@ l2\n",
    ">\n@ f1\n@ f2\n\n@ f3\n",
    "|+\n@ k\n\n\n",
    "[a, 'b']",
    "{a: 1}",
    "[]",
    "{}",
    "[1, [2, {x: y}]]",
    "[a: 1, b]",
    "{a: [1], b: }",
    "a#b",
    "http://x",
    "é\u{2028}z",
    "[a,\n@ b, # in\n@ c]",
    "{a: 1, # in\n@ b: 2\n@ # end\n@}",
    "0_8",
    "08",
    "1:30",
    "=",
    "-.inf",
    ".NaN",
    "0x",
];
const NAMES: &[&str] = &["a", "b", "c", "d", "'e'", "\"f\"", "g h", "y", "-i", "é"];

/// What documents are made with.
pub(super) struct Generator {
    random: Random,
    out: String,
    comments: usize,
}

impl Generator {
    /// A document, and no more than that: without `---`.
    pub(super) fn document(seed: u64) -> String {
        let mut generator = Generator { random: Random(seed), out: String::new(), comments: 0 };
        generator.gap(0);
        let depth = generator.random.below(4);
        generator.map(0, depth);
        generator.out
    }

    fn is_one_of(&mut self, count: usize) -> bool {
        self.random.below(count) == 0
    }

    fn comment(&mut self) {
        self.comments += 1;
        let form = self.random.of(&["", " ", "# ", "!"]);
        let end = self.random.of(&["", "", "  ", " # x"]);
        write!(self.out, "#{form}{}{end}", self.comments).unwrap();
    }

    fn gap(&mut self, column: usize) {
        if self.is_one_of(2) {
            return;
        }
        for _ in 0..self.random.of(&[1, 1, 1, 2, 3]) {
            if self.is_one_of(3) {
                self.out.push('\n');
            }
            if !self.is_one_of(4) {
                let other = [0, 2, 4, column + 1, column + 2, column.saturating_sub(2)];
                let at = if self.is_one_of(2) { self.random.of(&other) } else { column };
                self.out.push_str(&" ".repeat(at));
                self.comment();
                self.out.push('\n');
            }
        }
        if self.is_one_of(3) {
            self.out.push('\n');
        }
    }

    fn line_end(&mut self) {
        if self.is_one_of(7) {
            self.out.push(' ');
            self.comment();
        }
        self.out.push('\n');
    }

    fn map(&mut self, column: usize, depth: usize) {
        let first = self.random.below(NAMES.len());
        for at in 0..self.random.of(&[1, 1, 2, 3]) {
            if at > 0 {
                self.gap(column);
            }
            if at > 0 || column == 0 || self.out.ends_with('\n') {
                self.out.push_str(&" ".repeat(column));
            }
            let name = NAMES[(first + at) % NAMES.len()];
            if self.is_one_of(40) {
                write!(self.out, "? {name}\n{}:", " ".repeat(column)).unwrap();
            } else {
                write!(self.out, "{name}:").unwrap();
            }
            let flush = self.is_one_of(3);
            self.value(column, depth, usize::from(!flush));
        }
        if self.is_one_of(3) {
            self.gap(column);
        }
    }

    fn list(&mut self, column: usize, depth: usize) {
        for at in 0..self.random.of(&[1, 1, 2, 3]) {
            if at > 0 {
                self.gap(column);
            }
            if at > 0 || self.out.ends_with('\n') {
                self.out.push_str(&" ".repeat(column));
            }
            self.out.push('-');
            match self.random.below(10) {
                0 | 1 if depth > 0 => {
                    self.out.push(' ');
                    self.map(column + 2, depth - 1);
                }
                2 if depth > 0 => {
                    self.out.push(' ');
                    self.list(column + 2, depth - 1);
                }
                _ => self.value(column, depth, 1),
            }
        }
        if self.is_one_of(3) {
            self.gap(column);
        }
    }

    fn value(&mut self, column: usize, depth: usize, least: usize) {
        let step = self.random.of(&[1, 2, 2, 3, 4, 4]);
        match self.random.below(10) {
            0..3 if depth > 0 => {
                self.line_end();
                self.gap(column + step);
                self.map(column + step, depth - 1);
            }
            3 | 4 if depth > 0 => {
                self.line_end();
                self.gap(column + step);
                self.list(column + step * least, depth - 1);
            }
            5 => self.line_end(),
            _ => {
                let scalar = self.random.of(SCALARS).replace('@', &" ".repeat(column + 1));
                self.out.push(' ');
                match scalar.split_once('\n').filter(|_| scalar.starts_with(['|', '>'])) {
                    Some((indicators, lines)) => {
                        self.out.push_str(indicators);
                        self.line_end();
                        self.out.push_str(lines);
                    }
                    None => {
                        self.out.push_str(&scalar);
                        self.line_end();
                    }
                }
            }
        }
    }
}

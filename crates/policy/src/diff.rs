//! A unified diff between two versions of a small file. Pure.

use std::path::Path;

const CONTEXT: usize = 3;

/// Returns one hunk from the first to the last line that differs; nothing when none does.
pub fn unified(old: &str, new: &str, name: &Path) -> String {
    if old == new {
        return String::new();
    }
    let (a, b): (Vec<&str>, Vec<&str>) = (old.split_inclusive('\n').collect(), new.split_inclusive('\n').collect());
    let prefix = a.iter().zip(&b).take_while(|(x, y)| x == y).count();
    let rest = a.len().min(b.len()) - prefix;
    let suffix = a.iter().rev().zip(b.iter().rev()).take(rest).take_while(|(x, y)| x == y).count();
    let start = prefix.saturating_sub(CONTEXT);
    let tail = suffix.min(CONTEXT);
    let (a_end, b_end) = (a.len() - suffix, b.len() - suffix);
    let name = crate::place::show(name);
    let from = if old.is_empty() { "/dev/null" } else { &name };
    let mut out = format!("--- {from}\n+++ {name}\n");
    out += &format!("@@ -{} +{} @@\n", range(start, a_end + tail - start), range(start, b_end + tail - start));
    a[start..prefix].iter().for_each(|text| line(&mut out, ' ', text));
    a[prefix..a_end].iter().for_each(|text| line(&mut out, '-', text));
    b[prefix..b_end].iter().for_each(|text| line(&mut out, '+', text));
    a[a_end..a_end + tail].iter().for_each(|text| line(&mut out, ' ', text));
    out
}

fn range(start: usize, count: usize) -> String {
    match count {
        0 => format!("{start},0"),
        1 => (start + 1).to_string(),
        _ => format!("{},{count}", start + 1),
    }
}

fn line(out: &mut String, sign: char, text: &str) {
    out.push(sign);
    out.push_str(text);
    if !text.ends_with('\n') {
        out.push_str("\n\\ No newline at end of file\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn diffs_are_what_diff_writes() {
        let name = Path::new("f");
        assert_eq!(unified("a\n", "a\n", name), "");
        assert_eq!(unified("", "a\n", name), "--- /dev/null\n+++ f\n@@ -0,0 +1 @@\n+a\n");
        assert_eq!(
            unified("1\n2\n3\n4\n5\n6\n7\n8\n", "1\n2\n3\n4\nx\n5\n6\n7\n8\n", name),
            "--- f\n+++ f\n@@ -2,6 +2,7 @@\n 2\n 3\n 4\n+x\n 5\n 6\n 7\n"
        );
        assert_eq!(
            unified("a", "a\nb", name),
            "--- f\n+++ f\n@@ -1 +1,2 @@\n-a\n\\ No newline at end of file\n+a\n+b\n\\ No newline at end of file\n"
        );
        assert_eq!(unified("a\na\n", "a\na\na\n", name), "--- f\n+++ f\n@@ -1,2 +1,3 @@\n a\n a\n+a\n");
    }
}

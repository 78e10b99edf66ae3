//! The threat model's table against the attack cases: what a cell names exists, and gaps are numbered once.

use std::collections::BTreeSet;
use std::fs;

use mantlet_house::top;

fn model() -> String {
    let text = fs::read_to_string(top().join("THREAT-MODEL.md"));
    assert!(text.is_ok(), "THREAT-MODEL.md: {text:?}");
    text.unwrap_or_default()
}

/// The ids of all cases in the corpus.
fn cases() -> BTreeSet<String> {
    let Ok(corpus) = fs::read_dir(top().join("crates/probe/corpus")) else {
        return BTreeSet::new();
    };
    let texts = corpus.flatten().filter_map(|entry| fs::read_to_string(entry.path()).ok());
    let ids = |text: String| -> Vec<String> {
        let lines =
            text.lines().filter_map(|line| line.trim().strip_prefix("id = \"")?.strip_suffix('"').map(str::to_owned));
        lines.collect()
    };
    texts.flat_map(ids).collect()
}

/// The cells of the tables between their marks: rows of assets, columns of ways.
fn cells() -> Vec<(String, String)> {
    let text = model();
    let tables = text.split("<!-- table: begin -->").skip(1).filter_map(|t| t.split("<!-- table: end -->").next());
    let rows = tables.flat_map(|table| table.lines().filter(|l| l.starts_with('|')).skip(2));
    rows.flat_map(|row| {
        let mut parts = row.trim_matches('|').split('|').map(|c| c.trim().to_owned());
        let asset = parts.next().unwrap_or_default();
        parts.map(move |cell| (asset.clone(), cell)).collect::<Vec<_>>()
    })
    .collect()
}

#[test]
fn every_case_in_the_table_exists() {
    let cases = cases();
    let cells = cells();
    assert!(cells.len() >= 40, "the table has only {} cells", cells.len());
    for (asset, cell) in cells {
        // `case-id` in code marks; a gap as G-01; a dash where the way does not lead to the asset.
        let named: Vec<&str> = cell.split('`').skip(1).step_by(2).collect();
        for id in &named {
            assert!(cases.contains(*id), "{asset}: no case {id:?} in crates/probe/corpus");
        }
        let is_spoken_for =
            !named.is_empty() || cell.contains("G-") || cell == "–" || cell.starts_with("not yet tested");
        assert!(is_spoken_for, "{asset}: the cell {cell:?} names no case, no gap, and does not say `not yet tested`");
    }
}

#[test]
fn every_gap_that_is_named_is_described_once() {
    let text = model();
    let described: Vec<&str> = text
        .lines()
        .filter_map(|l| l.strip_prefix("- **")?.split("**").next())
        .filter(|id| id.starts_with("G-"))
        .collect();
    let distinct: BTreeSet<&str> = described.iter().copied().collect();
    assert_eq!(described.len(), distinct.len(), "a gap is described twice: {described:?}");
    for document in ["THREAT-MODEL.md", "README.md", "ARCHITECTURE.md"] {
        let text = fs::read_to_string(top().join(document)).unwrap_or_default();
        for (at, _) in text.match_indices("G-") {
            let id = text.get(at..at + 4).unwrap_or_default();
            let is_id = id.get(2..).is_some_and(|n| n.len() == 2 && n.bytes().all(|b| b.is_ascii_digit()));
            assert!(!is_id || distinct.contains(id), "{document} names {id}, which no gap describes");
        }
    }
}

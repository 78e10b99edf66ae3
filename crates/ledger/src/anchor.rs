//! A head of the ledger as it is kept elsewhere: one line of JSON for each. Pure.

use serde::{Deserialize, Serialize};

use crate::Head;

/// One line of a file of heads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Anchored {
    /// The version of this format: 1.
    pub v: u32,
    /// When it was kept, RFC 3339 in UTC.
    pub time: String,
    /// The host whose ledger it is.
    pub host: String,
    /// The entry.
    #[serde(flatten)]
    pub head: Head,
}

/// Why a line is no head.
#[derive(Debug, thiserror::Error)]
#[error("line {number} of the heads is none: {source}")]
pub struct NoHead {
    number: usize,
    source: serde_json::Error,
}

/// Reads the heads of one host out of a file of them.
///
/// # Errors
/// When a line is no head: whoever can write it must not hide one behind a broken line.
pub fn read_heads(text: &str, host: &str) -> Result<Vec<Head>, NoHead> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let read = |(at, line): (usize, &str)| {
        serde_json::from_str::<Anchored>(line).map_err(|source| NoHead { number: at + 1, source })
    };
    let heads: Vec<Anchored> = lines.map(read).collect::<Result<_, _>>()?;
    Ok(heads.into_iter().filter(|kept| kept.host == host).map(|kept| kept.head).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_of_several_hosts_are_told_apart() {
        let line = |host: &str, seq| {
            let head = Head { seq, hash: "a".repeat(64) };
            serde_json::to_string(&Anchored { v: 1, time: "t".into(), host: host.into(), head }).unwrap()
        };
        let text = format!("{}\n{}\n\n{}\n", line("one", 3), line("two", 4), line("one", 5));
        let heads = read_heads(&text, "one").unwrap();
        assert_eq!(heads.iter().map(|head| head.seq).collect::<Vec<_>>(), [3, 5]);
        assert!(read_heads(&format!("{text}broken"), "one").is_err());
    }
}

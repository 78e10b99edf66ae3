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

/// What a file of heads holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Heads {
    /// Those of the host that was asked for.
    pub heads: Vec<Head>,
    /// How many lines are none: torn by a power cut, or somebody's.
    pub broken: usize,
}

/// Why a file of heads cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum NoHead {
    /// No line of it is one.
    #[error("none of {lines} lines is a head")]
    Broken {
        /// How many lines there are.
        lines: usize,
    },
    /// All heads are of other hosts: nothing is known of this one.
    #[error("the heads are of {hosts}, and none is of {host}\nhint: a host that was renamed has its old name there")]
    OtherHost {
        /// Whose there are.
        hosts: String,
        /// Whose were wanted.
        host: String,
    },
}

/// Reads the heads of one host out of a file of them.
///
/// # Errors
/// When there are lines, and none is a head, or all are of other hosts: nothing would be compared, and that is no yes.
pub fn read_heads(text: &str, host: &str) -> Result<Heads, NoHead> {
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let read: Vec<Anchored> = lines.iter().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let broken = lines.len() - read.len();
    if !lines.is_empty() && read.is_empty() {
        return Err(NoHead::Broken { lines: broken });
    }
    if !read.is_empty() && read.iter().all(|kept| kept.host != host) {
        let hosts: std::collections::BTreeSet<String> =
            read.iter().map(|kept| crate::escape(kept.host.as_bytes())).collect();
        let hosts = hosts.into_iter().take(5).collect::<Vec<_>>().join(", ");
        return Err(NoHead::OtherHost { hosts, host: host.into() });
    }
    let heads = read.into_iter().filter(|kept| kept.host == host).map(|kept| kept.head).collect();
    Ok(Heads { heads, broken })
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
        let heads = read_heads(&text, "one").unwrap().heads;
        assert_eq!(heads.iter().map(|head| head.seq).collect::<Vec<_>>(), [3, 5]);
        let torn = read_heads(&format!("{text}{{\"v\":1,\n{text}"), "one").unwrap();
        assert_eq!((torn.heads.len(), torn.broken), (4, 1));
        assert!(matches!(read_heads("broken\n", "one"), Err(NoHead::Broken { lines: 1 })));
        assert!(matches!(read_heads(&text, "three"), Err(NoHead::OtherHost { .. })));
        assert_eq!(read_heads("", "three").unwrap(), Heads::default());
    }
}

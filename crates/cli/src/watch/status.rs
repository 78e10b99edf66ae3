//! What a watch holds, as JSON and in sentences.

use mantlet_ledger::escape;
use mantlet_watch::Watch;
use serde_json::{Value, json};

/// What the watch holds at this moment.
pub(super) fn of(watch: &Watch) -> Value {
    let status = watch.status();
    let paths = |paths: &[std::path::PathBuf]| -> Vec<String> {
        paths.iter().map(|path| escape(path.as_os_str().as_encoded_bytes())).collect()
    };
    json!({
        "v": 1,
        "pid": std::process::id(),
        "paths": status.paths,
        "watched": status.watched,
        "unwatched": paths(&status.unwatched),
        "names_culprits": status.names_culprits,
        "undone": status.undone,
        "standing": paths(&status.standing),
        "locked": paths(&status.locked),
        "overflows": status.overflows,
        "rescans": status.rescans,
        "key": status.key,
    })
}

/// The same for a person. What differs and stands comes first: it is why one asks.
pub(super) fn sentences(status: &Value) -> String {
    let number = |key: &str| status.get(key).and_then(Value::as_u64).unwrap_or(0);
    let list = |key: &str| -> Vec<String> {
        let items = status.get(key).and_then(Value::as_array);
        items.into_iter().flatten().filter_map(|item| item.as_str().map(|text| escape(text.as_bytes()))).collect()
    };
    let mut text = String::new();
    for (key, what) in [
        ("standing", "DIFFERS, and cannot be put back"),
        ("locked", "locked after too many tries"),
        ("unwatched", "looked at by interval only"),
    ] {
        for path in list(key) {
            text.push_str(&format!("{what}: {path}\n"));
        }
    }
    let culprits = match status.get("names_culprits").and_then(Value::as_bool) {
        Some(true) => "who changes something is named",
        _ => "who changes something is not known (that needs CAP_SYS_ADMIN)",
    };
    text.push_str(&format!(
        "watches {} paths, {} of them by events; {} changes undone since its start; {culprits}\n",
        number("paths"),
        number("watched"),
        number("undone")
    ));
    text
}

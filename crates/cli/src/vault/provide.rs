//! `mantlet vault provide`: OpenClaw asks for secrets by their names, on standard input, and gets them on standard output.
//!
//! The exec provider of OpenClaw 2026.9.x, protocol version 1. Nothing else is ever written to standard output.

use std::io::Read as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::Args;
use mantlet_vault::Opened;
use mantlet_vault::tree::{Step, Value, find};
use serde::Deserialize;
use serde_json::{Map, json};

use super::output::write;
use super::{Kind, config_home, load, open};

/// Answer OpenClaw's requests for secrets: its exec provider for SecretRefs
///
/// Reads one request from standard input, `{"protocolVersion":1,"provider":"...","ids":["..."]}`, and answers with the
/// values of these names. `mantlet vault import openclaw` writes the settings that call this.
#[derive(Debug, Clone, Args)]
pub(crate) struct ProvideArgs {
    /// The encrypted file (default: vault/openclaw.sops.json in Mantlet's settings)
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
}

/// As much as OpenClaw sends at most.
const MAX_REQUEST: u64 = 256 << 10;
const MAX_IDS: usize = 512;

/// Where the values that were imported are.
pub(super) fn default_file() -> anyhow::Result<PathBuf> {
    Ok(config_home()?.join("mantlet/vault/openclaw.sops.json"))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    protocol_version: u64,
    ids: Vec<String>,
}

pub(super) fn run(args: &ProvideArgs) -> anyhow::Result<ExitCode> {
    let mut text = Vec::new();
    std::io::stdin().take(MAX_REQUEST + 1).read_to_end(&mut text).context("cannot read the request")?;
    let request = parse(&text)?;
    let path = match &args.file {
        Some(path) => path.clone(),
        None => default_file()?,
    };
    let answer = answer(&open(&path, load(&path, Some(Kind::Json))?)?, &request)?;
    write(answer.as_bytes())
}

/// Bounded, one value, and a version that is known: anything else is no request.
fn parse(text: &[u8]) -> anyhow::Result<Request> {
    if text.len() as u64 > MAX_REQUEST {
        bail!("the request is larger than {MAX_REQUEST} bytes");
    }
    // What is wrong with it is not quoted: it came from somebody else.
    let Ok(request) = serde_json::from_slice::<Request>(text) else {
        bail!("standard input is no request of OpenClaw's exec provider");
    };
    if request.protocol_version != 1 {
        bail!("protocol version {} is not known; 1 is", request.protocol_version);
    }
    if request.ids.len() > MAX_IDS {
        bail!("the request names more than {MAX_IDS} values");
    }
    Ok(request)
}

fn answer(opened: &Opened, request: &Request) -> anyhow::Result<String> {
    let (mut values, mut errors) = (Map::new(), Map::new());
    for id in &request.ids {
        let path = [Step::Name(id.clone())];
        let value = opened.branches().iter().find_map(|branch| find(branch, &path));
        let text = opened.get(&path).context("a value cannot be written")?;
        let value = match (value, &text) {
            (Some(Value::Text(text)), _) => text.expose_text().map(serde_json::Value::from),
            (Some(_), Some(text)) => serde_json::from_slice(text.expose()).ok(),
            _ => None,
        };
        match value {
            Some(value) => values.insert(id.clone(), value),
            None => errors.insert(id.clone(), json!({"code": "NOT_FOUND"})),
        };
    }
    Ok(json!({"protocolVersion": 1, "values": values, "errors": errors}).to_string())
}

#[cfg(test)]
mod tests {
    use mantlet_vault::{Format, Identity, MacOver, Plan, Rule, Sealed, encrypt_file};

    use super::*;

    fn opened(text: &str) -> Opened {
        let identity = Identity::generate();
        let plan = Plan { rule: Rule::default(), over: MacOver::Everything, recipients: vec![identity.recipient()] };
        let sealed = encrypt_file(text.as_bytes(), Format::Json, &plan).unwrap();
        assert!(!String::from_utf8_lossy(&sealed).contains("canary"));
        let Ok(opened) = Sealed::parse(&sealed, Format::Json).unwrap().open(&[identity]) else { panic!("closed") };
        opened
    }

    #[test]
    fn names_get_their_values_and_others_an_error() {
        let file = opened(r#"{"a/b.c:d": "canary \"1\"", "account": {"n": 1}, "number": 5, "empty": ""}"#);
        let ids = ["a/b.c:d", "account", "number", "empty", "absent", "sops", "account/n", "a"].map(str::to_owned);
        let said = answer(&file, &Request { protocol_version: 1, ids: ids.into() }).unwrap();
        let said: serde_json::Value = serde_json::from_str(&said).unwrap();
        let none = json!({"code": "NOT_FOUND"});
        let wanted = json!({
            "protocolVersion": 1,
            "values": {"a/b.c:d": "canary \"1\"", "account": {"n": 1}, "number": 5, "empty": ""},
            "errors": {"absent": none, "sops": none, "account/n": none, "a": none},
        });
        assert_eq!(said, wanted);
    }

    #[test]
    fn what_is_no_request_is_refused() {
        assert_eq!(parse(br#"{"protocolVersion":1,"provider":"mantlet","ids":["a"],"new":0}"#).unwrap().ids, ["a"]);
        let many = json!({"protocolVersion": 1, "ids": vec!["a"; MAX_IDS + 1]}).to_string();
        let large = json!({"protocolVersion": 1, "ids": ["a".repeat(300 << 10)]}).to_string();
        for text in [
            "",
            "{}",
            "[]",
            r#"{"protocolVersion":2,"ids":[]}"#,
            r#"{"protocolVersion":"1","ids":[]}"#,
            r#"{"protocolVersion":1,"ids":[1]}"#,
            r#"{"protocolVersion":1,"ids":[]} {}"#,
            r#"{"protocolVersion":1,"protocolVersion":1,"ids":[]}"#,
            &many,
            &large,
        ] {
            assert!(parse(text.as_bytes()).is_err(), "{}", &text[..text.len().min(80)]);
        }
    }
}

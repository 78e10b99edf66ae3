//! `openclaw.json`: which of its keys hold a credential, and which name a variable that does.

use std::collections::BTreeMap;

use mantlet_clients::json::{Node, Shape};
use mantlet_clients::openclaw::{ConfigSecret, ENV_SECRETS, MARKERS, config_secret};
use mantlet_vault::Secret;

use super::survey::Value;

/// What the configuration says about credentials.
#[derive(Default)]
pub(super) struct Reading {
    /// Credentials in the clear, where a SecretRef can stand.
    pub(super) plain: Vec<(Vec<String>, Value, &'static ConfigSecret)>,
    /// Keys that a SecretRef can stand in, and that name a variable.
    pub(super) named: Vec<(Vec<String>, String)>,
    /// Variables that are also used where no SecretRef can stand, and where.
    pub(super) elsewhere: BTreeMap<String, String>,
    /// Variables that the configuration sets itself.
    pub(super) set: Vec<(Vec<String>, String, Secret)>,
    /// What looks like a credential where no SecretRef can stand.
    pub(super) unfit: Vec<String>,
    /// Keys with a SecretRef to a file or to OpenClaw's own store, and which.
    pub(super) stored: Vec<(String, String)>,
    /// Other files that the configuration is put together from.
    pub(super) includes: bool,
    /// Names of auth profiles: OpenClaw writes one where a key could stand.
    profiles: Vec<String>,
}

/// Reads the configuration, or a copy of it.
pub(super) fn read(root: &Node) -> Reading {
    let profiles = match root.member("auth").and_then(|auth| auth.member("profiles")).map(|node| &node.shape) {
        Some(Shape::Object(items)) => items.iter().map(|item| item.name.clone()).collect(),
        _ => Vec::new(),
    };
    let mut reading = Reading { profiles, ..Reading::default() };
    reading.node(root, &mut Vec::new());
    reading
}

impl Reading {
    fn node(&mut self, node: &Node, path: &mut Vec<String>) {
        let names: Vec<&str> = path.iter().map(String::as_str).collect();
        match (&node.shape, config_secret(&names)) {
            (Shape::Text(text), Some(row)) => self.credential(text, path, row),
            (Shape::Object(_), Some(row)) => self.reference(node, path, row),
            (Shape::Text(text), None) => self.text(text, path),
            (Shape::Object(items), None) if names != ["secrets", "providers"] => {
                for item in items {
                    self.includes |= item.name == "$include";
                    path.push(item.name.clone());
                    self.node(&item.value, path);
                    path.pop();
                }
            }
            (Shape::Array(items), _) => {
                for (index, item) in items.iter().enumerate() {
                    path.push(index.to_string());
                    self.node(&item.value, path);
                    path.pop();
                }
            }
            (Shape::Object(_) | Shape::Word(_), _) => {}
        }
    }

    fn credential(&mut self, text: &str, path: &[String], row: &'static ConfigSecret) {
        if let Some(name) = variable(text, path) {
            self.named.push((path.to_vec(), name));
        } else if text.contains("${") {
            self.text(text, path);
        } else if !is_marker(text) && !self.profiles.iter().any(|name| name == text) && is_sensitive(path, row) {
            self.plain.push((path.to_vec(), Secret::from(text).into(), row));
        }
    }

    fn reference(&mut self, node: &Node, path: &[String], row: &'static ConfigSecret) {
        let text = |name: &str| match node.member(name).map(|node| &node.shape) {
            Some(Shape::Text(text)) => Some(text.clone()),
            _ => None,
        };
        match (text("source").as_deref(), text("id")) {
            (Some("env"), Some(id)) => self.named.push((path.to_vec(), id)),
            (Some("exec"), _) => {}
            (Some(source @ ("file" | "store")), _) => self.stored.push((path.join("."), source.to_owned())),
            // An object in the clear: a service account.
            _ => {
                let text = Secret::from(plain(node).to_string().as_str());
                self.plain.push((path.to_vec(), Value { text, is_json: true }, row));
            }
        }
    }

    fn text(&mut self, text: &str, path: &[String]) {
        let names: Vec<&str> = path.iter().map(String::as_str).collect();
        if let ["env", "vars", name] | ["env", name] = names[..]
            && !text.is_empty()
        {
            self.set.push((path.to_vec(), name.to_owned(), Secret::from(text)));
            return;
        }
        for name in variables(text) {
            self.elsewhere.entry(name.to_owned()).or_insert_with(|| path.join("."));
        }
        let key = path.iter().rev().find(|name| name.parse::<usize>().is_err()).map_or("", String::as_str);
        let is_variable = variable(text, path).is_some() || text.contains("${");
        if !is_variable && !is_marker(text) && !mantlet_dlp::findings(format!("{key}={text}").as_bytes()).is_empty() {
            self.unfit.push(path.join("."));
        }
    }
}

/// The value as JSON has it.
fn plain(node: &Node) -> serde_json::Value {
    match &node.shape {
        Shape::Object(items) => items.iter().map(|item| (item.name.clone(), plain(&item.value))).collect(),
        Shape::Array(items) => items.iter().map(|item| plain(&item.value)).collect(),
        Shape::Text(text) => text.as_str().into(),
        Shape::Word(word) => serde_json::from_str(word).unwrap_or(serde_json::Value::Null),
    }
}

/// The one variable that a text stands for: `${NAME}`, `$NAME`, or for a model's key the bare name, as OpenClaw once wrote.
fn variable(text: &str, path: &[String]) -> Option<String> {
    let inner = text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}')).or_else(|| text.strip_prefix('$'));
    if let Some(name) = inner.filter(|name| is_name(name)) {
        return Some(name.to_owned());
    }
    let is_key = path.first().is_some_and(|name| name == "models");
    (is_key && ENV_SECRETS.iter().any(|row| row.name == text)).then(|| text.to_owned())
}

fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_uppercase() || c == '_')
        && name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
}

/// Every `${NAME}` in a text; `$${NAME}` is none.
fn variables(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices("${") {
        let name = text[at + 2..].split('}').next().unwrap_or_default();
        if !text[..at].ends_with('$') && is_name(name) {
            found.push(name);
        }
    }
    found
}

fn is_marker(text: &str) -> bool {
    text.trim().is_empty()
        || MARKERS.contains(&text)
        || text.starts_with("oauth:")
        || text.starts_with("secretref-")
        || ENV_SECRETS.iter().any(|row| row.name == text)
}

/// Of headers only those that log in; the words are OpenClaw's.
fn is_sensitive(path: &[String], row: &ConfigSecret) -> bool {
    const LOGS_IN: &[&str] =
        &["authorization", "api-key", "apikey", "token", "secret", "password", "credential", "cookie"];
    let name = path.last().map(|name| name.to_lowercase()).unwrap_or_default();
    !row.path.ends_with(".headers.*") || LOGS_IN.iter().any(|word| name.contains(word))
}

#[cfg(test)]
mod tests {
    use mantlet_clients::json::{Dialect, parse};

    use super::*;

    #[test]
    fn keys_are_told_by_what_stands_in_them() {
        let text = r#"{
            // mine
            gateway: { auth: { token: 'canary-1' }, port: 1 },
            models: { providers: {
                a: { apiKey: "canary-2", headers: { Authorization: "canary-3", Accept: "all" } },
                b: { apiKey: "${B_KEY}" }, c: { apiKey: { source: "env", provider: "default", id: "C_KEY" } },
                d: { apiKey: "OPENAI_API_KEY" }, e: { apiKey: "ollama-local" }, f: { apiKey: "x-${F_KEY}" },
                g: { apiKey: { source: "exec", provider: "p", id: "i" } }, h: { apiKey: { source: "store", id: "H" } },
                i: { apiKey: "i:manual" },
            } },
            channels: { googlechat: { serviceAccount: { private_key: "canary-4" } } },
            auth: { profiles: { "i:manual": { provider: "i", mode: "api_key" } } },
            env: { vars: { MY_TOKEN: "canary-5" } },
            hooks: { token: "canary-6-long-enough", path: "/hooks" },
            mcp: { servers: { x: { url: "https://h/${PATH_KEY}", env: { Y_TOKEN: "canary-7-long-enough" } } } },
            secrets: { providers: { p: { source: "exec", env: { Z_TOKEN: "canary-8-long-enough" } } } },
        }"#;
        let reading = read(&parse(text, Dialect::Json5).unwrap().unwrap());
        let plain: Vec<_> = reading.plain.iter().map(|(path, _, row)| (path.join("."), row.opens)).collect();
        let wanted = [
            ("gateway.auth.token", "this gateway"),
            ("models.providers.a.apiKey", "a model provider"),
            ("models.providers.a.headers.Authorization", "a model provider"),
            ("channels.googlechat.serviceAccount", "Google Chat"),
        ];
        assert_eq!(plain, wanted.map(|(path, opens)| (path.to_owned(), opens)));
        assert!(reading.plain[3].1.is_json);
        let named: Vec<_> = reading.named.iter().map(|(path, name)| (path[2].as_str(), name.as_str())).collect();
        assert_eq!(named, [("b", "B_KEY"), ("c", "C_KEY"), ("d", "OPENAI_API_KEY")]);
        assert_eq!(reading.elsewhere.keys().collect::<Vec<_>>(), ["F_KEY", "PATH_KEY"]);
        assert_eq!(reading.set.iter().map(|(_, name, _)| name.as_str()).collect::<Vec<_>>(), ["MY_TOKEN"]);
        assert_eq!(reading.unfit, ["hooks.token", "mcp.servers.x.env.Y_TOKEN"]);
        assert_eq!(reading.stored, [("models.providers.h.apiKey".to_owned(), "store".to_owned())]);
        assert!(!reading.includes && read(&parse("{a: {$include: 'b'}}", Dialect::Json5).unwrap().unwrap()).includes);
    }
}

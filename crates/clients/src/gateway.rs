//! Whether OpenClaw's gateway, as it is set up, asks who comes before it does what they say. Pure.
//!
//! The attack: a port that other machines can reach, in front of a gateway that takes everybody for its owner. This reads
//! what the owner set up, after OpenClaw 2026.9; it is no wall against a gateway that is already somebody else's.

use crate::json::{self, Dialect, Node, Shape};

/// Whether a gateway authenticates. Whoever decides by it takes only the first for a yes.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Authentication {
    /// It asks for a token, a password, or the word of a proxy that it trusts.
    Authenticates,
    /// It does not, and this is why.
    None(&'static str),
    /// These settings do not say.
    Unknown(&'static str),
}
use Authentication::{Authenticates, None as Open, Unknown};

/// What published instructions have where a secret belongs, and what scripts leave there when they have none.
const KNOWN_TO_ALL: &[&str] =
    &["change-me-to-a-long-random-token", "change-me-now", "change-me-to-a-strong-password", "undefined", "null"];

/// Says whether the gateway authenticates that is started by these words, with the text of its `openclaw.json` and in an
/// environment that `variable` reads.
pub fn authentication(settings: &str, words: &[String], variable: &dyn Fn(&str) -> Option<String>) -> Authentication {
    let text = settings.strip_prefix('\u{feff}').unwrap_or(settings);
    let root = match json::parse(text, Dialect::Json5) {
        Ok(Some(node)) => node,
        Ok(None) => return Unknown("its settings are empty"),
        Err(_) => return Unknown("its settings cannot be read"),
    };
    let gateway = member(Some(&root), "gateway");
    let auth = member(gateway, "auth");
    for part in [Some(&root), gateway, auth].into_iter().flatten() {
        if part.member("$include").is_some() {
            return Unknown("a part of its settings is in another file");
        }
        if !matches!(part.shape, Shape::Object(_)) {
            return Unknown("its settings have another shape than OpenClaw's");
        }
    }
    let (token_set, password_set) = (member(auth, "token"), member(auth, "password"));
    let password = secret(words, "--password", password_set, "OPENCLAW_GATEWAY_PASSWORD", variable);
    let mode = match (flag(words, "--auth"), member(auth, "mode").map(|node| &node.shape)) {
        (Some(mode), _) => mode,
        (None, Some(Shape::Text(mode))) => mode.as_str(),
        (None, Some(_)) => return Unknown("`gateway.auth.mode` is no text"),
        (None, None) if token_set.is_some() && password_set.is_some() => {
            return Unknown("it has a token and a password, and `gateway.auth.mode` does not say which counts");
        }
        (None, None) if !matches!(password, Open(_)) => "password",
        (None, None) => "token",
    };
    match mode {
        "none" => Open("its mode of authentication is `none`"),
        "token" => secret(words, "--token", token_set, "OPENCLAW_GATEWAY_TOKEN", variable),
        "password" => password,
        "trusted-proxy" => match member(member(auth, "trustedProxy"), "userHeader").map(|node| &node.shape) {
            Some(Shape::Text(header)) if !header.trim().is_empty() => Authenticates,
            _ => Unknown("its mode is `trusted-proxy`, and no header names the user"),
        },
        _ => Unknown("it has a mode of authentication that is not known"),
    }
}

/// A member that is there and says something.
fn member<'n>(node: Option<&'n Node>, name: &str) -> Option<&'n Node> {
    node?.member(name).filter(|found| !matches!(&found.shape, Shape::Word(word) if word == "null"))
}

/// The value behind an option, in both spellings; the last one counts.
fn flag<'w>(words: &'w [String], name: &str) -> Option<&'w str> {
    let after = |(at, word): (usize, &'w String)| match word.strip_prefix(name)? {
        "" => words.get(at + 1).map(String::as_str),
        rest => rest.strip_prefix('='),
    };
    words.iter().enumerate().filter_map(after).next_back()
}

/// Whether there is a secret: on the command line, in the settings, or in the environment, in this order.
fn secret(
    words: &[String],
    option: &str,
    set: Option<&Node>,
    name: &str,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Authentication {
    if let Some(text) = flag(words, option).filter(|text| !text.trim().is_empty()) {
        return judged(text);
    }
    if flag(words, &format!("{option}-file")).is_some() {
        return Authenticates;
    }
    match set.map(|node| &node.shape) {
        Some(Shape::Text(text)) if text.contains("${") => {
            let named = text.trim().strip_prefix("${").and_then(|rest| rest.strip_suffix('}'));
            match named.and_then(variable).filter(|value| !value.trim().is_empty()) {
                Some(value) => judged(&value),
                None => Unknown("its secret names a variable that is not set"),
            }
        }
        Some(Shape::Text(text)) if !text.trim().is_empty() => judged(text),
        None | Some(Shape::Text(_)) => match variable(name).filter(|value| !value.trim().is_empty()) {
            Some(value) => judged(&value),
            None => Open("no token and no password is set"),
        },
        // A reference to where the secret is: the gateway does not start without it.
        Some(Shape::Object(_)) if ["source", "id"].iter().all(|part| member(set, part).is_some()) => Authenticates,
        Some(_) => Unknown("its secret is neither a text nor a reference"),
    }
}

fn judged(secret: &str) -> Authentication {
    match KNOWN_TO_ALL.contains(&secret.trim()) {
        true => Open("its secret is one that everybody knows"),
        false => Authenticates,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(authentication: &Authentication) -> &'static str {
        match authentication {
            Authenticates => "yes",
            Open(_) => "none",
            Unknown(_) => "unknown",
        }
    }

    #[test]
    fn settings_say_whether_the_gateway_asks_who_comes() {
        for (settings, words, environment, wanted) in [
            // No authentication, or none that the owner could know of.
            ("{}", "", "", "none"),
            ("{gateway: {bind: 'lan'}}", "", "", "none"),
            ("{gateway: {auth: {mode: 'none'}}}", "", "", "none"),
            ("{gateway: {auth: {mode: 'none', token: 'abc'}}}", "", "OPENCLAW_GATEWAY_TOKEN=abc", "none"),
            ("{gateway: {auth: {mode: 'token'}}}", "", "", "none"),
            ("{gateway: {auth: {mode: 'token', password: 'abc'}}}", "", "", "none"),
            ("{gateway: {auth: {mode: 'token', token: ' '}}}", "", "", "none"),
            ("{gateway: {auth: {mode: 'password'}}}", "", "", "none"),
            ("{gateway: {auth: {mode: 'password', token: 'abc'}}}", "", "OPENCLAW_GATEWAY_TOKEN=abc", "none"),
            ("{gateway: {auth: {token: 'change-me-now'}}}", "", "", "none"),
            ("{gateway: {auth: {token: 'undefined'}}}", "", "", "none"),
            ("{gateway: {token: 'abc', remote: {token: 'abc'}}}", "", "", "none"),
            ("{gateway: {auth: {mode: 'token', token: 'abc'}}}", "openclaw gateway --auth none", "", "none"),
            ("{gateway: {auth: {mode: 'token', token: 'abc'}}}", "openclaw gateway --auth=none", "", "none"),
            // The last of two counts, as it does for OpenClaw.
            ("{gateway: {auth: {mode: 'token', token: 'abc', mode: 'none'}}}", "", "", "none"),
            ("{gateway: {auth: {mode: 'token', token: 'abc'}}, gateway: {}}", "", "", "none"),
            // A comment sets nothing.
            ("{gateway: {auth: {mode: 'none' /*, mode: 'token', token: 'abc' */}}}", "", "", "none"),
            // Authentication.
            ("{gateway: {auth: {mode: 'token', token: 'abc'}}}", "", "", "yes"),
            ("// mine\n{\"gateway\": {\"auth\": {\"token\": \"abc\",},},}", "", "", "yes"),
            ("\u{feff}{gateway: {auth: {token: 'abc'}}}", "", "", "yes"),
            ("{gateway: {auth: {password: 'abc'}}}", "", "", "yes"),
            ("{gateway: {auth: {mode: 'password', password: 'abc'}}}", "", "", "yes"),
            ("{}", "", "OPENCLAW_GATEWAY_TOKEN=abc", "yes"),
            ("{}", "", "OPENCLAW_GATEWAY_PASSWORD=abc", "yes"),
            ("{gateway: {auth: {mode: 'password', password: ''}}}", "", "OPENCLAW_GATEWAY_PASSWORD=abc", "yes"),
            ("{gateway: {auth: {token: '${MY_TOKEN}'}}}", "", "MY_TOKEN=abc", "yes"),
            ("{gateway: {auth: {token: {source: 'file', provider: 'default', id: 'a'}}}}", "", "", "yes"),
            ("{}", "openclaw gateway run --token abc", "", "yes"),
            ("{}", "openclaw gateway run --password-file=/x", "", "yes"),
            ("{gateway: {auth: {mode: 'none'}}}", "openclaw gateway --auth token --token=abc", "", "yes"),
            ("{gateway: {auth: {mode: 'trusted-proxy', trustedProxy: {userHeader: 'x-user'}}}}", "", "", "yes"),
            // Neither.
            ("", "", "", "unknown"),
            ("{gateway: ", "", "", "unknown"),
            ("{\"$include\": './base.json', gateway: {auth: {token: 'abc'}}}", "", "", "unknown"),
            ("{gateway: {auth: {token: 'abc', $include: ['./auth.json']}}}", "", "", "unknown"),
            ("{gateway: {auth: {mode: '${MODE}', token: 'abc'}}}", "", "MODE=token", "unknown"),
            ("{gateway: {auth: {mode: 7, token: 'abc'}}}", "", "", "unknown"),
            ("{gateway: {auth: {mode: 'oauth', token: 'abc'}}}", "", "", "unknown"),
            ("{gateway: {auth: 'token'}}", "", "", "unknown"),
            ("[]", "", "", "unknown"),
            ("{gateway: {auth: {token: 7}}}", "", "", "unknown"),
            ("{gateway: {auth: {token: '${MY_TOKEN}'}}}", "", "OTHER=abc", "unknown"),
            ("{gateway: {auth: {token: 'a', password: 'b'}}}", "", "", "unknown"),
            ("{gateway: {auth: {mode: 'trusted-proxy'}}}", "", "", "unknown"),
        ] {
            let words: Vec<String> = words.split_whitespace().map(str::to_owned).collect();
            let variable = |name: &str| {
                environment.split_once('=').filter(|(found, _)| *found == name).map(|(_, value)| value.to_owned())
            };
            let found = authentication(settings, &words, &variable);
            assert_eq!(word(&found), wanted, "{settings} {words:?} {environment}: {found:?}");
        }
    }
}

//! The rules of one agent, compiled, and the decision about a destination. Pure.

use std::collections::HashMap;
use std::net::SocketAddr;

use mantlet_policy::{Agent, Budget, Egress, HttpRule, Origin, Protocol, Web};

use crate::decision::{Allowed, Decision, Denial, Given, Place, Reason};
use crate::name::{Endpoint, HostName, NameError};

/// Whom the rules are about, and the words that make a `mantlet allow` call speak of the policy in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// The agent's name.
    pub agent: String,
    /// Words between `mantlet allow` and `--agent`, such as ` --policy FILE`; usually none.
    pub source: String,
}

/// The way out of one agent.
#[derive(Debug, Clone)]
pub struct Rules {
    subject: Subject,
    exact: HashMap<Endpoint, (String, Place)>,
    wild: Vec<(HostName, u16, String)>,
    web: Option<String>,
    egress: Egress,
    published: Vec<SocketAddr>,
}

/// A rule that policy and room read differently: a defect of ours, and no reason to go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the rule `{rule}` cannot be compiled: {source}")]
pub struct CompileError {
    /// The rule.
    pub rule: String,
    /// What is wrong with it.
    pub source: NameError,
}

/// Names that are not the public DNS's to answer (IANA's special-use domain names). `web` never reaches them; an owner
/// who runs one of them for a network can allow it by name.
const NOT_PUBLIC: &[&str] =
    &["alt", "arpa", "example", "internal", "invalid", "lan", "local", "localhost", "onion", "test", "home", "corp"];

impl Rules {
    /// Compiles the rules of an agent. `source` are the words that [`Subject::source`] describes.
    ///
    /// # Errors
    /// A rule that names no host.
    pub fn compile(agent: &Agent, source: &str) -> Result<Self, CompileError> {
        let egress = agent.egress();
        let mut rules = Rules {
            subject: Subject { agent: agent.name().to_owned(), source: source.to_owned() },
            exact: HashMap::new(),
            wild: Vec::new(),
            web: None,
            egress: egress.clone(),
            published: agent.publish().addresses().to_vec(),
        };
        for (key, list) in [("allow", egress.allow()), ("wide", egress.wide())] {
            for text in list {
                let said = match agent.line(&format!("egress.{key}.{text}")) {
                    Some(line) => format!("{text}, line {line}"),
                    None => text.clone(),
                };
                rules.add(text, said)?;
            }
        }
        for local in egress.local() {
            let name = host(&local.name, &local.name)?;
            let said = format!("local {}, {}", local.name, line_of(&local.origin));
            let endpoint = Endpoint { name, port: local.to.port() };
            rules.exact.insert(endpoint, (said, Place::Fixed(local.to)));
        }
        if egress.web() == Web::Read {
            rules.web = Some(match agent.line("egress.web") {
                Some(line) => format!("web, line {line}"),
                None => format!("web, role {}", agent.role().word()),
            });
        }
        Ok(rules)
    }

    fn add(&mut self, text: &str, said: String) -> Result<(), CompileError> {
        let (name, port) = text.rsplit_once(':').unwrap_or((text, "443"));
        let port = port.parse().map_err(|_| CompileError { rule: text.to_owned(), source: NameError::Empty })?;
        match name.strip_prefix("*.") {
            Some(suffix) => self.wild.push((host(suffix, text)?, port, said)),
            None => drop(self.exact.insert(Endpoint { name: host(name, text)?, port }, (said, Place::Public))),
        }
        Ok(())
    }

    /// Returns whom the rules are about.
    pub fn subject(&self) -> &Subject {
        &self.subject
    }

    /// Returns the addresses outside that lead to the same ports inside.
    pub fn published(&self) -> &[SocketAddr] {
        &self.published
    }

    /// Returns the ports that something is allowed on.
    pub fn ports(&self) -> Vec<u16> {
        let web = self.web.is_some().then_some([80, 443]);
        let named = self.exact.keys().map(|endpoint| endpoint.port);
        let mut ports: Vec<u16> =
            named.chain(self.wild.iter().map(|(_, port, _)| *port)).chain(web.into_iter().flatten()).collect();
        ports.sort_unstable();
        ports.dedup();
        ports
    }

    fn ports_of<'r>(&'r self, name: &'r HostName) -> impl Iterator<Item = u16> {
        self.exact.keys().filter(move |endpoint| endpoint.name == *name).map(|endpoint| endpoint.port)
    }

    /// Returns the ports that a name is allowed on.
    pub(crate) fn ports_allowed(&self, name: &HostName) -> Vec<u16> {
        let wild = self.wild.iter().filter(|(suffix, _, _)| name.is_below(suffix)).map(|(_, port, _)| *port);
        let mut ports: Vec<u16> = self.ports_of(name).chain(wild).collect();
        ports.sort_unstable();
        ports.dedup();
        ports
    }

    /// Returns the names that are written out, in order.
    pub fn names(&self) -> Vec<HostName> {
        let mut names: Vec<HostName> = self.exact.keys().map(|endpoint| endpoint.name.clone()).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// Says how a name would be allowed on some port; nothing when it has no address inside the jail.
    pub fn knows(&self, name: &HostName) -> Option<Given> {
        if self.exact.keys().any(|endpoint| endpoint.name == *name) {
            return Some(Given::ByName);
        }
        if self.wild.iter().any(|(suffix, _, _)| name.is_below(suffix)) {
            return Some(Given::ByWildcard);
        }
        (self.web.is_some() && is_public(name)).then_some(Given::ForReading)
    }

    /// Decides about a destination.
    pub fn decide(&self, endpoint: &Endpoint) -> Decision {
        let protocol = self.egress.protocol(endpoint.port);
        let allow = |rule: &String, place: Place, given| {
            let (endpoint, rule) = (endpoint.clone(), rule.clone());
            Decision::Allow(Allowed { endpoint, protocol, rule, place, given })
        };
        if let Some((rule, place)) = self.exact.get(endpoint) {
            return allow(rule, place.clone(), Given::ByName);
        }
        let wild = self.wild.iter().find(|(suffix, port, _)| *port == endpoint.port && endpoint.name.is_below(suffix));
        if let Some((_, _, rule)) = wild {
            return allow(rule, Place::Public, Given::ByWildcard);
        }
        match &self.web {
            Some(rule) if is_public(&endpoint.name) && matches!(protocol, Protocol::Tls | Protocol::Http) => {
                match endpoint.port {
                    80 | 443 => allow(rule, Place::Public, Given::ForReading),
                    _ => Decision::Deny(self.deny(endpoint, Reason::OtherPort)),
                }
            }
            _ => {
                let reason = if self.knows(&endpoint.name).is_some() { Reason::OtherPort } else { Reason::NoRule };
                Decision::Deny(self.deny(endpoint, reason))
            }
        }
    }

    /// Returns the method and path rules of a host; none means that all is allowed.
    pub fn http_rules<'r>(&'r self, endpoint: &'r Endpoint) -> impl Iterator<Item = &'r HttpRule> {
        self.egress.http().iter().filter(move |rule| matches(&rule.host, &endpoint.to_string()))
    }

    /// Returns the budgets that a host draws on.
    pub fn budgets<'r>(&'r self, name: &'r HostName) -> impl Iterator<Item = &'r Budget> {
        self.egress.budgets().iter().filter(move |b| b.host.as_ref().is_none_or(|host| matches(host, name.as_str())))
    }

    /// Makes the refusal of an endpoint, with the call that would change it where one would.
    pub fn deny(&self, endpoint: &Endpoint, reason: Reason) -> Denial {
        let hint = self.hint(endpoint, &reason);
        Denial { what: endpoint.to_string(), agent: self.subject.agent.as_str().into(), reason, hint }
    }

    /// Makes the refusal of something that is not even an endpoint. `what` is shown as it is: no bytes from outside.
    pub fn deny_unnamed(&self, what: impl Into<String>, reason: Reason) -> Denial {
        let hint = match reason {
            Reason::Address => {
                "use the host's name; the owner can give one address of a network a name in the policy, \
                                [[agent.NAME.egress.local]]"
                    .to_owned()
            }
            Reason::Login => "use the whole proxy URL that Mantlet gave the agent".into(),
            Reason::Crowded => "close some, and try again".into(),
            Reason::Foreign => {
                "connect as the user that runs the agent, or as root; what others may reach is published on \
                                another address, with a reason and a token"
                    .into()
            }
            Reason::Unguarded(_) => "give the gateway a token or a password, or publish on 127.0.0.1".into(),
            Reason::Unreachable(_) => "start what is to listen inside on this port, and try again".into(),
            Reason::Withdrawn => "the policy no longer publishes this address".into(),
            _ => "send a well-formed request to an allowed host by its name".into(),
        };
        Denial { what: what.into(), agent: self.subject.agent.as_str().into(), reason, hint }
    }

    fn hint(&self, endpoint: &Endpoint, reason: &Reason) -> String {
        let Subject { agent, source } = &self.subject;
        let lines = || self.http_rules(endpoint).map(|rule| line_of(&rule.origin)).collect::<Vec<_>>().join(" and ");
        match reason {
            // What `mantlet allow` would refuse is not offered.
            Reason::NoRule | Reason::OtherPort if endpoint.name.labels().last() != Some("localhost") => {
                format!("if your task needs it, ask the owner to run: mantlet allow{source} --agent {agent} --host {endpoint}")
            }
            Reason::NoRule | Reason::OtherPort => {
                "127.0.0.1 inside the jail is the jail's own; the owner can name an address of the host in [[agent.NAME.egress.local]]".into()
            }
            Reason::Special { .. } => {
                "no allow rule opens it; if the owner means that one address, [[agent.NAME.egress.local]] gives it a name".into()
            }
            Reason::Mismatch { .. } => "connect to each host by its own name".into(),
            Reason::Unresolved(_) | Reason::Unreachable(_) => "the policy allows it; try again later, or tell the owner".into(),
            Reason::Budget(_) => "it is per run; the owner sets it in [[agent.NAME.egress.budget]]".into(),
            Reason::Request(_) if self.http_rules(endpoint).next().is_some() => {
                format!("what may be asked of this host stands in {} of the policy; only the owner changes it", lines())
            }
            Reason::Withdrawn => "ask the owner".into(),
            _ => "send a well-formed request to an allowed host by its name".into(),
        }
    }
}

/// Whether a pattern of the policy, with or without a port, is about this host.
fn matches(pattern: &str, host: &str) -> bool {
    match pattern.strip_prefix('*') {
        None => pattern == host,
        Some(rest) => host.len() > rest.len() && host.ends_with(rest),
    }
}

fn is_public(name: &HostName) -> bool {
    let last = name.labels().last().unwrap_or_default();
    name.labels().nth(1).is_some() && !NOT_PUBLIC.contains(&last)
}

fn host(text: &str, rule: &str) -> Result<HostName, CompileError> {
    HostName::from_wire(text.as_bytes()).map_err(|source| CompileError { rule: rule.to_owned(), source })
}

fn line_of(origin: &Origin) -> String {
    match origin {
        Origin::Line(line) => format!("line {line}"),
        Origin::Role(role) => format!("role {}", role.word()),
        Origin::Builtin => "built in".into(),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::io;
    use std::path::{Path, PathBuf};

    use super::*;
    use crate::testing::Dice;

    struct Anywhere;
    impl mantlet_policy::Host for Anywhere {
        fn home(&self) -> &Path {
            Path::new("/home/ann")
        }
        fn state_dirs(&self) -> &[PathBuf] {
            &[]
        }
        fn canonical(&self, path: &Path) -> io::Result<PathBuf> {
            Ok(path.components().collect())
        }
    }

    /// The rules of agent `main` with this `[agent.main.egress]`.
    pub(crate) fn rules(role: &str, egress: &str) -> Rules {
        let text = format!(
            "version = 1\n[agent.main]\nrole = \"{role}\"\nworkspace = \"/home/ann/w\"\n[agent.main.egress]\n{egress}"
        );
        let policy = mantlet_policy::parse(&text, Path::new("p"), &Anywhere).map_err(|e| e.to_string()).unwrap();
        Rules::compile(&policy.agents()[0], "").unwrap()
    }

    pub(crate) fn endpoint(text: &str) -> Endpoint {
        let (name, port) = text.rsplit_once(':').unwrap();
        Endpoint { name: HostName::from_wire(name.as_bytes()).unwrap(), port: port.parse().unwrap() }
    }

    fn allowed(rules: &Rules, text: &str) -> Option<Allowed> {
        match rules.decide(&endpoint(text)) {
            Decision::Allow(allowed) => Some(allowed),
            Decision::Deny(_) => None,
        }
    }

    #[test]
    fn names_match_whole_and_on_their_port() {
        let rules =
            rules("builder", "allow = [\"github.com\", \"*.npmjs.org\", \"db.a.org:5432\"]\nwide = [\"*.github.io\"]");
        for text in
            ["github.com:443", "registry.npmjs.org:443", "a.b.npmjs.org:443", "db.a.org:5432", "x.github.io:443"]
        {
            assert!(allowed(&rules, text).is_some(), "{text}");
        }
        for text in [
            "evil-github.com:443",
            "github.com.evil.com:443",
            "xgithub.com:443",
            "api.github.com:443",
            "github.com:80",
            "npmjs.org:443",
            "evilnpmjs.org:443",
            "registry.npmjs.org:80",
            "db.a.org:443",
            "github.io:443",
            "com:443",
        ] {
            assert!(allowed(&rules, text).is_none(), "{text}");
        }
        assert_eq!(rules.ports(), [443, 5432]);
        assert_eq!(allowed(&rules, "github.com:443").unwrap().rule, "github.com:443, line 6");
        assert_eq!(allowed(&rules, "db.a.org:5432").unwrap().protocol, Protocol::Tcp);
        assert_eq!(allowed(&rules, "x.github.io:443").unwrap().given, Given::ByWildcard);
    }

    #[test]
    fn a_denial_names_the_call_that_would_change_it() {
        let rules = rules("builder", "allow = [\"github.com\"]");
        let Decision::Deny(denial) = rules.decide(&endpoint("evil.org:443")) else { panic!() };
        let text = denial.to_string();
        assert!(text.contains("evil.org:443 refused for agent main: no rule allows it"), "{text}");
        assert!(text.contains("mantlet allow --agent main --host evil.org:443"), "{text}");
        let Decision::Deny(denial) = rules.decide(&endpoint("localhost:443")) else { panic!() };
        assert!(!denial.hint.contains("mantlet allow"));
    }

    #[test]
    fn a_scout_reads_public_names_on_the_web_ports_only() {
        let rules = rules("scout", "");
        assert_eq!(allowed(&rules, "example.com:443").unwrap().given, Given::ForReading);
        assert!(allowed(&rules, "example.com:80").is_some());
        for text in [
            "example.com:22",
            "example.com:8443",
            "router.lan:80",
            "x.local:80",
            "metadata.google.internal:80",
            "com:80",
        ] {
            assert!(allowed(&rules, text).is_none(), "{text}");
        }
    }

    #[test]
    fn a_local_name_leads_to_one_address() {
        let rules = rules("builder", "local = [{ name = \"ollama.host\", to = \"127.0.0.1:11434\" }]");
        let to = allowed(&rules, "ollama.host:11434").unwrap();
        assert_eq!(to.place, Place::Fixed("127.0.0.1:11434".parse().unwrap()));
        assert!(allowed(&rules, "ollama.host:80").is_none() && allowed(&rules, "x.ollama.host:11434").is_none());
    }

    #[test]
    fn no_rules_allow_nothing() {
        let rules = rules("builder", "");
        assert!(allowed(&rules, "example.com:443").is_none());
        assert!(rules.ports().is_empty() && rules.knows(&endpoint("a.b:1").name).is_none());
    }

    /// What the policy accepts as a host, this room reads as the same host: two readers of one rule are the attack.
    #[test]
    fn policy_and_room_read_hosts_alike() {
        let mut dice = Dice::new(3);
        let parts = ["a", "B", "0", "1", ".", "-", "_", "xn--", "0x", "com", "org", "*.", ":", "80", "localhost"];
        let mut taken = 0;
        for _ in 0..20_000 {
            let text: String = (0..1 + dice.below(6)).map(|_| parts[dice.below(parts.len())]).collect();
            let policy = format!(
                "version = 1\n[agent.main]\nrole = \"builder\"\nworkspace = \"/home/ann/w\"\n[agent.main.egress]\nallow = [\"{text}\"]"
            );
            let Ok(policy) = mantlet_policy::parse(&policy, Path::new("p"), &Anywhere) else { continue };
            let canonical = policy.agents()[0].egress().allow()[0].clone();
            match Rules::compile(&policy.agents()[0], "") {
                Ok(rules) => {
                    let host = canonical.replace("*.", "x.");
                    assert!(allowed(&rules, &host).is_some(), "{text}");
                    taken += 1;
                }
                // Only punycode is judged here alone: the policy has no Unicode tables.
                Err(error) => assert_eq!(error.source, NameError::Punycode, "{text}"),
            }
        }
        assert!(taken > 500, "{taken}");
    }
}

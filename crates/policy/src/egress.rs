//! `[agent.X.egress]`: where an agent may go, by name. Types, and their validation; enforced by the room of that name.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use crate::agent::Place;
use crate::error::{Fault, Faults, escape};
use crate::file::{BudgetFile, EgressFile, HttpFile, LocalFile};
use crate::read::At;
use crate::sections::Web;
use crate::types::Origin;
use crate::validate::word;
use crate::{address, names, units};

/// How the connections of a port are judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protocol {
    /// The name in the ClientHello decides; what is inside stays closed.
    Tls,
    /// Each request is judged.
    Http,
    /// The name that was looked up decides; nothing inside is judged.
    Tcp,
}

impl Protocol {
    /// Returns what a port is when the policy does not say.
    pub fn of_port(port: u16) -> Self {
        match port {
            443 => Protocol::Tls,
            80 => Protocol::Http,
            _ => Protocol::Tcp,
        }
    }
    /// Returns the word of the file.
    pub fn word(self) -> &'static str {
        match self {
            Protocol::Tls => "tls",
            Protocol::Http => "http",
            Protocol::Tcp => "tcp",
        }
    }
}

/// `[[agent.X.egress.local]]`: one exact address of this host or its network, under a name that exists only in the jail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Local {
    /// The name.
    pub name: String,
    /// The address; its port is also the port under that name.
    pub to: SocketAddr,
    /// Where it was written.
    pub origin: Origin,
}

/// `[[agent.X.egress.http]]`: what may be asked of a host. A host that is named in one is open for nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpRule {
    /// The host, as `host:port`, as it stands in `allow`.
    pub host: String,
    /// The methods, in capitals.
    pub methods: Vec<String>,
    /// Paths: exact, or everything below one that ends in `/*`.
    pub paths: Vec<String>,
    /// Where it was written.
    pub origin: Origin,
}

/// `[[agent.X.egress.budget]]`: how much may pass in one run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Budget {
    /// The host or wildcard it is about; the whole agent when there is none.
    pub host: Option<String>,
    /// Bytes outwards.
    pub upload: Option<u64>,
    /// Bytes inwards.
    pub download: Option<u64>,
    /// Requests, or connections where requests cannot be seen.
    pub requests: Option<u64>,
    /// Different names under wildcards and `web`: a name is a message to whoever answers for the domain.
    pub names: Option<u64>,
    /// Where it was written.
    pub origin: Origin,
}

/// The way out of one agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Egress {
    pub(crate) allow: Vec<String>,
    pub(crate) wide: Vec<String>,
    pub(crate) web: Web,
    pub(crate) ports: BTreeMap<u16, Protocol>,
    pub(crate) local: Vec<Local>,
    pub(crate) http: Vec<HttpRule>,
    pub(crate) budgets: Vec<Budget>,
}

impl Egress {
    /// Returns the hosts allowed by name or wildcard, `host:port` (port 443 when none was written).
    pub fn allow(&self) -> &[String] {
        &self.allow
    }
    /// Returns the wildcards over a suffix below which strangers register names.
    pub fn wide(&self) -> &[String] {
        &self.wide
    }
    /// Returns what may be fetched beyond those.
    pub fn web(&self) -> Web {
        self.web
    }
    /// Returns the ports whose protocol is not the usual one.
    pub fn ports(&self) -> &BTreeMap<u16, Protocol> {
        &self.ports
    }
    /// Returns how connections to a port are judged.
    pub fn protocol(&self, port: u16) -> Protocol {
        self.ports.get(&port).copied().unwrap_or_else(|| Protocol::of_port(port))
    }
    /// Returns the ports that something is allowed on, in order.
    pub fn destination_ports(&self) -> Vec<u16> {
        let port = |text: &String| text.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
        let mut ports: Vec<u16> = self.allow.iter().chain(&self.wide).filter_map(port).collect();
        ports.extend(self.local.iter().map(|local| local.to.port()));
        if self.web == Web::Read {
            ports.extend([80, 443]);
        }
        ports.sort_unstable();
        ports.dedup();
        ports
    }
    /// Returns the addresses of this host and its network that have a name.
    pub fn local(&self) -> &[Local] {
        &self.local
    }
    /// Returns what may be asked of hosts.
    pub fn http(&self) -> &[HttpRule] {
        &self.http
    }
    /// Returns the budgets.
    pub fn budgets(&self) -> &[Budget] {
        &self.budgets
    }
    /// Returns whether there is no way out at all.
    pub fn is_closed(&self) -> bool {
        self.allow.is_empty() && self.wide.is_empty() && self.local.is_empty() && self.web == Web::None
    }
}

const PROTOCOLS: &[(&str, Protocol)] = &[("tls", Protocol::Tls), ("http", Protocol::Http), ("tcp", Protocol::Tcp)];
const METHODS: &[&str] = &["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
const HOST_HINT: &str = "write `host:port`, such as `github.com:443`; an address gets a name in [[egress.local]]";

impl Place<'_> {
    pub(crate) fn egress(&mut self, file: &EgressFile, faults: &mut Faults<'_>) -> Egress {
        let allow = self.list(&file.allow, "egress.allow", "host", names::endpoint, HOST_HINT, faults);
        let hint = "write `*.suffix:port`; a wildcard over any other domain belongs in `allow`";
        let wide = self.list(&file.wide, "egress.wide", "host", names::wide_endpoint, hint, faults);
        let mut egress = Egress {
            allow,
            wide,
            web: self.web(file, faults),
            ports: self.ports(file, faults),
            local: Vec::new(),
            http: Vec::new(),
            budgets: Vec::new(),
        };
        for entry in &file.local {
            let read = local(entry, &egress, faults);
            egress.local.extend(read);
        }
        for entry in &file.http {
            let read = http_rule(entry, &egress, faults);
            egress.http.extend(read);
        }
        egress.budgets = file.budgets.iter().filter_map(|entry| budget(entry, faults)).collect();
        egress
    }

    fn web(&mut self, file: &EgressFile, faults: &mut Faults<'_>) -> Web {
        self.note("egress.web".into(), file.web.as_ref().map(|text| text.at), faults);
        let words = &[("read", Web::Read), ("none", Web::None)];
        let written = file.web.as_ref().and_then(|text| word(text, "web", words, faults));
        written.unwrap_or(self.role.preset().web)
    }

    fn ports(&mut self, file: &EgressFile, faults: &mut Faults<'_>) -> BTreeMap<u16, Protocol> {
        let mut ports = BTreeMap::new();
        for (port, protocol) in &file.ports {
            let number =
                port.value.parse::<u16>().ok().filter(|number| *number > 0 && number.to_string() == port.value);
            let Some(number) = number else {
                let why = "not a port".to_owned();
                let fault = Fault::BadValue { what: "port", value: escape(&port.value), why };
                faults.add(port.at, fault, "write for example `8443 = \"tls\"`");
                continue;
            };
            self.note(format!("egress.ports.{number}"), Some(port.at), faults);
            ports.extend(word(protocol, "ports", PROTOCOLS, faults).map(|protocol| (number, protocol)));
        }
        ports
    }
}

fn bad(what: &'static str, text: &At<String>, why: impl Into<String>, hint: &str, faults: &mut Faults<'_>) {
    faults.add(text.at, Fault::BadValue { what, value: escape(&text.value), why: why.into() }, hint);
}

fn local(entry: &LocalFile, egress: &Egress, faults: &mut Faults<'_>) -> Option<Local> {
    let (name, to) = (entry.name.as_ref()?, entry.to.as_ref()?);
    let hint = "write `name = \"ollama.host\"` and `to = \"127.0.0.1:11434\"`: one address, one port";
    let checked = match names::local_name(&name.value) {
        Ok(checked) => checked,
        Err(why) => {
            bad("name", name, why, hint, faults);
            return None;
        }
    };
    let Ok(address) = to.value.parse::<SocketAddr>() else {
        let why = match to.value.contains('/') {
            true => "a range; each address gets an entry of its own",
            false => "not an IP address and a port",
        };
        bad("address", to, why, hint, faults);
        return None;
    };
    let has_zone = matches!(address, SocketAddr::V6(v6) if v6.scope_id() != 0);
    let why = match (address.port(), has_zone) {
        (0, _) => Some("port 0 is no port"),
        (_, true) => Some("an address with an interface"),
        _ => address::not_local(address.ip()),
    };
    if let Some(why) = why {
        bad("address", to, why, hint, faults);
        return None;
    }
    let endpoint = format!("{checked}:{}", address.port());
    if egress.local.iter().any(|other| other.name == checked && other.to.port() == address.port())
        || covered(egress, &endpoint)
    {
        let fault = Fault::Conflict(format!("`{endpoint}` has two meanings"));
        faults.add(name.at, fault, "give the address a name of its own, such as `ollama.host`");
        return None;
    }
    Some(Local { name: checked, to: address, origin: Origin::Line(faults.line(entry.at)) })
}

/// Whether a host, itself possibly a wildcard, lies within what is allowed.
fn covered(egress: &Egress, host: &str) -> bool {
    let is_local = egress.local.iter().any(|local| format!("{}:{}", local.name, local.to.port()) == host);
    is_local || egress.allow.iter().chain(&egress.wide).any(|pattern| names::covers(pattern, host))
}

fn http_rule(entry: &HttpFile, egress: &Egress, faults: &mut Faults<'_>) -> Option<HttpRule> {
    let host = entry.host.as_ref()?;
    let endpoint = match names::endpoint(&host.value).or_else(|why| names::wide_endpoint(&host.value).map_err(|_| why))
    {
        Ok(endpoint) => endpoint,
        Err(why) => {
            bad("host", host, why, HOST_HINT, faults);
            return None;
        }
    };
    if !covered(egress, &endpoint) {
        let fault = Fault::Conflict(format!("`{endpoint}` is not allowed, so that nothing can be asked of it"));
        faults.add(host.at, fault, format!("add `{endpoint}` to `allow`, or write the port that stands there"));
    }
    let port = endpoint.rsplit(':').next().and_then(|port| port.parse().ok()).unwrap_or(443);
    if egress.protocol(port) != Protocol::Http {
        let fault = Fault::Conflict(format!(
            "methods and paths of `{endpoint}` cannot be seen: port {port} is {}",
            egress.protocol(port).word()
        ));
        let hint = "such a rule works where the port's protocol is `http`; on others, leave it out and allow the name";
        faults.add(host.at, fault, hint);
    }
    let mut methods = Vec::new();
    for method in entry.methods.iter().flatten() {
        match METHODS.contains(&method.value.as_str()) {
            true => methods.push(method.value.clone()),
            false => bad("method", method, "not one that can be allowed", &METHODS.join(", "), faults),
        }
    }
    let mut paths = Vec::new();
    for path in entry.paths.iter().flatten() {
        match checked_path(&path.value) {
            Ok(()) => paths.push(path.value.clone()),
            Err(why) => bad("path", path, why, "write `/v1/messages`, or `/v1/*` for everything below", faults),
        }
    }
    if entry.methods.as_ref().is_some_and(Vec::is_empty) || entry.paths.as_ref().is_some_and(Vec::is_empty) {
        let fault = Fault::Conflict("a rule that allows nothing".into());
        faults.add(entry.at, fault, "write at least one method and one path, or remove the rule");
    }
    Some(HttpRule { host: endpoint, methods, paths, origin: Origin::Line(faults.line(entry.at)) })
}

/// A path that every server reads the same way: what could be decoded or normalised differently is refused.
fn checked_path(path: &str) -> Result<(), &'static str> {
    let fixed = path.strip_suffix("/*").unwrap_or(path);
    if !path.starts_with('/') {
        return Err("it does not begin with `/`");
    }
    if fixed.contains('*') {
        return Err("`*` is possible as the whole last name only");
    }
    let is_plain = |b: u8| b.is_ascii_graphic() && !matches!(b, b'%' | b'\\' | b'?' | b'#' | b';');
    if !fixed.bytes().all(is_plain) {
        return Err("it has a character that servers read in different ways");
    }
    match fixed.split('/').skip(1).any(|name| name == "." || name == "..") || fixed.contains("//") {
        true => Err("it has an empty name, `.` or `..` in it"),
        false => Ok(()),
    }
}

fn budget(entry: &BudgetFile, faults: &mut Faults<'_>) -> Option<Budget> {
    let mut size = |text: &Option<At<String>>| match text.as_ref().map(|text| (text, units::size(&text.value))) {
        None => None,
        Some((_, Ok(bytes))) => Some(bytes),
        Some((text, Err(why))) => {
            bad("size", text, why, "write for example `\"20MiB\"`", faults);
            None
        }
    };
    let (upload, download) = (size(&entry.upload), size(&entry.download));
    let host = match entry.host.as_ref().map(|text| (text, names::host_pattern(&text.value))) {
        None => None,
        Some((_, Ok(host))) => Some(host),
        Some((text, Err(why))) => {
            bad("host", text, why, "write a host or wildcard without a port", faults);
            return None;
        }
    };
    if [&entry.upload, &entry.download].iter().all(|text| text.is_none())
        && entry.requests.is_none()
        && entry.names.is_none()
    {
        let fault = Fault::Conflict("a budget that limits nothing".into());
        faults.add(entry.at, fault, "write at least one of `upload`, `download`, `requests`, `names`");
    }
    let count = |number: &Option<At<u64>>| number.as_ref().map(|number| number.value);
    Some(Budget {
        host,
        upload,
        download,
        requests: count(&entry.requests),
        names: count(&entry.names),
        origin: Origin::Line(faults.line(entry.at)),
    })
}

//! What passed the border of a jail's network: asked of the resolver, sent out, let in.

use std::net::IpAddr;

use serde_json::{Value, json};

use super::words::{action, activity, class, disposition, status};
use super::{Event, product, words};
use crate::Egress;
use crate::export::Origin;
use crate::export::facts::host_port;

impl Event {
    pub(super) fn egress(&mut self, egress: &Egress, origin: &Origin) {
        match (egress.way.as_str(), egress.outcome.as_str()) {
            ("policy", outcome) => return self.reload(outcome, origin),
            ("dns", _) => self.class(&class::DNS, activity::QUERY),
            (_, "passed") => self.class(&class::NETWORK, activity::TRAFFIC),
            (_, "refused") => self.class(&class::NETWORK, activity::REFUSE),
            (_, other) => self.class(&class::NETWORK, (words::OTHER, other)),
        }
        self.set("actor", json!({}));
        let (action, disposition, status) = match egress.outcome.as_str() {
            "passed" => (action::ALLOWED, disposition::ALLOWED, status::SUCCESS),
            "refused" => (action::DENIED, disposition::BLOCKED, status::FAILURE),
            other => ((words::OTHER, other), (words::OTHER, other), status::UNKNOWN),
        };
        self.control(action, disposition);
        self.word("status", status);
        if let Some(rule) = self.rest.remove("rule") {
            self.set("firewall_rule", json!({ "name": rule }));
        }
        match egress.way.as_str() {
            "dns" => self.query(egress, origin),
            "publish" => self.let_in(egress),
            _ => self.sent_out(egress, origin),
        }
    }

    fn query(&mut self, egress: &Egress, origin: &Origin) {
        let (host, port) = host_port(&egress.host);
        self.set("query", json!({ "hostname": host }));
        self.set("src_endpoint", json!({ "hostname": origin.host }));
        // A query has no place for a port, so that the whole text stays where there is one.
        if port.is_none() {
            self.rest.remove("host");
        }
    }

    fn sent_out(&mut self, egress: &Egress, origin: &Origin) {
        let mut there = self.asked(egress);
        if let Some(ip) = self.address() {
            there["ip"] = ip;
        }
        self.set("src_endpoint", json!({ "hostname": origin.host }));
        self.set("dst_endpoint", there);
        self.set("connection_info", json!({ "direction": "Outbound", "direction_id": 2 }));
        self.traffic(egress.up, egress.down);
    }

    /// The source is who came: what the jail sent is what came back to it.
    fn let_in(&mut self, egress: &Egress) {
        let here = self.asked(egress);
        let peer = self.address().map_or(json!({ "name": "unknown" }), |ip| json!({ "ip": ip }));
        self.set("src_endpoint", peer);
        self.set("dst_endpoint", here);
        self.set("connection_info", json!({ "direction": "Inbound", "direction_id": 1 }));
        self.traffic(egress.down, egress.up);
    }

    /// What was asked for: by address where it was asked for by one.
    fn asked(&mut self, egress: &Egress) -> Value {
        self.rest.remove("host");
        let (host, port) = host_port(&egress.host);
        let name = if host.parse::<IpAddr>().is_ok() { "ip" } else { "hostname" };
        let mut there = json!({ name: host });
        if let Some(port) = port {
            there["port"] = port.into();
        }
        there
    }

    /// The address at the other end; what is none stays where it is.
    fn address(&mut self) -> Option<Value> {
        let is_address = |value: &Value| value.as_str().is_some_and(|text| text.parse::<IpAddr>().is_ok());
        if self.rest.get("address").is_some_and(is_address) { self.rest.remove("address") } else { None }
    }

    fn traffic(&mut self, from_source: u64, to_source: u64) {
        // The schema's integers have a sign; what they cannot hold stays where it is.
        if let Some(sum) = from_source.checked_add(to_source).and_then(|sum| i64::try_from(sum).ok()) {
            self.set("traffic", json!({ "bytes_out": from_source, "bytes_in": to_source, "bytes": sum }));
            self.rest.remove("up");
            self.rest.remove("down");
        }
    }

    /// A policy was read again, or could not be.
    fn reload(&mut self, outcome: &str, origin: &Origin) {
        self.class(&class::APPLICATION, activity::UPDATE);
        self.set("app", product(origin));
        self.word("status", if outcome == "passed" { status::SUCCESS } else { status::FAILURE });
    }
}

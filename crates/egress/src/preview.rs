//! What would happen to a destination, by the code that decides, judges and resolves. Nothing is dialled and nothing counted.

use std::io;

use crate::budget::Budgets;
use crate::decision::{Allowed, Decision, Denial, Reason};
use crate::dial::{Candidate, candidates};
use crate::http::forward::judge_request;
use crate::http::head::RequestHead;
use crate::name::Endpoint;
use crate::rules::Rules;
use crate::shared::Settings;

/// Decides about a destination at the beginning of a run, and about a request to it: a method, and a path with its query.
///
/// # Errors
/// The refusal.
pub fn preview(rules: &Rules, endpoint: &Endpoint, request: Option<(&str, &str)>) -> Result<Allowed, Denial> {
    let allowed = match rules.decide(endpoint) {
        Decision::Allow(allowed) => allowed,
        Decision::Deny(denial) => return Err(denial),
    };
    let denied = |reason| rules.deny(endpoint, reason);
    if let Some((method, path)) = request {
        let mut head = head(endpoint, method, path).map_err(denied)?;
        let bits = judge_request(rules, &allowed, &mut head).map_err(denied)?;
        bits.map_or(Ok(()), |bits| Budgets::default().read(&endpoint.name, bits)).map_err(denied)?;
    }
    Budgets::default().admit(rules, &allowed).map(|_| allowed).map_err(denied)
}

/// The head that a client would send.
fn head(endpoint: &Endpoint, method: &str, path: &str) -> Result<RequestHead, Reason> {
    let malformed = |why: &str| Reason::Malformed(why.to_owned());
    if !method.bytes().chain(path.bytes()).all(|byte| byte.is_ascii_graphic()) {
        return Err(malformed("a request has a method and a path of visible ASCII"));
    }
    let text = format!("{method} {path} HTTP/1.1\r\nHost: {endpoint}\r\n\r\n");
    match RequestHead::parse(text.as_bytes(), endpoint.port) {
        Ok(Some((head, _))) => Ok(head),
        Ok(None) => Err(malformed("no whole request")),
        Err(error) => Err(Reason::Malformed(error.to_string())),
    }
}

/// Resolves an allowed destination as the server would, and judges each address. They would be tried in this order, and
/// none of them when one is wrong.
///
/// # Errors
/// It does not resolve; or no runtime could be made for asking.
pub fn addresses(allowed: &Allowed, settings: &Settings) -> io::Result<Result<Vec<Candidate>, Reason>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
    Ok(runtime.block_on(candidates(allowed, &settings.resolver, &settings.own)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::resolver::Resolver;
    use crate::rules::tests::{endpoint, rules};

    #[test]
    fn requests_are_judged_as_they_would_be() {
        let rules = rules(
            "builder",
            "allow = [\"a.test:80\", \"b.test:443\"]\nhttp = [{ host = \"a.test:80\", methods = [\"GET\"], paths = [\"/v1/*\"] }]",
        );
        let said = |host: &str, request| preview(&rules, &endpoint(host), request).map_err(|denial| denial.reason);
        assert_eq!(said("a.test:80", Some(("GET", "/v1/x?q=1"))).unwrap().rule, "a.test:80, line 6");
        for (method, path) in [("POST", "/v1/x"), ("GET", "/v2"), ("GET", "/v1/../v2")] {
            assert!(matches!(said("a.test:80", Some((method, path))), Err(Reason::Request(_))), "{method} {path}");
        }
        for (method, path) in [("get", "/v1/x"), ("GET", "/v1/x\r\nX: y"), ("GET", "/v1/x y"), ("GET", "v1"), ("", "/")]
        {
            assert!(matches!(said("a.test:80", Some((method, path))), Err(Reason::Malformed(_))), "{method} {path}");
        }
        assert!(matches!(said("b.test:443", Some(("GET", "/"))), Err(Reason::Request(_))), "it cannot be seen");
        assert!(said("b.test:443", None).is_ok() && said("c.test:443", None).is_err());
    }

    #[test]
    fn names_that_carry_too_much_are_refused_at_once() {
        let rules = rules("builder", "allow = [\"*.a.test\"]");
        assert!(preview(&rules, &endpoint("www.a.test:443"), None).is_ok());
        let name = "kq3v9z7x1c5b8n2m4l6j0h9g7f5d3s1a.p2o4i6u8y0t1r3e5w7q9z8x6c4v2b0n1.a.test:443";
        assert!(preview(&rules, &endpoint(name), None).is_err());
    }

    #[test]
    fn addresses_are_those_that_would_be_dialled() {
        let dir = std::env::temp_dir().join(format!("mantlet-preview-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let (conf, hosts) = (dir.join("resolv.conf"), dir.join("hosts"));
        std::fs::write(&conf, "").unwrap();
        std::fs::write(&hosts, "9.9.9.9 a.test b.test\n2620:fe::fe a.test\n10.0.0.1 b.test\n").unwrap();
        let settings = Settings {
            resolver: Resolver::with_files(conf, hosts),
            own: vec!["127.0.0.1:1".parse().unwrap()],
            ..Settings::default()
        };
        let rules = rules(
            "builder",
            "allow = [\"a.test\", \"b.test\"]\nlocal = [{ name = \"own.host\", to = \"127.0.0.1:1\" }, { name = \"x.host\", to = \"127.0.0.1:2\" }]",
        );
        let list = |host: &str| {
            let allowed = preview(&rules, &endpoint(host), None).unwrap();
            let found = addresses(&allowed, &settings).unwrap().unwrap();
            found.iter().map(|one| (one.address.to_string(), one.wrong.is_some())).collect::<Vec<_>>()
        };
        let pair = |address: &str, is_wrong| (address.to_owned(), is_wrong);
        assert_eq!(list("a.test:443"), [pair("[2620:fe::fe]:443", false), pair("9.9.9.9:443", false)]);
        assert_eq!(list("b.test:443"), [pair("9.9.9.9:443", false), pair("10.0.0.1:443", true)]);
        assert_eq!(list("own.host:1"), [pair("127.0.0.1:1", true)]);
        assert_eq!(list("x.host:2"), [pair("127.0.0.1:2", false)]);
        std::fs::remove_dir_all(&dir).unwrap();
    }
}

//! A model whose answers are written beforehand, on loopback: each tool result that comes back earns the next call.

use std::io::Read as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use tiny_http::{Header, Method, Request, Response, Server};

use super::Call;
use super::dialect::Dialect;

/// What the model heard.
#[derive(Debug, Default)]
pub(super) struct Heard {
    /// Every request's body: all that ever left the client.
    pub(super) bodies: Vec<String>,
    /// What each call gave.
    pub(super) results: Vec<String>,
    calls: Vec<Call>,
}

/// Conversations grow; a client that sends more than this is not talking to a model.
const MAX_BODY: u64 = 32 << 20;

pub(super) struct Model {
    server: Arc<Server>,
    heard: Arc<Mutex<Heard>>,
    thread: JoinHandle<()>,
}

impl Model {
    pub(super) fn listen() -> std::io::Result<Model> {
        let server = Arc::new(Server::http("127.0.0.1:0").map_err(std::io::Error::other)?);
        let heard = Arc::new(Mutex::new(Heard::default()));
        let (inner, log) = (Arc::clone(&server), Arc::clone(&heard));
        let thread = std::thread::spawn(move || {
            for request in inner.incoming_requests() {
                // A client that hangs up in the middle has been answered enough.
                answer(request, &log).ok();
            }
        });
        Ok(Model { server, heard, thread })
    }

    /// The base URL, without a path.
    pub(super) fn url(&self) -> String {
        self.server.server_addr().to_ip().map_or_else(String::new, |address| format!("http://{address}"))
    }

    pub(super) fn script(&self, calls: Vec<Call>) {
        lock(&self.heard).calls = calls;
    }

    pub(super) fn close(self) -> Heard {
        self.server.unblock();
        self.thread.join().ok();
        std::mem::take(&mut *lock(&self.heard))
    }
}

fn lock(heard: &Mutex<Heard>) -> MutexGuard<'_, Heard> {
    heard.lock().unwrap_or_else(PoisonError::into_inner)
}

fn answer(mut request: Request, heard: &Mutex<Heard>) -> std::io::Result<()> {
    let mut bytes = Vec::new();
    request.as_reader().take(MAX_BODY).read_to_end(&mut bytes)?;
    let raw = String::from_utf8_lossy(&bytes).into_owned();
    let path = request.url().split('?').next().unwrap_or_default().to_owned();
    let dialect = Dialect::of(&path).filter(|_| *request.method() == Method::Post);
    let body: serde_json::Value = serde_json::from_str(&raw).unwrap_or_default();
    let mut heard = lock(heard);
    if !raw.is_empty() {
        heard.bodies.push(raw);
    }
    let Some(dialect) = dialect else {
        drop(heard);
        let list = r#"{"object":"list","data":[{"id":"scripted","object":"model"}],"input_tokens":1,"totalTokens":1}"#;
        return respond(request, "application/json", list.to_owned());
    };
    let turn = dialect.read(&body);
    if !turn.offers_tools {
        drop(heard);
        return respond(request, dialect.kind(&body), dialect.say(&body, "ok"));
    }
    // A later request may have lost older results to the client's own shortening.
    if turn.results.len() >= heard.results.len() {
        heard.results = turn.results;
    }
    let at = heard.results.len();
    // A client that loses results would be asked for ever.
    let text = match heard.calls.get(at).filter(|_| heard.bodies.len() < 40) {
        Some(call) => dialect.call(&body, &format!("call{at}"), call),
        None => dialect.say(&body, "the script is finished"),
    };
    drop(heard);
    respond(request, dialect.kind(&body), text)
}

fn respond(request: Request, kind: &str, text: String) -> std::io::Result<()> {
    let mut response = Response::from_string(text);
    if let Ok(header) = Header::from_bytes("content-type", kind) {
        response.add_header(header);
    }
    request.respond(response)
}

//! Ways around the rules, as data. Each has its control (the same attack reaches its goal where nothing stands in between,
//! or through a proxy without rules) and its twin (the same shape, aimed at what is allowed, works).
//!
//! During all of them the host's packets are captured: no name is asked for and nothing is sent but to the allowed ones.

mod addresses;
mod handshakes;
mod heads;
mod kernel;
pub(crate) mod known;
mod loading;
pub(crate) mod look_ups;
mod names;
mod reading;

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::thread;
use std::time::{Duration, Instant};

use super::agent::Agent;
use super::ground::{PLAIN, World};
use super::internet::MARK;
use super::packets::Seen;

/// The port of the explicit proxy in each jail.
pub(crate) const PROXY: u16 = 3128;

/// What the agent of most cases is allowed.
pub(crate) const EGRESS: &str = r#"
allow = ["allowed.test", "allowed.test:80", "second.test", "second.test:80", "*.wild.test:80", "*.wild.test", "raw.test:5432",
  "xn--bcher-kva.test:80", "cgnatnext.test:80", "allowed.test:5432",
  "private.test:80", "private172.test:80", "lan.test:80", "loop.test:8099", "looplast.test:8099", "loop6.test:8099",
  "meta.test:80", "meta6.test:80", "metagcp6.test:80", "metaalibaba.test:80", "metaazure.test:80", "metaoracle.test:80",
  "metascaleway.test:80", "metadata.google.internal:80", "host.docker.internal:80", "mapped.test:8099", "mappedmeta.test:80",
  "compat.test:8099", "translated.test:80", "nat64.test:80", "nat64local.test:80", "sixtofour.test:80", "teredo.test:80",
  "isatap.test:80", "ula.test:80", "linklocal.test:80", "multicast.test:80", "broadcast.test:80", "zero.test:8099",
  "zero6.test:8099", "cgnat.test:80", "cgnatlast.test:80", "synthetic.test:80", "own.test:8099", "owncable.test:8099",
  "mixed.test:80", "cname.test:80", "written.test:80"]
ports = { 8098 = "http", 8099 = "http" }
local = [{ name = "host.local-name", to = "127.0.0.1:8099" }, { name = "ours.local-name", to = "127.0.0.1:8098" }]
http = [{ host = "*.wild.test:80", methods = ["GET"], paths = ["/public/*"] }]
"#;

/// A jail, as the attacks see it.
pub(crate) trait Inside {
    /// Who is in it.
    fn agent(&self) -> &Agent;
    /// How often something was refused so far, as far as has been told.
    fn refusals(&self) -> usize;
}

/// Who builds jails.
pub(crate) trait Jails {
    /// Whether they are Mantlet's own, with everything that holds a process there.
    const ARE_REAL: bool;
    /// Starts one, with this `[agent.main.egress]`.
    fn start(&self, role: &str, egress: &str) -> Box<dyn Inside>;
    /// Why such a policy is not taken, if it is not.
    fn refusal(&self, egress: &str) -> Option<String>;
}

/// What reaches an attack's goal when Mantlet does not stand in between.
pub(crate) enum Control {
    /// These bytes, sent to this address from the host.
    Direct(&'static str, &'static str),
    /// The same bytes, sent to this address from the host.
    Same(&'static str),
    /// The same bytes, sent to the proxy without rules.
    Plain,
    /// Nothing in this world, and why.
    Nowhere(&'static str),
}

/// Where an attack sends its bytes.
#[derive(Clone, Copy)]
pub(crate) enum To {
    /// The explicit proxy.
    Proxy,
    /// The address of a name, on a port.
    Name(&'static str, u16),
    /// An address inside the jail.
    Inside(&'static str),
}

/// An attack by bytes: its number and title, where to, the bytes, the twin's bytes for the same place, and the control.
pub(crate) type Case = (&'static str, To, &'static str, &'static str, Control);

/// One in which some of it is allowed: with the text that a server says if the rest gets there.
pub(crate) type Part = (&'static str, To, &'static str, &'static str, Control);

pub(crate) const GET_EVIL: &str = "GET / HTTP/1.1\r\nHost: evil.test\r\nConnection: close\r\n\r\n";
pub(crate) const WEB: To = To::Name("allowed.test", 80);
pub(crate) const GOOD: &str = "GET / HTTP/1.1\r\nHost: allowed.test\r\nConnection: close\r\n\r\n";
pub(crate) const CONNECT_GOOD: &str = "CONNECT allowed.test:80 HTTP/1.1\r\nHost: allowed.test:80\r\n\r\nGET / HTTP/1.1\r\nHost: allowed.test\r\nConnection: close\r\n\r\n";
pub(crate) const ABSOLUTE: &str =
    "GET http://allowed.test/ HTTP/1.1\r\nHost: allowed.test\r\nConnection: close\r\n\r\n";
pub(crate) const EVIL_ADDRESS: &str = "151.101.1.2";
pub(crate) const EVIL: Control = Control::Direct("151.101.1.2:80", GET_EVIL);

/// Tries all of it.
pub(crate) fn run<J: Jails>(world: &World, jails: &J) {
    let jail = jails.start("builder", EGRESS);
    world.packets.take();
    let suite = Suite {
        world,
        jail: &*jail,
        are_counted_singly: !J::ARE_REAL,
        numbers: RefCell::default(),
        cases: Cell::default(),
        left: RefCell::default(),
        wrong: RefCell::default(),
    };
    suite.each(names::CASES);
    suite.each(heads::CASES);
    suite.are_told(names::CASES.len() + heads::CASES.len(), "all of these");
    suite.parts(heads::PARTS);
    handshakes::run(&suite);
    addresses::run(&suite, J::ARE_REAL);
    addresses::on_rebinding(&suite, jails);
    look_ups::run(&suite);
    look_ups::on_random_names(&suite, jails);
    kernel::run(&suite, J::ARE_REAL);
    loading::run(&suite, jails);
    reading::run(&suite, jails);
    known::all_are_here(&suite.numbers.borrow(), J::ARE_REAL);
    suite.tell();
}

/// A run of the attacks, and what has come of it so far.
pub(crate) struct Suite<'a> {
    pub(crate) world: &'a World,
    pub(crate) jail: &'a dyn Inside,
    are_counted_singly: bool,
    numbers: RefCell<BTreeSet<u8>>,
    cases: Cell<usize>,
    left: RefCell<Seen>,
    wrong: RefCell<Vec<String>>,
}

/// The names of this world that some jail here is allowed and that lead to public addresses.
fn is_allowed_name(name: &str) -> bool {
    let asked = [EGRESS, addresses::REBINDING]
        .iter()
        .any(|text| text.split('"').any(|host| host.rsplit_once(':').map_or(host, |(host, _)| host) == name));
    asked || name.ends_with(".wild.test") || name == reading::PAGE
}

/// Where those names lead, as far as it may be dialled.
const ALLOWED: &[&str] = &["9.9.9.9", "2606:4700::1111", "151.101.1.1", "2a04:4e42::1", "100.128.0.1"];
/// Where answers come to, and what the owner of this world gave a name.
const OWN: &[&str] = &["192.168.77.2", "fd77::2", "127.0.0.1", "5.5.5.5"];

fn is_in(list: &[&str], address: IpAddr) -> bool {
    list.iter().any(|text| text.parse() == Ok(address))
}

impl Suite<'_> {
    /// Notes what is wrong; all of it is said at the end.
    pub(crate) fn expect(&self, is_right: bool, what: impl FnOnce() -> String) {
        if !is_right {
            let what = what();
            println!("WRONG {what}");
            self.wrong.borrow_mut().push(what);
        }
    }

    /// Counts a case: its title begins with the number of the way around that it is about.
    pub(crate) fn begin(&self, id: &str) {
        let number = id.split(' ').next().and_then(|word| word.parse().ok());
        self.numbers.borrow_mut().insert(number.unwrap_or_else(|| panic!("{id:?} has no number")));
        self.cases.set(self.cases.get() + 1);
    }

    /// What left since the last look went to allowed names only.
    pub(crate) fn only_allowed(&self, id: &str) {
        let seen = self.world.packets.take();
        self.expect(seen.names.iter().all(|name| is_allowed_name(name)), || format!("{id}: {seen:?}"));
        let local: SocketAddr = "127.0.0.1:8099".parse().unwrap();
        let is_right = |to: &SocketAddr| is_in(ALLOWED, to.ip()) || *to == local;
        self.expect(seen.connections.iter().all(is_right), || format!("{id}: {seen:?}"));
        self.expect(seen.segments.iter().all(|to| is_in(ALLOWED, *to) || is_in(OWN, *to)), || {
            format!("{id}: {seen:?}")
        });
        self.expect(seen.others.is_empty() && seen.unread == 0, || format!("{id}: {seen:?}"));
        let mut left = self.left.borrow_mut();
        left.names.extend(seen.names);
        left.connections.extend(seen.connections);
    }

    /// Nothing left since the last look but the last words of connections that were allowed.
    pub(crate) fn nothing_left(&self, id: &str) {
        let seen = self.world.packets.take();
        let are_last_words = seen.segments.iter().all(|to| is_in(ALLOWED, *to) || is_in(OWN, *to));
        let rest = Seen { segments: BTreeSet::new(), ..seen.clone() };
        self.expect(are_last_words && rest == Seen::default(), || format!("{id}: {seen:?}"));
    }

    /// Does what needs no jail, and looks away: it reaches what a jail may not.
    pub(crate) fn control<T>(&self, id: &str, action: impl FnOnce() -> T) -> T {
        self.only_allowed(id);
        let done = action();
        self.world.packets.forget();
        done
    }

    /// From the host, without anything in between.
    pub(crate) fn talk_outside(&self, address: &str, bytes: &[u8]) -> Vec<u8> {
        self.world.outside.talk(address.parse().unwrap(), bytes)
    }

    pub(crate) fn goal(&self, to: To) -> SocketAddr {
        match to {
            To::Proxy => SocketAddr::new([127, 0, 0, 1].into(), PROXY),
            To::Name(name, port) => SocketAddr::new(look_ups::looked_up(self.jail, name), port),
            To::Inside(address) => address.parse().unwrap(),
        }
    }

    fn each(&self, cases: &[Case]) {
        for (id, to, attack, twin, control) in cases {
            self.begin(id);
            let address = self.goal(*to);
            let before = self.jail.refusals();
            let answer = self.jail.agent().talk(address, attack.as_bytes());
            self.expect(!has(&answer, MARK) && !has(&answer, "101 Switching"), || format!("{id}: {}", text(&answer)));
            self.only_allowed(id);
            if self.are_counted_singly {
                self.are_told(before + 1, id);
            }
            match *twin {
                "" => handshakes::twin(self, id),
                twin => self.twin(id, *to, twin),
            }
            self.check(id, attack, MARK, control);
        }
    }

    fn parts(&self, parts: &[Part]) {
        for (id, to, attack, goal, control) in parts {
            self.begin(id);
            let answer = self.jail.agent().talk(self.goal(*to), attack.as_bytes());
            // That the first part is there is the twin.
            self.expect(has(&answer, "HTTP/1.1 ") && !has(&answer, goal), || format!("{id}: {}", text(&answer)));
            self.only_allowed(id);
            self.check(id, attack, goal, control);
        }
    }

    /// Whatever is refused is told: at once, or a while later together with others like it.
    fn are_told(&self, wanted: usize, id: &str) {
        let begin = Instant::now();
        while self.jail.refusals() < wanted && begin.elapsed() < Duration::from_secs(15) {
            thread::sleep(Duration::from_millis(5));
        }
        let told = self.jail.refusals();
        self.expect(told >= wanted, || format!("{id}: {wanted} were refused, and {told} told of"));
    }

    fn twin(&self, id: &str, to: To, twin: &str) {
        let to = match to {
            To::Inside(_) => WEB,
            other => other,
        };
        let answer = self.jail.agent().talk(self.goal(to), twin.as_bytes());
        self.expect(has(&answer, MARK), || format!("{id}, its twin: {}", text(&answer)));
        self.only_allowed(id);
    }

    fn check(&self, id: &str, attack: &str, goal: &str, control: &Control) {
        let answer = self.control(id, || match control {
            Control::Direct(address, bytes) => self.talk_outside(address, bytes.as_bytes()),
            Control::Same(address) => self.talk_outside(address, attack.as_bytes()),
            Control::Plain => self.talk_outside(&format!("127.0.0.1:{PLAIN}"), attack.as_bytes()),
            Control::Nowhere(_) => Vec::new(),
        });
        let is_reached = has(&answer, goal) || has(&answer, "101 Switching");
        let is_nowhere = matches!(control, Control::Nowhere(_));
        self.expect(is_reached || is_nowhere, || format!("{id}, its control: {}", text(&answer)));
    }

    fn tell(&self) {
        let wrong = self.wrong.borrow();
        assert!(wrong.is_empty(), "{} of it went wrong:\n{}", wrong.len(), wrong.join("\n"));
        let left = self.left.borrow();
        println!(
            "{} cases; {} look-ups and {} connections left, all of them to allowed names; nothing else",
            self.cases.get(),
            left.names.len(),
            left.connections.len()
        );
    }
}

pub(crate) fn has(answer: &[u8], text: &str) -> bool {
    answer.windows(text.len()).any(|window| window == text.as_bytes())
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

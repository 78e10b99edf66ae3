//! Names that are allowed and lead where no public name may.

use super::Control::{Direct, Nowhere};
use super::{Control, GET_EVIL, Jails, Suite, To, has, text};
use crate::world::internet::MARK;

/// What the agent of the cases about changing answers is allowed.
pub(super) const REBINDING: &str = "allow = [\"rebind.test:80\", \"rebindpool.test:80\"]";

const NO_TCP: Control = Nowhere("no connection is made to such an address");

const fn at(address: &'static str) -> Control {
    Direct(address, GET_EVIL)
}

/// The name, the port, and where somebody who asks without Mantlet finds a server.
type Special = (&'static str, &'static str, u16, Control);

const SPECIAL: &[Special] = &[
    ("33 a public name of the loopback", "loop.test", 8099, at("127.0.0.1:8099")),
    ("34 no address", "zero.test", 8099, at("0.0.0.0:8099")),
    ("34 no address, IPv6", "zero6.test", 8099, at("[::]:8099")),
    ("35 the loopback's last address", "looplast.test", 8099, at("127.255.255.254:8099")),
    ("36 the loopback of IPv6", "loop6.test", 8099, at("[::1]:8099")),
    ("36 a mapped address", "mapped.test", 8099, at("[::ffff:127.0.0.1]:8099")),
    ("37 a compatible address", "compat.test", 8099, at("[::127.0.0.1]:8099")),
    ("37 a translated address", "translated.test", 80, at("[::ffff:0:7f00:1]:80")),
    ("38 NAT64", "nat64.test", 80, at("[64:ff9b::7f00:1]:80")),
    ("38 NAT64 of a network's own", "nat64local.test", 80, at("[64:ff9b:1::1]:80")),
    ("39 6to4", "sixtofour.test", 80, at("[2002:7f00:1::1]:80")),
    ("40 Teredo", "teredo.test", 80, at("[2001::1]:80")),
    ("41 ISATAP", "isatap.test", 80, at("[2a00::5efe:7f00:1]:80")),
    ("42 private", "private.test", 80, at("10.1.2.3:80")),
    ("42 private, 172.16/12", "private172.test", 80, at("172.16.0.1:80")),
    ("42 private, 192.168/16", "lan.test", 80, at("192.168.77.1:80")),
    ("43 shared by customers", "cgnat.test", 80, at("100.64.0.1:80")),
    ("43 the last of those", "cgnatlast.test", 80, at("100.127.255.254:80")),
    ("44 metadata", "meta.test", 80, at("169.254.169.254:80")),
    ("45 metadata over IPv6", "meta6.test", 80, at("[fd00:ec2::254]:80")),
    ("45 metadata, another cloud over IPv6", "metagcp6.test", 80, at("[fd20:ce::254]:80")),
    ("45 metadata, Alibaba", "metaalibaba.test", 80, at("100.100.100.200:80")),
    ("45 metadata, Azure", "metaazure.test", 80, at("168.63.129.16:80")),
    ("45 metadata, Oracle", "metaoracle.test", 80, at("192.0.0.192:80")),
    ("45 metadata, Scaleway", "metascaleway.test", 80, at("[fd00:42::42]:80")),
    ("46 metadata by its name", "metadata.google.internal", 80, at("169.254.169.254:80")),
    ("47 metadata, mapped", "mappedmeta.test", 80, at("[::ffff:169.254.169.254]:80")),
    ("48 many at once", "multicast.test", 80, NO_TCP),
    ("48 all at once", "broadcast.test", 80, NO_TCP),
    ("49 unique local", "ula.test", 80, at("[fd77::1]:80")),
    ("49 link local", "linklocal.test", 80, NO_TCP),
    ("50 an address of this host", "own.test", 8099, at("5.5.5.5:8099")),
    ("50 this host's address on the network", "owncable.test", 8099, at("192.168.77.2:8099")),
    ("52 the host of containers", "host.docker.internal", 80, at("192.168.77.1:80")),
    ("55 one public answer, one private", "mixed.test", 80, at("10.1.2.3:80")),
    ("56 an alias of something private", "cname.test", 80, at("10.1.2.3:80")),
    ("56 a name in the host's own list", "written.test", 80, at("10.1.2.3:80")),
    ("28 an address of the kind that jails use", "synthetic.test", 80, at("198.18.1.1:80")),
];

/// An address that the owner gave a name, and that Mantlet itself listens on. In a real jail its doors are such addresses.
const OURS: Special = ("51 our own port", "ours.local-name", 8098, at("127.0.0.1:8098"));

pub(super) fn run(suite: &Suite<'_>, are_real: bool) {
    for (id, name, port, control) in SPECIAL.iter().chain((!are_real).then_some(&OURS)) {
        suite.begin(id);
        let answer = suite.jail.agent().talk(suite.goal(To::Name(name, *port)), &request(name, *port));
        let said = text(&answer);
        suite.expect(said.starts_with("HTTP/1.1 403") && said.contains("it resolves to"), || format!("{id}: {said}"));
        // The name is allowed, so that it was asked for; nothing was dialled.
        let seen = suite.world.packets.take();
        let is_quiet = seen.connections.is_empty() && seen.others.is_empty();
        suite.expect(is_quiet && seen.names.iter().all(|asked| asked == name), || format!("{id}: {seen:?}"));
        suite.check(id, "", MARK, control);
    }
    // The twins of them all: the owner gave one such address a name, and just behind such a range is a public one.
    for (name, port) in [("host.local-name", 8099), ("cgnatnext.test", 80)] {
        let answer = suite.jail.agent().talk(suite.goal(To::Name(name, port)), &request(name, port));
        suite.expect(has(&answer, MARK), || format!("{name}: {}", text(&answer)));
        suite.only_allowed(name);
    }
}

fn request(name: &str, port: u16) -> Vec<u8> {
    let host = if port == 80 { name.to_owned() } else { format!("{name}:{port}") };
    format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").into_bytes()
}

/// Names that are public when they are asked for first, and private from then on. Another jail: these count answers.
pub(super) fn on_rebinding<J: Jails>(suite: &Suite<'_>, jails: &J) {
    let jail = jails.start("builder", REBINDING);
    let inside = |name| suite.inside(&*jail, name, 80);
    suite.begin("54 another answer the second time");
    suite.world.packets.forget();
    let address = inside("rebind.test");
    let answer = jail.agent().talk(address, &request("rebind.test", 80));
    suite.expect(has(&answer, MARK), || format!("the first answer is public: {}", text(&answer)));
    let seen = suite.world.packets.take();
    // Asked once for each family, and never again before dialling.
    let is_right = seen.names == ["rebind.test"; 2] && seen.connections == ["9.9.9.9:80".parse().unwrap()];
    suite.expect(is_right, || format!("the first answer: {seen:?}"));
    let answer = jail.agent().talk(address, &request("rebind.test", 80));
    suite.expect(text(&answer).contains("10.1.2.3, which is private use"), || {
        format!("the second is not: {}", text(&answer))
    });
    let seen = suite.world.packets.take();
    suite.expect(seen.connections.is_empty(), || format!("the second answer: {seen:?}"));
    // Two requests on one connection: the second goes where the first one did, or is checked anew.
    suite.begin("57 another answer on a connection that is kept");
    let both = "GET /one HTTP/1.1\r\nHost: rebindpool.test\r\n\r\n".repeat(2);
    let answer = jail.agent().talk(inside("rebindpool.test"), both.as_bytes());
    suite.expect(has(&answer, MARK), || format!("a connection that is kept: {}", text(&answer)));
    let seen = suite.world.packets.take();
    suite.expect(seen.connections.iter().all(|to| to.to_string() == "9.9.9.9:80"), || format!("kept: {seen:?}"));
    // The control: who asks twice would have dialled it.
    assert!(has(&suite.talk_outside("10.1.2.3:80", GET_EVIL.as_bytes()), MARK));
    suite.world.packets.forget();
}

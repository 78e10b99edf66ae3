//! The list of known ways around a way out, and what becomes of each here.
//!
//! A case's title begins with a number of this list, so that the suite itself says which of them it has tried.

use std::collections::BTreeSet;

/// What becomes of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Known {
    /// Cases of this suite, in every jail.
    Here,
    /// Cases of this suite that need everything that a real jail is.
    Real,
    /// It is about what is inside TLS, or about credentials that are put in there: nothing is opened so far.
    Opened,
    /// No decision by name can see it; docs/egress-internals.md says so under "What it does not do".
    Left,
}
use Known::{Here, Left, Opened, Real};

pub(crate) const KNOWN: &[(u8, Known, &str)] = &[
    (1, Here, "a suffix without a dot"),
    (2, Here, "an allowed name in front of another domain"),
    (3, Here, "letters of either size"),
    (4, Here, "one trailing dot"),
    (5, Here, "more dots, and empty labels"),
    (6, Here, "a wildcard and its own domain"),
    (7, Here, "a wildcard and addresses"),
    (8, Here, "wildcards over registries"),
    (9, Here, "stars in the wrong place"),
    (10, Here, "letters that look alike"),
    (11, Here, "one name in two scripts"),
    (12, Here, "dots that are not ASCII"),
    (13, Here, "letters of no width"),
    (14, Here, "escaped dots"),
    (15, Here, "a NUL in CONNECT"),
    (16, Here, "a NUL in SOCKS"),
    (17, Here, "an escaped NUL"),
    (18, Here, "spaces and line ends in a host"),
    (19, Here, "user information"),
    (20, Here, "backslashes in a host"),
    (21, Here, "fragments and queries in a host"),
    (22, Here, "names that are too long"),
    (23, Here, "underscores"),
    (24, Here, "a port inside a host"),
    (25, Here, "ports that are none"),
    (26, Here, "IPv6 without brackets"),
    (27, Here, "another port of an allowed name"),
    (28, Here, "an address where a name belongs"),
    (29, Here, "a decimal address"),
    (30, Here, "an octal address"),
    (31, Here, "a hexadecimal address"),
    (32, Here, "a short address"),
    (33, Here, "a public name of the loopback"),
    (34, Here, "the unspecified addresses"),
    (35, Here, "the rest of the loopback"),
    (36, Here, "the loopback of IPv6, and mapped"),
    (37, Here, "IPv4 in IPv6: compatible and translated"),
    (38, Here, "IPv4 in IPv6: NAT64"),
    (39, Here, "IPv4 in IPv6: 6to4"),
    (40, Here, "IPv4 in IPv6: Teredo"),
    (41, Here, "IPv4 in IPv6: ISATAP"),
    (42, Here, "private ranges"),
    (43, Here, "the range that customers share"),
    (44, Here, "the metadata address"),
    (45, Here, "metadata addresses of other clouds"),
    (46, Here, "metadata by name"),
    (47, Here, "metadata, mapped"),
    (48, Here, "multicast and broadcast"),
    (49, Here, "local ranges of IPv6, and zones"),
    (50, Here, "the host's own addresses"),
    (51, Here, "the proxy's own port"),
    (52, Here, "the host under the name that containers have for it"),
    (53, Here, "ports of control planes"),
    (54, Here, "an answer that changes"),
    (55, Here, "public and private answers together"),
    (56, Here, "an alias of something private"),
    (57, Here, "an answer that changes while a connection is kept"),
    (58, Here, "a policy that would allow the loopback"),
    (59, Here, "CONNECT to one host, a request for another"),
    (60, Here, "the handshake for one host, or the address of it, and a request for another"),
    (61, Here, "CONNECT to one host, the handshake for another"),
    (62, Here, "a handshake without a name"),
    (63, Here, "handshakes that are hard to read"),
    (64, Here, "an encrypted ClientHello"),
    (65, Here, "something else than TLS"),
    (66, Here, "URL and Host differ"),
    (67, Here, "no Host, or two"),
    (68, Here, "the next request on a connection"),
    (69, Here, "length and chunks"),
    (70, Here, "two lengths"),
    (71, Here, "codings that are unknown or doubled"),
    (72, Here, "line ends that are not CR LF, and folded lines"),
    (73, Here, "chunks with more in them"),
    (74, Here, "a request behind a body"),
    (75, Here, "an upgrade to HTTP/2"),
    (76, Here, "HTTP/2 from the start"),
    (77, Opened, "an authority of HTTP/2: there is no HTTP/2 where requests are seen"),
    (78, Here, "answers nobody asked for"),
    (79, Here, "WebSocket instead of requests"),
    (80, Here, "TRACE"),
    (81, Here, "dot segments"),
    (82, Here, "escaped slashes"),
    (83, Here, "NUL in a path"),
    (84, Here, "methods by another way"),
    (85, Here, "redirects"),
    (86, Here, "fields of other proxies"),
    (87, Here, "Connection takes fields away"),
    (88, Here, "URLs of another scheme at the plain proxy"),
    (89, Here, "no proxy at all"),
    (90, Here, "no proxy by environment"),
    (91, Here, "a name server by its address"),
    (92, Here, "names over TCP and TLS"),
    (93, Here, "names over HTTPS at an address"),
    (94, Here, "QUIC and other UDP"),
    (95, Here, "ICMP"),
    (96, Here, "raw packets and frames"),
    (97, Here, "other families, netlink, namespaces"),
    (98, Real, "sockets that are files"),
    (99, Here, "abstract sockets"),
    (100, Here, "io_uring"),
    (101, Here, "connections without connect, and options of sockets"),
    (102, Here, "IPv6"),
    (103, Here, "descriptors of others"),
    (104, Here, "a proxy inside"),
    (105, Here, "others at the way out of a jail"),
    (106, Left, "an allowed host that fetches for others"),
    (107, Here, "a secret in a look-up"),
    (108, Here, "random names below an allowed wildcard"),
    (109, Here, "a secret in a request: what a reader may say; for others, nothing is read so far"),
    (110, Opened, "one host's placeholder at another"),
    (111, Opened, "a placeholder in pieces"),
    (112, Opened, "a secret that a server says back"),
    (113, Opened, "the attacker's own credential at an allowed host"),
];

/// Every way that is said to be tried has been.
pub(super) fn all_are_here(tried: &BTreeSet<u8>, are_real: bool) {
    assert!(KNOWN.iter().map(|(number, _, _)| *number).eq(1..=113));
    let is_wanted = |known: &Known| *known == Here || (are_real && *known == Real);
    let missing: Vec<_> =
        KNOWN.iter().filter(|(number, known, _)| is_wanted(known) && !tried.contains(number)).collect();
    assert!(missing.is_empty(), "not tried: {missing:?}");
    let said: Vec<_> =
        KNOWN.iter().filter(|(number, known, _)| matches!(known, Opened | Left) && tried.contains(number)).collect();
    assert!(said.is_empty(), "tried, and said not to be: {said:?}");
}

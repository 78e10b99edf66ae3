//! Addresses that no public name may lead to: IANA's special-purpose registries, and what clouds put beside them. Data.
//!
//! The attack: a name that is allowed, or was allowed yesterday, resolves to the machine itself, to its network or to a
//! cloud's metadata service. Sources: <https://www.iana.org/assignments/iana-ipv4-special-registry>,
//! <https://www.iana.org/assignments/iana-ipv6-special-registry>, the multicast registries, and the documents named.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What an address is that no public name may lead to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A cloud's metadata service: whoever reaches it may get the machine's credentials.
    Metadata,
    /// This host, or a network next to it.
    Local,
    /// Not one host on the internet: reserved, documentation, multicast, a tunnel's inside.
    Reserved,
}

/// One row: a range, what it is, and where that is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Special {
    /// The range, `address/bits`.
    pub range: &'static str,
    /// What it is, in a few words.
    pub what: &'static str,
    /// The document.
    pub source: &'static str,
    /// The kind.
    pub kind: Kind,
}

/// A range with its bits, ready to compare.
struct Row<A> {
    base: A,
    bits: u32,
    special: Special,
}

macro_rules! v4 {
    ($kind:ident, $text:literal, [$($part:literal),*], $bits:literal, $what:literal, $source:literal) => {
        Row {
            base: u32::from_be_bytes([$($part),*]),
            bits: $bits,
            special: Special { range: concat!($text, "/", $bits), what: $what, source: $source, kind: Kind::$kind },
        }
    };
}

macro_rules! v6 {
    ($kind:ident, $text:literal, [$($part:literal),*], $bits:literal, $what:literal, $source:literal) => {
        Row {
            base: Ipv6Addr::new($($part),*).to_bits(),
            bits: $bits,
            special: Special { range: concat!($text, "/", $bits), what: $what, source: $source, kind: Kind::$kind },
        }
    };
}

/// The first row that matches is the answer: narrow ones first.
const V4: &[Row<u32>] = &[
    v4!(
        Metadata,
        "169.254.169.254",
        [169, 254, 169, 254],
        32,
        "metadata service",
        "AWS, Azure, GCP, OCI, Hetzner, DigitalOcean"
    ),
    v4!(Metadata, "169.254.170.2", [169, 254, 170, 2], 32, "container credentials", "AWS ECS"),
    v4!(Metadata, "169.254.170.23", [169, 254, 170, 23], 32, "pod credentials", "AWS EKS"),
    v4!(Metadata, "169.254.42.42", [169, 254, 42, 42], 32, "metadata service", "Scaleway"),
    v4!(Metadata, "100.100.100.200", [100, 100, 100, 200], 32, "metadata service", "Alibaba Cloud"),
    v4!(Metadata, "168.63.129.16", [168, 63, 129, 16], 32, "host agent", "Azure"),
    v4!(Metadata, "192.0.0.192", [192, 0, 0, 192], 32, "metadata service", "Oracle Cloud"),
    v4!(Reserved, "0.0.0.0", [0, 0, 0, 0], 8, "this network", "RFC 791"),
    v4!(Local, "10.0.0.0", [10, 0, 0, 0], 8, "private use", "RFC 1918"),
    v4!(Local, "100.64.0.0", [100, 64, 0, 0], 10, "shared address space", "RFC 6598"),
    v4!(Local, "127.0.0.0", [127, 0, 0, 0], 8, "loopback", "RFC 1122"),
    v4!(Local, "169.254.0.0", [169, 254, 0, 0], 16, "link local", "RFC 3927"),
    v4!(Local, "172.16.0.0", [172, 16, 0, 0], 12, "private use", "RFC 1918"),
    v4!(Reserved, "192.0.0.0", [192, 0, 0, 0], 24, "protocol assignments", "RFC 6890"),
    v4!(Reserved, "192.0.2.0", [192, 0, 2, 0], 24, "documentation", "RFC 5737"),
    v4!(Reserved, "192.31.196.0", [192, 31, 196, 0], 24, "AS112 anycast", "RFC 7535"),
    v4!(Reserved, "192.52.193.0", [192, 52, 193, 0], 24, "AMT anycast", "RFC 7450"),
    v4!(Reserved, "192.88.99.0", [192, 88, 99, 0], 24, "6to4 relay anycast", "RFC 7526"),
    v4!(Local, "192.168.0.0", [192, 168, 0, 0], 16, "private use", "RFC 1918"),
    v4!(Reserved, "192.175.48.0", [192, 175, 48, 0], 24, "AS112 anycast", "RFC 7534"),
    v4!(Reserved, "198.18.0.0", [198, 18, 0, 0], 15, "benchmarking, and our synthetic addresses", "RFC 2544"),
    v4!(Reserved, "198.51.100.0", [198, 51, 100, 0], 24, "documentation", "RFC 5737"),
    v4!(Reserved, "203.0.113.0", [203, 0, 113, 0], 24, "documentation", "RFC 5737"),
    v4!(Reserved, "224.0.0.0", [224, 0, 0, 0], 4, "multicast", "RFC 5771"),
    v4!(Reserved, "255.255.255.255", [255, 255, 255, 255], 32, "broadcast", "RFC 8190"),
    v4!(Reserved, "240.0.0.0", [240, 0, 0, 0], 4, "reserved", "RFC 1112"),
];

const V6: &[Row<u128>] = &[
    v6!(Metadata, "fd00:ec2::254", [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254], 128, "metadata service", "AWS"),
    v6!(Metadata, "fd00:ec2::23", [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23], 128, "pod credentials", "AWS EKS"),
    v6!(Metadata, "fd20:ce::254", [0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254], 128, "metadata service", "GCP"),
    v6!(Metadata, "fd00:42::42", [0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42], 128, "metadata service", "Scaleway"),
    v6!(Local, "::1", [0, 0, 0, 0, 0, 0, 0, 1], 128, "loopback", "RFC 4291"),
    v6!(Reserved, "::", [0, 0, 0, 0, 0, 0, 0, 0], 128, "unspecified", "RFC 4291"),
    v6!(Reserved, "::ffff:0:0", [0, 0, 0, 0, 0, 0xffff, 0, 0], 96, "IPv4 in IPv6, mapped", "RFC 4291"),
    v6!(Reserved, "::ffff:0:0:0", [0, 0, 0, 0, 0xffff, 0, 0, 0], 96, "IPv4 in IPv6, translated", "RFC 2765"),
    v6!(Reserved, "::", [0, 0, 0, 0, 0, 0, 0, 0], 96, "IPv4 in IPv6, compatible", "RFC 4291"),
    v6!(Reserved, "64:ff9b:1::", [0x64, 0xff9b, 1, 0, 0, 0, 0, 0], 48, "local-use translation", "RFC 8215"),
    v6!(Reserved, "100::", [0x100, 0, 0, 0, 0, 0, 0, 0], 64, "discard only", "RFC 6666"),
    v6!(Reserved, "100:0:0:1::", [0x100, 0, 0, 1, 0, 0, 0, 0], 64, "dummy prefix", "RFC 9780"),
    v6!(Reserved, "2001::", [0x2001, 0, 0, 0, 0, 0, 0, 0], 32, "Teredo", "RFC 4380"),
    v6!(Reserved, "2001:2::", [0x2001, 2, 0, 0, 0, 0, 0, 0], 48, "benchmarking", "RFC 5180"),
    v6!(Reserved, "2001:3::", [0x2001, 3, 0, 0, 0, 0, 0, 0], 32, "AMT", "RFC 7450"),
    v6!(Reserved, "2001:4:112::", [0x2001, 4, 0x112, 0, 0, 0, 0, 0], 48, "AS112 anycast", "RFC 7535"),
    v6!(Reserved, "2001:10::", [0x2001, 0x10, 0, 0, 0, 0, 0, 0], 28, "ORCHID", "RFC 4843"),
    v6!(Reserved, "2001:20::", [0x2001, 0x20, 0, 0, 0, 0, 0, 0], 28, "ORCHIDv2", "RFC 7343"),
    v6!(Reserved, "2001:30::", [0x2001, 0x30, 0, 0, 0, 0, 0, 0], 28, "drone identifiers", "RFC 9374"),
    v6!(Reserved, "2001::", [0x2001, 0, 0, 0, 0, 0, 0, 0], 23, "protocol assignments", "RFC 2928"),
    v6!(Reserved, "2001:db8::", [0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32, "documentation", "RFC 3849"),
    v6!(Reserved, "2002::", [0x2002, 0, 0, 0, 0, 0, 0, 0], 16, "6to4", "RFC 3056"),
    v6!(Reserved, "2620:4f:8000::", [0x2620, 0x4f, 0x8000, 0, 0, 0, 0, 0], 48, "AS112 anycast", "RFC 7534"),
    v6!(Reserved, "3fff::", [0x3fff, 0, 0, 0, 0, 0, 0, 0], 20, "documentation", "RFC 9637"),
    v6!(Reserved, "5f00::", [0x5f00, 0, 0, 0, 0, 0, 0, 0], 16, "segment routing", "RFC 9602"),
    v6!(Local, "fc00::", [0xfc00, 0, 0, 0, 0, 0, 0, 0], 7, "unique local", "RFC 4193"),
    v6!(Local, "fe80::", [0xfe80, 0, 0, 0, 0, 0, 0, 0], 10, "link local", "RFC 4291"),
    v6!(Local, "fec0::", [0xfec0, 0, 0, 0, 0, 0, 0, 0], 10, "site local", "RFC 3879"),
    v6!(Reserved, "ff00::", [0xff00, 0, 0, 0, 0, 0, 0, 0], 8, "multicast", "RFC 4291"),
];

const ISATAP: Special =
    Special { range: "*::0:5efe:*/64", what: "IPv4 in IPv6, ISATAP", source: "RFC 5214", kind: Kind::Reserved };
const NOT_GLOBAL: Special =
    Special { range: "outside 2000::/3", what: "not global unicast", source: "RFC 4291", kind: Kind::Reserved };

/// Returns what an address is when no public name may lead to it; nothing for an ordinary address on the internet.
pub fn special(address: IpAddr) -> Option<&'static Special> {
    match address {
        IpAddr::V4(v4) => special_v4(v4),
        IpAddr::V6(v6) => special_v6(v6),
    }
}

fn special_v4(address: Ipv4Addr) -> Option<&'static Special> {
    let bits = address.to_bits();
    V4.iter().find(|row| (bits ^ row.base).leading_zeros() >= row.bits).map(|row| &row.special)
}

fn special_v6(address: Ipv6Addr) -> Option<&'static Special> {
    let bits = address.to_bits();
    if let Some(row) = V6.iter().find(|row| (bits ^ row.base).leading_zeros() >= row.bits) {
        return Some(&row.special);
    }
    let [a, b, c, d, e, f, g, h] = address.segments();
    // A network with DNS64 answers with these for every IPv4-only name; what is inside decides (RFC 6052).
    if [a, b, c, d, e, f] == [0x64, 0xff9b, 0, 0, 0, 0] {
        let [[g1, g2], [h1, h2]] = [g.to_be_bytes(), h.to_be_bytes()];
        return special_v4(Ipv4Addr::new(g1, g2, h1, h2));
    }
    if matches!(e, 0 | 0x200) && f == 0x5efe {
        return Some(&ISATAP);
    }
    (a & 0xe000 != 0x2000).then_some(&NOT_GLOBAL)
}

/// The bits of each IPv6 address that names a host inside the jail: a unique local prefix of ours.
pub const SYNTHETIC_V6: Ipv6Addr = Ipv6Addr::new(0xfd6d, 0x616e, 0x746c, 0, 0, 0, 0, 0);
/// The first IPv4 address of the range that names hosts inside the jail, 198.18.0.0/15.
pub const SYNTHETIC_V4: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 0);

/// Says why an address cannot be the one behind a name of `[[agent.X.egress.local]]`.
pub(crate) fn not_local(address: IpAddr) -> Option<&'static str> {
    if let IpAddr::V6(v6) = address {
        let [.., e, f, _, _] = v6.segments();
        if v6.to_ipv4_mapped().is_some() {
            return Some("IPv4 written as IPv6; write the IPv4 address");
        }
        if v6.segments()[0] & 0xffc0 == 0xfe80 {
            return Some("link local: without an interface it names no one host");
        }
        if matches!(e, 0 | 0x200) && f == 0x5efe {
            return Some("a tunnel's address");
        }
        if v6.segments()[..4] == SYNTHETIC_V6.segments()[..4] {
            return Some("one of the addresses that stand for names inside the jail");
        }
    }
    let special = special(address)?;
    match special.kind {
        Kind::Metadata => Some("a cloud's metadata service, which gives away the machine's credentials"),
        Kind::Local if special.what == "link local" => Some("link local, where metadata services are"),
        Kind::Local => None,
        Kind::Reserved => Some("no address of one host"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Option<&'static str> {
        special(text.parse().unwrap()).map(|row| row.what)
    }

    #[test]
    fn every_row_holds_its_first_and_last_address() {
        for row in V4 {
            let last = row.base | u32::MAX.checked_shr(row.bits).unwrap_or(0);
            assert_eq!(row.base & last, row.base);
            for bits in [row.base, last] {
                let address = IpAddr::V4(Ipv4Addr::from_bits(bits));
                assert!(special(address).is_some(), "{} {address}", row.special.range);
            }
            let first = special(IpAddr::V4(Ipv4Addr::from_bits(row.base))).unwrap();
            assert!(first.range == row.special.range || first.kind == Kind::Metadata, "{}", row.special.range);
            let (base, width) = row.special.range.split_once('/').unwrap();
            assert_eq!(base.parse::<Ipv4Addr>().unwrap().to_bits(), row.base);
            assert_eq!(width.parse(), Ok(row.bits));
        }
        for row in V6 {
            let last = row.base | u128::MAX.checked_shr(row.bits).unwrap_or(0);
            for bits in [row.base, last] {
                let address = IpAddr::V6(Ipv6Addr::from_bits(bits));
                assert!(special(address).is_some(), "{} {address}", row.special.range);
            }
            let (base, width) = row.special.range.split_once('/').unwrap();
            assert_eq!(base.parse::<Ipv6Addr>().unwrap().to_bits(), row.base);
            assert_eq!(width.parse(), Ok(row.bits));
        }
    }

    #[test]
    fn the_addresses_next_to_a_range_are_ordinary() {
        for text in [
            "1.0.0.0",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "169.253.255.255",
            "169.255.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "191.255.255.255",
            "192.0.1.0",
            "192.0.3.0",
            "192.167.255.255",
            "192.169.0.0",
            "198.17.255.255",
            "198.20.0.0",
            "198.51.99.255",
            "198.51.101.0",
            "203.0.112.255",
            "203.0.114.0",
            "223.255.255.255",
            "168.63.129.15",
            "9.9.9.9",
            "2000::",
            "2001:200::",
            "2001:4860:4860::8888",
            "2001:db7:ffff::",
            "2001:db9::",
            "2003::",
            "2606:4700::1111",
            "3ffe:ffff::",
            "2a00:1450::1",
            "64:ff9b::909:909",
        ] {
            assert_eq!(of(text), None, "{text}");
        }
    }

    #[test]
    fn ipv4_inside_ipv6_is_found_in_every_form() {
        for text in [
            "::ffff:127.0.0.1",
            "::ffff:8.8.8.8",
            "::127.0.0.1",
            "::8.8.8.8",
            "::ffff:0:127.0.0.1",
            "64:ff9b::10.0.0.1",
            "64:ff9b::127.0.0.1",
            "64:ff9b::169.254.169.254",
            "64:ff9b:1::8.8.8.8",
            "64:ff9b:0:0:1::1",
            "2002:a00:1::",
            "2001::1",
            "2a00::5efe:10.0.0.1",
            "2a00::200:5efe:8.8.8.8",
            "::ffff:a9fe:a9fe",
            "4000::1",
            "1::",
            "e000::",
        ] {
            assert!(of(text).is_some(), "{text}");
        }
        assert_eq!(special("64:ff9b::a9fe:a9fe".parse().unwrap()).map(|row| row.kind), Some(Kind::Metadata));
        assert_eq!(of("fd6d:616e:746c::1"), Some("unique local"));
    }

    #[test]
    fn a_local_name_may_stand_for_one_host_and_never_for_metadata() {
        let judge = |text: &str| not_local(text.parse().unwrap());
        for text in ["127.0.0.1", "192.168.1.7", "10.0.0.1", "100.64.0.1", "::1", "fd00::5", "9.9.9.9", "2606:4700::1"]
        {
            assert_eq!(judge(text), None, "{text}");
        }
        for text in [
            "169.254.169.254",
            "169.254.0.1",
            "100.100.100.200",
            "168.63.129.16",
            "192.0.0.192",
            "fd00:ec2::254",
            "fd20:ce::254",
            "fd00:42::42",
            "::ffff:127.0.0.1",
            "0.0.0.0",
            "::",
            "224.0.0.1",
            "255.255.255.255",
            "198.18.0.1",
            "fe80::1",
            "fd6d:616e:746c::1",
            "2002:7f00:1::",
            "64:ff9b::a9fe:a9fe",
            "2a00::5efe:a00:1",
        ] {
            assert!(judge(text).is_some(), "{text}");
        }
    }
}

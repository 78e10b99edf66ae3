//! The addresses that stand for names inside a jail. Pure.
//!
//! An address leads back to exactly one name for the whole run. It is computed from the name, so that a server started
//! again gives the same ones; only names that collide take the next free place.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use mantlet_policy::address::{SYNTHETIC_V4, SYNTHETIC_V6};

use crate::name::{HostName, canonical};
use crate::rules::Rules;

/// 198.18.0.0/15 without its first 256 addresses: the loopback interface has one of those.
const FIRST: u32 = 0x100;
const PLACES: u32 = 0x20000 - FIRST - 1;
/// As many names as one run may look up: a quarter of the places, so that a search for a free one stays short.
pub const MOST_NAMES: usize = 0x8000;

/// Both addresses of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pair {
    /// In 198.18.0.0/15.
    pub v4: Ipv4Addr,
    /// In our prefix, fd6d:616e:746c::/64.
    pub v6: Ipv6Addr,
}

/// Which address stands for which name.
#[derive(Debug, Default)]
pub struct Synthetic {
    place_of: HashMap<HostName, u32>,
    name_at: HashMap<u32, HostName>,
}

impl Synthetic {
    /// Returns the addresses of a name, the same ones each time; nothing when too many names have been looked up.
    pub fn pair(&mut self, name: &HostName) -> Option<Pair> {
        if let Some(place) = self.place_of.get(name) {
            return Some(pair(*place));
        }
        if self.name_at.len() >= MOST_NAMES {
            return None;
        }
        let mut place = hash(name.as_str()) % PLACES;
        while self.name_at.contains_key(&place) {
            place = (place + 1) % PLACES;
        }
        self.place_of.insert(name.clone(), place);
        self.name_at.insert(place, name.clone());
        Some(pair(place))
    }

    /// Returns the name behind an address.
    pub fn name(&self, address: IpAddr) -> Option<&HostName> {
        let bits = match canonical(address) {
            IpAddr::V4(v4) => v4.to_bits(),
            IpAddr::V6(v6) => {
                let below = v6.to_bits().checked_sub(SYNTHETIC_V6.to_bits())?;
                u32::try_from(below).ok()?
            }
        };
        let place = bits.checked_sub(SYNTHETIC_V4.to_bits() + FIRST)?;
        self.name_at.get(&place)
    }
}

/// Returns the addresses on which a jail needs a listener for these rules from the start: ports below 1024 nobody else in a
/// jail can use, and one listener on all addresses takes every name. Others are opened by the server when a name is looked
/// up, from loose sockets.
pub fn listeners(rules: &Rules) -> Vec<SocketAddr> {
    let low = rules.ports().into_iter().filter(|port| *port < 1024);
    low.map(|port| SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port)).collect()
}

fn pair(place: u32) -> Pair {
    let bits = SYNTHETIC_V4.to_bits() + FIRST + place;
    Pair { v4: Ipv4Addr::from_bits(bits), v6: Ipv6Addr::from_bits(SYNTHETIC_V6.to_bits() | u128::from(bits)) }
}

/// FNV-1a. Whoever looks for collisions finds the next free place.
fn hash(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> HostName {
        HostName::from_wire(text.as_bytes()).unwrap()
    }

    #[test]
    fn every_name_has_its_own_addresses_and_each_leads_back() {
        let mut map = Synthetic::default();
        let mut seen = std::collections::HashSet::new();
        for index in 0..MOST_NAMES {
            let name = name(&format!("h{index}.example"));
            let pair = map.pair(&name).unwrap();
            assert!(seen.insert(pair.v4));
            assert!(pair.v4.octets()[..1] == [198] && matches!(pair.v4.octets()[1], 18 | 19));
            for address in [IpAddr::from(pair.v4), pair.v6.into(), pair.v4.to_ipv6_mapped().into()] {
                assert_eq!(map.name(address), Some(&name));
            }
        }
        assert_eq!(map.pair(&name("one.more")), None);
        assert!(map.pair(&name("h5.example")).is_some());
    }

    #[test]
    fn a_new_server_gives_the_same_addresses() {
        let (mut one, mut two) = (Synthetic::default(), Synthetic::default());
        one.pair(&name("other.example"));
        assert_eq!(one.pair(&name("a.example")), two.pair(&name("a.example")));
    }

    #[test]
    fn other_addresses_stand_for_nothing() {
        let mut map = Synthetic::default();
        map.pair(&name("a.example"));
        for text in [
            "127.0.0.1",
            "198.18.0.1",
            "198.17.255.255",
            "198.19.255.255",
            "0.0.0.0",
            "::1",
            "fd6d:616e:746c::",
            "fe80::1",
        ] {
            assert_eq!(map.name(text.parse().unwrap()), None, "{text}");
        }
    }

    #[test]
    fn only_low_ports_are_taken_from_the_start() {
        let rules = crate::rules::tests::rules(
            "builder",
            "allow = [\"a.test\", \"a.test:8443\", \"b.test:5432\", \"*.c.test:9000\", \"*.c.test:22\"]",
        );
        let ports: Vec<u16> = listeners(&rules).iter().filter(|a| a.ip().is_unspecified()).map(|a| a.port()).collect();
        assert_eq!(ports, [22, 443]);
        let named = |text: &str| rules.ports_allowed(&name(text));
        assert_eq!((named("a.test"), named("x.c.test")), (vec![443, 8443], vec![22, 9000]));
    }
}

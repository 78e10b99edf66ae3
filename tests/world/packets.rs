//! A capture of everything that leaves the host or moves on its loopback: names asked for, connections begun.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use rustix::net::{AddressFamily, RecvFlags, SocketType, eth, recv, socket, sockopt};

/// What was seen since the last look.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Names in DNS queries, over UDP.
    pub(crate) names: Vec<String>,
    /// Destinations of the first packet of a TCP connection.
    pub(crate) connections: Vec<SocketAddr>,
    /// Destinations of what belongs to a TCP connection that began before.
    pub(crate) segments: BTreeSet<IpAddr>,
    /// Destinations of other UDP and ICMP packets, and of whatever else there is.
    pub(crate) others: Vec<IpAddr>,
    /// Frames of no protocol that this capture reads.
    pub(crate) unread: usize,
}

impl Seen {
    /// Whether anything went to this address.
    pub(crate) fn has(&self, address: IpAddr) -> bool {
        self.connections.iter().any(|to| to.ip() == address)
            || self.segments.contains(&address)
            || self.others.contains(&address)
    }
}

pub(crate) struct Packets {
    seen: Arc<Mutex<(Seen, u64)>>,
    /// Where this capture sends what tells it that everything before has been read.
    post: UdpSocket,
}

impl Packets {
    /// Begins a capture in this network namespace.
    pub(crate) fn start() -> Self {
        let socket = socket(AddressFamily::PACKET, SocketType::RAW, Some(eth::ALL)).expect("AF_PACKET");
        // A burst must not be lost. Where the usual limit holds, the usual size is what there is.
        let _limited = sockopt::set_socket_recv_buffer_size_force(&socket, 64 << 20);
        let seen: Arc<Mutex<(Seen, u64)>> = Arc::default();
        let writer = Arc::clone(&seen);
        let post = UdpSocket::bind(POST).unwrap();
        post.connect(POST).unwrap();
        thread::spawn(move || {
            let mut bytes = vec![0; 65536];
            while let Ok((count, _)) = recv(&socket, bytes.as_mut_slice(), RecvFlags::empty()) {
                let mut seen = writer.lock().unwrap();
                match posted(&bytes[..count]) {
                    Some(number) => seen.1 = number,
                    None => note(&bytes[..count], &mut seen.0),
                }
            }
        });
        Packets { seen, post }
    }

    /// Returns what was seen, and begins anew.
    pub(crate) fn take(&self) -> Seen {
        let number = self.seen.lock().unwrap().1 + 1;
        self.post.send(&number.to_be_bytes()).unwrap();
        loop {
            let mut seen = self.seen.lock().unwrap();
            if seen.1 >= number {
                return std::mem::take(&mut seen.0);
            }
            drop(seen);
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Waits until nothing more comes, and forgets it.
    pub(crate) fn forget(&self) {
        loop {
            self.take();
            thread::sleep(Duration::from_millis(15));
            if self.take() == Seen::default() {
                return;
            }
        }
    }
}

/// A port of the host's loopback at which nobody else is.
const POST: &str = "127.0.0.1:9";

/// The number that this capture sent to itself.
fn posted(frame: &[u8]) -> Option<u64> {
    let packet = frame.get(14..).filter(|packet| packet.len() == 36 && packet[9] == 17)?;
    (packet[12..20] == [127, 0, 0, 1, 127, 0, 0, 1] && packet[20..24] == [0, 9, 0, 9])
        .then(|| u64::from_be_bytes(packet[28..36].try_into().unwrap()))
}

fn note(frame: &[u8], seen: &mut Seen) {
    let Some((kind, packet)) = frame.get(12..14).zip(frame.get(14..)) else { return };
    let (protocol, to, segment) = match kind {
        [0x08, 0x00] if packet.len() >= 20 => {
            let to: [u8; 4] = packet[16..20].try_into().unwrap();
            (packet[9], IpAddr::from(Ipv4Addr::from(to)), packet.get(usize::from(packet[0] & 15) * 4..))
        }
        [0x86, 0xdd] if packet.len() >= 40 => {
            let to: [u8; 16] = packet[24..40].try_into().unwrap();
            (packet[6], IpAddr::from(Ipv6Addr::from(to)), packet.get(40..))
        }
        // ARP: neighbours on the cable looking for each other.
        [0x08, 0x06] => return,
        _ => {
            seen.unread += 1;
            return;
        }
    };
    let Some(segment) = segment.filter(|segment| segment.len() >= 8) else {
        seen.others.push(to);
        return;
    };
    let port = u16::from_be_bytes([segment[2], segment[3]]);
    match protocol {
        17 if port == 53 => match name(&segment[8..]) {
            Some(name) => seen.names.push(name),
            None => seen.others.push(to),
        },
        // Answers of a name server come back from port 53.
        17 if segment[..2] == [0, 53] => {}
        6 if segment.get(13).is_some_and(|flags| flags & 0x12 == 0x02) => {
            seen.connections.push(SocketAddr::new(to, port))
        }
        6 => {
            seen.segments.insert(to);
        }
        // Neighbours looking for each other, and the kernel's own multicast groups.
        58 if matches!(segment[0], 130..=137 | 143) => {}
        0 if to.is_multicast() => {}
        _ => seen.others.push(to),
    }
}

fn name(query: &[u8]) -> Option<String> {
    let mut rest = query.get(12..)?;
    let mut labels = Vec::new();
    loop {
        let (length, after) = rest.split_first()?;
        match usize::from(*length) {
            0 => return Some(labels.join(".")),
            length => {
                labels.push(String::from_utf8_lossy(after.get(..length)?).into_owned());
                rest = after.get(length..)?;
            }
        }
    }
}

//! The name decided is the name dialled: generated requests in every language that the room speaks, and beside them a
//! second, much simpler reader of the same rule that looks at the packets.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::space::Builds as _;
use crate::world::bypass::PROXY;
use crate::world::differential::{EGRESS, is_allowed, request, told};
use crate::world::ground::World;

pub(crate) fn run(world: &World) {
    const THREADS: u64 = 8;
    const EACH: usize = 1000;
    let jail = world.jail("builder", EGRESS);
    world.packets.take();
    let proxy = SocketAddr::new([127, 0, 0, 1].into(), PROXY);
    let served: usize = jail.inside(|| {
        // Threads of a thread in the jail are in the jail.
        let one = |seed: u64| {
            let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
            (0..EACH).filter(|_| is_served(proxy, &request(&mut state))).count()
        };
        std::thread::scope(|scope| {
            let threads: Vec<_> = (1..=THREADS).map(|seed| scope.spawn(move || one(seed))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        })
    });
    let seen = world.packets.take();
    let wrong: Vec<_> = seen.names.iter().filter(|name| !is_allowed(name)).collect();
    assert!(wrong.is_empty(), "asked for {wrong:?}");
    assert!(
        seen.connections.iter().all(|to| to.port() == 80 && (to.ip().to_string() == "9.9.9.9" || to.ip().is_ipv6())),
        "{seen:?}"
    );
    assert!(
        served > 20 && seen.names.iter().any(|name| name.ends_with(".wild.test")),
        "{served} served: {:?}",
        seen.names
    );
    println!("{} inputs, {served} served, {} look-ups", THREADS as usize * EACH, seen.names.len());
}

/// Sends a request; whether a server answered, whose own words then name the host that was judged.
fn is_served(proxy: SocketAddr, request: &[u8]) -> bool {
    let mut stream = TcpStream::connect(proxy).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(250))).unwrap();
    let mut answer = Vec::new();
    if stream.write_all(request).is_ok() {
        let _ended = stream.read_to_end(&mut answer);
    }
    told(request, &answer).is_some()
}

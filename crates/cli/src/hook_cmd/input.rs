//! Standard input, whole or not at all, and within a time shorter than any client's patience.

use std::time::{Duration, Instant};

use mantlet_guard::dialect::MAX_BYTES;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

/// Clients wait for a hook between 5 and 60 seconds, and let the tool run when it has not answered by then.
const PATIENCE: Duration = Duration::from_secs(3);

/// Reads the event.
pub(super) fn read() -> Result<Vec<u8>, String> {
    let input = rustix::stdio::stdin();
    let end = Instant::now() + PATIENCE;
    let mut bytes = Vec::with_capacity(16 * 1024);
    let mut buffer = [0; 64 * 1024];
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let wait = Timespec::try_from(left).map_err(|error| error.to_string())?;
        match poll(&mut [PollFd::new(&input, PollFlags::IN)], Some(&wait)) {
            Ok(0) => return Err(format!("the event did not end within {} seconds", PATIENCE.as_secs())),
            Ok(_) => {}
            Err(Errno::INTR) => continue,
            Err(error) => return Err(format!("standard input cannot be waited for: {error}")),
        }
        match rustix::io::read(input, &mut buffer) {
            Ok(0) => return Ok(bytes),
            Ok(count) => bytes.extend_from_slice(buffer.get(..count).unwrap_or_default()),
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(error) => return Err(format!("standard input cannot be read: {error}")),
        }
        if bytes.len() > MAX_BYTES {
            return Err(format!("the event is longer than {MAX_BYTES} bytes"));
        }
        // Bytes that come without a pause are no end either.
        if Instant::now() > end {
            return Err(format!("the event did not end within {} seconds", PATIENCE.as_secs()));
        }
    }
}

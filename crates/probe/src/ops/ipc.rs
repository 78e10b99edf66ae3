//! Operations on keyrings and interprocess communication.

use super::{Done, Op, Words, print};
use crate::sys::{ipc, keys};

/// The table.
pub(super) const OPS: &[(&str, Op)] = &[
    ("key-search", key_search),
    ("key-request", key_request),
    ("key-read", key_read),
    ("key-add", key_add),
    ("key-revoke", key_revoke),
    ("shm-read", |w| print(&ipc::shm_read(w.int(0)?)?)),
    ("shm-roundtrip", shm_roundtrip),
    ("msg-take", |w| print(&ipc::msg_take(w.int(0)?)?)),
    ("msg-roundtrip", msg_roundtrip),
    ("sem-read", |w| print(format!("value={}", ipc::sem_read(w.int(0)?)?).as_bytes())),
    ("sem-roundtrip", sem_roundtrip),
    ("mq-take", |w| print(&ipc::mq_take(w.get(0)?)?)),
];

fn ring(word: &str) -> Result<i32, Box<dyn std::error::Error>> {
    match word {
        "session" => Ok(keys::SESSION),
        "user" => Ok(keys::USER),
        "process" => Ok(keys::PROCESS),
        other => Err(format!("no keyring `{other}`").into()),
    }
}

fn key_search(w: &Words<'_>) -> Done {
    let key = keys::search(ring(w.get(0)?)?, w.get(1)?)?;
    print(&keys::read(key)?)
}

fn key_request(w: &Words<'_>) -> Done {
    print(&keys::read(keys::request(w.get(0)?)?)?)
}

fn key_read(w: &Words<'_>) -> Done {
    print(&keys::read(w.number(0)?)?)
}

fn key_add(w: &Words<'_>) -> Done {
    let key = keys::add(ring(w.get(0)?)?, &format!("probe-{}", w.mark), b"x")?;
    keys::expire_after(key, 30)?;
    Ok(())
}

fn key_revoke(w: &Words<'_>) -> Done {
    Ok(keys::revoke(w.number(0)?)?)
}

fn shm_roundtrip(w: &Words<'_>) -> Done {
    ipc::shm_make(w.int(0)?, w.get(1)?.as_bytes())?;
    print(&ipc::shm_read(w.int(0)?)?)
}

fn msg_roundtrip(w: &Words<'_>) -> Done {
    ipc::msg_send(w.int(0)?, w.get(1)?.as_bytes())?;
    print(&ipc::msg_take(w.int(0)?)?)
}

fn sem_roundtrip(w: &Words<'_>) -> Done {
    ipc::sem_make(w.int(0)?, w.number(1)?)?;
    print(format!("value={}", ipc::sem_read(w.int(0)?)?).as_bytes())
}

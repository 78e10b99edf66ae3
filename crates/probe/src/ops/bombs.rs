//! Operations that use something up, each bounded by the number it is told, so that a control cannot hurt the host.

use std::fs::{self, File};
use std::io::Write as _;
use std::time::{Duration, Instant};

use super::{Done, Op, Words};
use crate::sys::world::{Side, fork};

/// The table.
pub(super) const OPS: &[(&str, Op)] = &[
    ("bomb-fork", forks),
    ("bomb-threads", threads),
    ("bomb-memory", memory),
    ("bomb-memfd", memfd),
    ("bomb-memfds", memfds),
    ("bomb-file", file),
    ("bomb-allocate", allocate),
    ("bomb-sparse", sparse),
    ("bomb-files", files),
    ("bomb-descriptors", descriptors),
    ("bomb-output", output),
    ("bomb-spin", spin),
    ("bomb-sleep", sleep),
    ("bomb-shm", shm),
];

const MIB: usize = 1 << 20;

fn count(w: &Words<'_>, i: usize) -> Result<usize, Box<dyn std::error::Error>> {
    Ok(usize::try_from(w.number(i)?)?)
}

/// This many processes alive at one time.
fn forks(w: &Words<'_>) -> Done {
    let mut children = Vec::new();
    let mut failure = None;
    for _ in 0..count(w, 0)? {
        match fork() {
            Ok(Side::Child) => {
                std::thread::sleep(Duration::from_secs(20));
                return Err("a child outlived its parent".into());
            }
            Ok(Side::Parent(pid)) => children.push(pid),
            Err(e) => {
                failure = Some(e);
                break;
            }
        }
    }
    for pid in children.into_iter().filter_map(rustix::process::Pid::from_raw) {
        rustix::process::kill_process(pid, rustix::process::Signal::KILL)?;
        rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty())?;
    }
    failure.map_or(Ok(()), |e| Err(e.into()))
}

/// This many threads alive at one time.
fn threads(w: &Words<'_>) -> Done {
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let wait = std::sync::Arc::new(std::sync::Mutex::new(wait));
    let mut all = Vec::new();
    for _ in 0..count(w, 0)? {
        let wait = std::sync::Arc::clone(&wait);
        let thread = std::thread::Builder::new().stack_size(65536).spawn(move || {
            // The channel's end is the signal to stop.
            drop(wait.lock().map(|w| w.recv()));
        });
        all.push(thread?);
    }
    drop(go);
    for thread in all {
        thread.join().map_err(|_| "a thread panicked")?;
    }
    Ok(())
}

/// This many mebibytes of memory, touched.
fn memory(w: &Words<'_>) -> Done {
    let mut all = Vec::new();
    for i in 0..count(w, 0)? {
        let mut block = vec![0u8; MIB];
        for page in block.chunks_mut(4096) {
            page[0] = u8::try_from(i % 251)? + 1;
        }
        all.push(block);
    }
    // Held for a moment, as a hog does: a sampler that counts now and then must see it.
    std::thread::sleep(Duration::from_millis(1500));
    drop(all);
    Ok(())
}

fn fill(into: &mut File, mebibytes: usize) -> Result<(), std::io::Error> {
    let block = vec![b'x'; MIB];
    for _ in 0..mebibytes {
        into.write_all(&block)?;
    }
    Ok(())
}

/// One anonymous file of this many mebibytes.
fn memfd(w: &Words<'_>) -> Done {
    let mut file = File::from(crate::sys::kernel::memfd()?);
    fill(&mut file, count(w, 0)?)?;
    std::thread::sleep(Duration::from_millis(1500));
    Ok(())
}

/// This many anonymous files of this many mebibytes: each below any limit on one file.
fn memfds(w: &Words<'_>) -> Done {
    let mut all = Vec::new();
    for _ in 0..count(w, 0)? {
        let mut file = File::from(crate::sys::kernel::memfd()?);
        fill(&mut file, count(w, 1)?)?;
        all.push(file);
    }
    std::thread::sleep(Duration::from_millis(1500));
    Ok(())
}

/// A file of this many mebibytes, written, at the first word.
fn file(w: &Words<'_>) -> Done {
    let mut file = File::create(w.get(0)?)?;
    fill(&mut file, count(w, 1)?)?;
    std::thread::sleep(Duration::from_millis(count(w, 2).unwrap_or(0) as u64));
    Ok(())
}

/// A file of this many mebibytes, allocated without being written.
fn allocate(w: &Words<'_>) -> Done {
    let file = File::create(w.get(0)?)?;
    rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, (count(w, 1)? * MIB) as u64)?;
    Ok(())
}

/// A file that is this many mebibytes long and holds nothing.
fn sparse(w: &Words<'_>) -> Done {
    Ok(File::create(w.get(0)?)?.set_len((count(w, 1)? * MIB) as u64)?)
}

/// This many empty files in a directory.
fn files(w: &Words<'_>) -> Done {
    fs::create_dir_all(w.get(0)?)?;
    for i in 0..count(w, 1)? {
        File::create(format!("{}/{i}", w.get(0)?))?;
    }
    std::thread::sleep(Duration::from_millis(count(w, 2).unwrap_or(0) as u64));
    Ok(())
}

/// This many open files.
fn descriptors(w: &Words<'_>) -> Done {
    // The soft limit is raised as far as the hard one goes, as an attacker would.
    let mut limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    limit.current = limit.maximum;
    rustix::process::setrlimit(rustix::process::Resource::Nofile, limit)?;
    let mut all = Vec::new();
    for _ in 0..count(w, 0)? {
        all.push(File::open("/dev/null")?);
    }
    Ok(())
}

/// This many mebibytes of output.
fn output(w: &Words<'_>) -> Done {
    let block = vec![b'x'; MIB];
    let mut out = std::io::stdout();
    for _ in 0..count(w, 0)? {
        out.write_all(&block)?;
    }
    Ok(())
}

/// This many seconds of processor time.
fn spin(w: &Words<'_>) -> Done {
    let end = Instant::now() + Duration::from_secs(count(w, 0)? as u64);
    let mut n = 0u64;
    while Instant::now() < end {
        n = std::hint::black_box(n.wrapping_mul(31) + 1);
    }
    Ok(())
}

/// This many seconds of doing nothing.
fn sleep(w: &Words<'_>) -> Done {
    std::thread::sleep(Duration::from_secs(count(w, 0)? as u64));
    Ok(())
}

/// A System V segment cannot be touched from here by more than a page; many of them can.
fn shm(w: &Words<'_>) -> Done {
    for key in 0..count(w, 0)? {
        crate::sys::ipc::shm_fill(i32::try_from(key)? + 0x1000, count(w, 1)? * 1024)?;
    }
    std::thread::sleep(Duration::from_millis(1500));
    Ok(())
}

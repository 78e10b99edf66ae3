//! Operations of one process on another.

use std::fs;
use std::io::Read as _;
use std::time::Duration;

use super::{Done, Op, Words, done, print};
use crate::sys::proc as sys;

/// The table.
pub(super) const OPS: &[(&str, Op)] = &[
    ("vm-read", vm_read),
    ("vm-write", vm_write),
    ("mem-read", mem_read),
    ("ptrace", ptrace),
    ("ptrace-seize", |w| done(sys::ptrace_seize(w.int(0)?))),
    ("getfd", getfd),
    ("kcmp", |w| done(sys::kcmp(w.int(0)?, w.int(1)?))),
    ("setns", setns),
    ("signal", signal),
    ("signal-child", signal_child),
    ("prlimit", |w| done(sys::prlimit_cpu(w.int(0)?, 1))),
    ("pin", |w| done(sys::pin_to_first_processor(w.int(0)?))),
    ("open-for-writing", open_for_writing),
    ("linger", linger),
    ("daemon", daemon),
];

/// Where the environment of a process lies in its memory; 0 stands for this process itself.
fn environment(pid: i32) -> Result<(u64, usize), Box<dyn std::error::Error>> {
    let path = if pid == 0 { "/proc/self/stat".to_owned() } else { format!("/proc/{pid}/stat") };
    let stat = fs::read_to_string(path)?;
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    // env_start and env_end are fields 50 and 51; the first after the name is field 3.
    let field = |n: usize| after_name.split_whitespace().nth(n - 3).unwrap_or("0").parse::<u64>();
    let (start, end) = (field(50)?, field(51)?);
    if start == 0 || end <= start {
        return Err("the kernel does not say where its environment lies".into());
    }
    Ok((start, usize::try_from(end - start)?))
}

fn own(pid: i32) -> i32 {
    if pid == 0 { i32::try_from(std::process::id()).unwrap_or(0) } else { pid }
}

fn vm_read(w: &Words<'_>) -> Done {
    let pid = w.int(0)?;
    let (at, len) = environment(pid)?;
    print(&sys::vm_read(own(pid), at, len)?)
}

fn vm_write(w: &Words<'_>) -> Done {
    let pid = w.int(0)?;
    let (at, _) = environment(pid)?;
    Ok(sys::vm_write(own(pid), at, w.mark.as_bytes())?)
}

fn mem_read(w: &Words<'_>) -> Done {
    use std::os::unix::fs::FileExt as _;
    let pid = w.int(0)?;
    let (at, len) = environment(pid)?;
    let path = if pid == 0 { "/proc/self/mem".to_owned() } else { format!("/proc/{pid}/mem") };
    let mut text = vec![0u8; len];
    fs::File::open(path)?.read_exact_at(&mut text, at)?;
    print(&text)
}

fn ptrace(w: &Words<'_>) -> Done {
    let pid = w.int(0)?;
    let (at, len) = environment(pid)?;
    print(&sys::ptrace_read(pid, at, len)?)
}

fn getfd(w: &Words<'_>) -> Done {
    let mut file = fs::File::from(sys::pidfd_getfd(w.int(0)?, w.int(1)?)?);
    let mut text = Vec::new();
    std::io::Seek::rewind(&mut file)?;
    file.read_to_end(&mut text)?;
    print(&text)
}

/// Enters a namespace of another process; the words are the process and the namespace's name under /proc/PID/ns.
fn setns(w: &Words<'_>) -> Done {
    let ns = fs::File::open(format!("/proc/{}/ns/{}", w.int(0)?, w.get(1)?))?;
    Ok(sys::setns(&ns.into(), 0)?)
}

/// Sends a signal by one of the ways there are: the way, the process, the signal.
fn signal(w: &Words<'_>) -> Done {
    let (pid, number) = (w.int(1)?, w.int(2)?);
    send(w.get(0)?, pid, number)
}

fn send(way: &str, pid: i32, number: i32) -> Done {
    match way {
        "pidfd" => sys::pidfd_signal(pid, number)?,
        "tgkill" => sys::tgkill(pid, number)?,
        "queue" => sys::sigqueue(pid, number)?,
        "descriptor" => sys::signal_by_descriptor(pid, number)?,
        other => return Err(format!("no way `{other}` to send a signal").into()),
    }
    Ok(())
}

/// The same on a child of the command's own, which must die of it.
fn signal_child(w: &Words<'_>) -> Done {
    let mut child = std::process::Command::new("sleep").arg("20").spawn()?;
    send(w.get(0)?, i32::try_from(child.id())?, w.int(1)?)?;
    match std::os::unix::process::ExitStatusExt::signal(&child.wait()?) {
        Some(_) => Ok(()),
        None => Err("the child was not killed".into()),
    }
}

/// Opens a file for writing and writes nothing: enough to prove it, and harmless where the file is the real kernel's.
fn open_for_writing(w: &Words<'_>) -> Done {
    fs::OpenOptions::new().write(true).open(w.get(0)?)?;
    Ok(())
}

/// Stays behind under the name that the judge looks for.
fn linger(w: &Words<'_>) -> Done {
    crate::sys::world::set_name(&crate::judge::name_left_behind(w.mark))?;
    std::thread::sleep(Duration::from_secs(30));
    Ok(())
}

/// Daemonises as the textbook says (fork, setsid, fork, other descriptors), then stays behind.
fn daemon(w: &Words<'_>) -> Done {
    use crate::sys::world::{Side, fork};
    if let Side::Parent(_) = fork()? {
        return Ok(());
    }
    rustix::process::setsid()?;
    if let Side::Parent(_) = fork()? {
        return Ok(());
    }
    let null = fs::OpenOptions::new().read(true).write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(&null)?;
    linger(w)
}

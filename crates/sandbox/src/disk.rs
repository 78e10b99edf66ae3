//! What a call writes to the workspace's disk: watched through the file system's own counters, and confirmed by
//! a walk before anything is killed, because others may write to the same file system.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, FileType, StatxFlags};

use crate::limits::Breach;
use crate::plan::Plan;
use crate::request::Kind;
use crate::walk::{self, Descend};

/// How often is looked: a service has months to fill a disk in, and others to run beside.
fn interval(plan: &Plan) -> Duration {
    match plan.kind {
        Kind::Command => Duration::from_millis(50),
        Kind::Service => Duration::from_secs(1),
    }
}

/// The counters at the start.
pub(crate) struct Disk {
    free: u64,
    files: u64,
    block: u64,
    next: Instant,
}

impl Disk {
    pub(crate) fn new(plan: &Plan) -> Disk {
        let stat = rustix::fs::fstatfs(&plan.workspace_fd).ok();
        Disk {
            free: stat.as_ref().map_or(0, |s| s.f_bfree),
            files: stat.as_ref().map_or(0, |s| s.f_ffree),
            block: stat.as_ref().map_or(512, |s| s.f_bsize as u64),
            next: Instant::now() + interval(plan),
        }
    }

    pub(crate) fn due(&self) -> Instant {
        self.next
    }

    /// Compares the counters with those of the start.
    pub(crate) fn sample(&mut self, plan: &Plan, since: (i64, i64)) -> Option<Breach> {
        if Instant::now() < self.next {
            return None;
        }
        self.next = Instant::now() + interval(plan);
        let stat = rustix::fs::fstatfs(&plan.workspace_fd).ok()?;
        let bytes = self.free.saturating_sub(stat.f_bfree).saturating_mul(self.block);
        let files = self.files.saturating_sub(stat.f_ffree);
        if bytes <= plan.limits.disk && files <= plan.limits.disk_files {
            return None;
        }
        let (bytes, files) = written(plan, since);
        if bytes > plan.limits.disk {
            return Some(Breach::Disk);
        }
        if files > plan.limits.disk_files {
            return Some(Breach::DiskFiles);
        }
        // Somebody else writes: measure from here on.
        *self = Disk::new(plan);
        None
    }
}

/// Bytes and names in the workspace that have changed since the call began.
fn written(plan: &Plan, since: (i64, i64)) -> (u64, u64) {
    let (mut bytes, mut files) = (0, 0);
    walk::walk(plan.workspace_fd.as_fd(), b"", &mut |met| {
        let Ok(name) = std::ffi::CString::new(met.name()) else { return Descend::No };
        let wanted = StatxFlags::BLOCKS | StatxFlags::CTIME;
        if let Ok(stat) = rustix::fs::statx(met.dir, &name, AtFlags::SYMLINK_NOFOLLOW, wanted)
            && (stat.stx_ctime.tv_sec, i64::from(stat.stx_ctime.tv_nsec)) >= since
        {
            files += 1;
            if met.kind == FileType::RegularFile {
                bytes += stat.stx_blocks * 512;
            }
        }
        Descend::Yes
    });
    (bytes, files)
}

//! A watch in a thread of its own, and what it told.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use mantlet_ledger::Change;
use mantlet_watch::{Content, Notice, Options, Place, Report, Status, Watch};

/// Everything that was told.
#[derive(Clone, Default)]
pub(crate) struct Told {
    pub(crate) changes: Arc<Mutex<Vec<Change>>>,
    pub(crate) notices: Arc<Mutex<Vec<Notice>>>,
    pub(crate) halts: Arc<Mutex<u64>>,
}

impl Report for Told {
    fn change(&mut self, change: Change) {
        self.changes.lock().unwrap().push(change);
    }

    fn halt(&mut self, _: &Path, _: u64) {
        *self.halts.lock().unwrap() += 1;
    }

    fn notice(&mut self, notice: Notice) {
        self.notices.lock().unwrap().push(notice);
    }
}

/// A watch that runs.
pub(crate) struct Running {
    pub(crate) told: Told,
    stop: Option<OwnedFd>,
    thread: Option<JoinHandle<Status>>,
}

impl Running {
    /// Begins a watch; returns when it watches. `before_run` is called between that and its loop.
    pub(crate) fn begin(
        options: Options,
        places: Vec<Place>,
        content: Box<dyn Content>,
        before_run: impl FnOnce() + Send + 'static,
    ) -> Running {
        let told = Told::default();
        let mut report = told.clone();
        let (end, stop) = rustix::pipe::pipe().unwrap();
        let (ready, is_ready): (_, Receiver<()>) = channel();
        let thread = std::thread::spawn(move || {
            let mut watch = Watch::open(options, places, content).unwrap();
            watch.begin(&mut report).unwrap();
            before_run();
            ready.send(()).unwrap();
            watch.run(&mut report, end).unwrap();
            watch.status()
        });
        // A panic in the thread shows when it is joined.
        is_ready.recv().ok();
        Running { told, stop: Some(stop), thread: Some(thread) }
    }

    pub(crate) fn stop(mut self) -> Status {
        drop(self.stop.take());
        self.thread.take().unwrap().join().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

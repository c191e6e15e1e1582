//! Threads that were abandoned because their code did not return.
//!
//! Such a thread cannot be ended and keeps its memory, perhaps also a core. A runner
//! leaves at most [`MOST`] of them; its runs then end, and can be resumed by another
//! program.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use state_migration_core::StreamId;

/// Maximum number of abandoned threads of a runner.
const MOST: usize = 16;

/// The failure of a run after too many processes whose code did not return.
pub(crate) const TOO_MANY: &str = "user code did not return for 16 processes or more, whose threads keep running until the program exits; correct the code, restart the program, and resume the run";

/// The threads of a runner that were abandoned and have not returned since.
#[derive(Debug, Clone, Default)]
pub(crate) struct Abandoned(Arc<Threads>);

#[derive(Debug, Default)]
struct Threads {
    /// By the id of the job: the process that the code does not return for.
    jobs: Mutex<BTreeMap<u64, Option<StreamId>>>,
    count: AtomicUsize,
    last: AtomicU64,
}

impl Abandoned {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Option<StreamId>>> {
        self.0.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn next_id(&self) -> u64 {
        self.0.last.fetch_add(1, Ordering::Relaxed)
    }

    /// Counts the thread of a job. Without a stream, the code was only slow.
    pub(crate) fn add(&self, job: u64, stream: Option<&StreamId>) {
        let mut jobs = self.lock();
        jobs.insert(job, stream.cloned());
        self.0.count.store(jobs.len(), Ordering::Release);
    }

    /// The code has returned after all.
    pub(crate) fn returned(&self, job: u64) {
        let mut jobs = self.lock();
        jobs.remove(&job);
        self.0.count.store(jobs.len(), Ordering::Release);
    }

    /// Whether no more code may be run.
    pub(crate) fn is_full(&self) -> bool {
        self.0.count.load(Ordering::Acquire) >= MOST
    }

    /// Whether the code has not returned for this process until now.
    pub(crate) fn has(&self, stream: &StreamId) -> bool {
        let any = self.0.count.load(Ordering::Acquire) > 0;
        any && self.lock().values().flatten().any(|it| it == stream)
    }
}

//! Time in which this program did not run, so that it counts for no deadline.
//!
//! A program can be stopped and woken, and so can the machine that it runs on. To every
//! clock this is time that user code took. A thread that sleeps for a moment and wakes
//! much later has noticed such a gap; the time is given back to all code in progress.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

/// Interval at which the watcher looks.
const TICK: Duration = Duration::from_millis(50);

/// Delay from which a late look is a gap. A busy machine wakes a thread late, too.
const GAP: Duration = Duration::from_millis(300);

/// The gaps of this program.
#[derive(Default)]
pub(crate) struct Gaps {
    /// Total length of the gaps, in microseconds.
    lost: AtomicU64,
    /// Number of looks.
    looks: AtomicU64,
    /// Number of jobs in progress. Without any, the watcher does not look.
    jobs: AtomicUsize,
    watcher: OnceLock<Option<Thread>>,
}

/// The gaps of this program.
pub(crate) fn of_program() -> &'static Gaps {
    static GAPS: OnceLock<Gaps> = OnceLock::new();
    GAPS.get_or_init(Gaps::default)
}

impl Gaps {
    /// Total length of the gaps so far.
    pub(crate) fn lost(&self) -> Duration {
        Duration::from_micros(self.lost.load(Ordering::Acquire))
    }

    /// Registers a job, so that gaps are noticed until its [end](Self::end).
    pub(crate) fn begin(&'static self) {
        if self.jobs.fetch_add(1, Ordering::AcqRel) > 0 {
            return;
        }
        let watcher = self.watcher.get_or_init(|| {
            let name = "state-migration-gaps".to_owned();
            let thread = thread::Builder::new().name(name).spawn(|| self.watch());
            // Without a watcher no time is given back.
            thread.ok().map(|thread| thread.thread().clone())
        });
        if let Some(watcher) = watcher {
            watcher.unpark();
        }
    }

    pub(crate) fn end(&self) {
        self.jobs.fetch_sub(1, Ordering::AcqRel);
    }

    fn watch(&self) {
        loop {
            while self.jobs.load(Ordering::Acquire) == 0 {
                thread::park();
            }
            let began = Instant::now();
            thread::sleep(TICK);
            let late = began.elapsed().saturating_sub(TICK);
            if late > GAP {
                let late = u64::try_from(late.as_micros()).unwrap_or(u64::MAX);
                self.lost.fetch_add(late, Ordering::AcqRel);
            }
            self.looks.fetch_add(1, Ordering::AcqRel);
        }
    }

    pub(crate) fn looks(&self) -> u64 {
        self.looks.load(Ordering::Acquire)
    }

    /// Whether a look has begun and ended since [`looks`](Self::looks) returned `seen`.
    pub(crate) fn looked_since(&self, seen: u64) -> bool {
        self.looks() >= seen + 2 || matches!(self.watcher.get(), None | Some(None))
    }

    /// Waits until a gap that has just ended is noticed.
    pub(crate) fn wait(&self) {
        let seen = self.looks();
        // While a job is in progress, the watcher looks.
        while self.jobs.load(Ordering::Acquire) > 0 && !self.looked_since(seen) {
            thread::sleep(TICK / 10);
        }
    }
}

//! How many workers are at work at once: two for each core, and more where the
//! cores are idle all the same, because the store takes its time to answer.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::runner::code::Code;

/// The workers for each core to begin with.
const PER_CORE: usize = 2;

/// The most workers there are: each holds a chunk or two in memory.
pub(super) const MOST: usize = 16;

/// How long is looked before there are more.
const WINDOW: Duration = Duration::from_millis(250);

/// The part of the cores that is busy when more workers would be of no use.
const BUSY: f64 = 0.5;

/// How many cores there are.
fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// How many workers there are to begin with.
pub(super) fn first() -> usize {
    (cores() * PER_CORE).min(MOST)
}

/// Lanes for workers.
pub(super) struct Lanes {
    free: Semaphore,
    seen: Mutex<Seen>,
}

struct Seen {
    lanes: usize,
    at: Instant,
    busy: Duration,
}

impl Lanes {
    pub(super) fn new() -> Self {
        let lanes = first();
        Self {
            free: Semaphore::new(lanes),
            seen: Mutex::new(Seen {
                lanes,
                at: Instant::now(),
                busy: Duration::ZERO,
            }),
        }
    }

    /// Waits for a free lane.
    pub(super) async fn enter(&self) -> Option<SemaphorePermit<'_>> {
        // It is never closed.
        self.free.acquire().await.ok()
    }

    /// Looks how busy the cores are, every now and then, and opens more lanes
    /// if they are not.
    pub(super) fn look(&self, code: &Code) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let took = seen.at.elapsed();
        if took < WINDOW {
            return;
        }
        let busy = busy(code);
        let more = seen.more(took, busy);
        seen.at = Instant::now();
        seen.busy = busy;
        seen.lanes += more;
        self.free.add_permits(more);
    }
}

impl Seen {
    /// How many more lanes there are to be.
    fn more(&self, took: Duration, busy: Duration) -> usize {
        // At first it is not known how much of it was before.
        if self.busy.is_zero() {
            return 0;
        }
        #[allow(clippy::cast_precision_loss)]
        let all = took.as_secs_f64() * cores() as f64;
        match busy.saturating_sub(self.busy).as_secs_f64() < all * BUSY {
            true => self.lanes.min(MOST - self.lanes),
            false => 0,
        }
    }
}

/// For how long threads have been busy: those of the runtime, and those for
/// user code.
fn busy(code: &Code) -> Duration {
    #[cfg(target_has_atomic = "64")]
    let runtime = {
        let metrics = Handle::current().metrics();
        let workers = 0..metrics.num_workers();
        workers
            .map(|worker| metrics.worker_total_busy_duration(worker))
            .sum()
    };
    // Where the runtime does not count, no more lanes are opened.
    #[cfg(not(target_has_atomic = "64"))]
    let runtime = Duration::MAX / 2;
    code.busy().saturating_add(runtime)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn idle_cores_open_lanes_up_to_the_most_and_busy_ones_none() {
        let second = Duration::from_secs(1);
        let cores = u32::try_from(cores()).unwrap();
        let seen = |lanes, busy| Seen {
            lanes,
            at: Instant::now(),
            busy,
        };
        assert_eq!(seen(4, second).more(second, second), 4);
        assert_eq!(seen(12, second).more(second, second), 4);
        assert_eq!(seen(MOST, second).more(second, second), 0);
        assert_eq!(seen(4, second).more(second, second + second * cores), 0);
        assert_eq!(seen(4, Duration::ZERO).more(second, second), 0);
    }

    #[tokio::test]
    async fn as_many_enter_as_there_are_lanes() {
        let lanes = Lanes::new();
        let mut inside = Vec::new();
        for _ in 0..first() {
            inside.push(lanes.enter().await.unwrap());
        }
        assert!(lanes.free.try_acquire().is_err());
        inside.pop();
        assert!(lanes.free.try_acquire().is_ok());
    }
}

//! How many workers are at work at once: two for each core, and more for as long as
//! the cores are idle all the same, because the store takes its time to answer.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::user_code::threads::Code;

/// The workers for each core to begin with.
const PER_CORE: usize = 2;

/// The most workers there are: each holds a chunk or two in memory.
pub(crate) const MOST: usize = 16;

/// How long is looked before there are more.
const WINDOW: Duration = Duration::from_millis(250);

/// The part of the cores that is busy when more workers would be of no use, and when
/// there are too many: each reads at a place of its own, and what the store has cached
/// serves the fewer of them.
const BUSY: f64 = 0.5;
const FULL: f64 = 0.9;

/// How many cores there are.
fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// How many workers there are to begin with.
pub(crate) fn first() -> usize {
    (cores() * PER_CORE).min(MOST)
}

/// Lanes for workers.
pub(crate) struct Lanes {
    free: Semaphore,
    /// How many are to be closed that workers are in.
    closing: AtomicUsize,
    seen: Mutex<Seen>,
}

struct Seen {
    lanes: usize,
    at: Instant,
    busy: Duration,
}

impl Lanes {
    pub(crate) fn new() -> Self {
        let lanes = first();
        Self {
            free: Semaphore::new(lanes),
            closing: AtomicUsize::new(0),
            seen: Mutex::new(Seen {
                lanes,
                at: Instant::now(),
                busy: Duration::ZERO,
            }),
        }
    }

    /// Waits for a free lane.
    pub(crate) async fn enter(&self) -> Option<SemaphorePermit<'_>> {
        // It is never closed.
        self.free.acquire().await.ok()
    }

    /// Whether the lane that a worker is in closes, so that it has to leave it.
    pub(crate) fn closes(&self) -> bool {
        let (order, one_less) = (Ordering::Relaxed, |closing: usize| closing.checked_sub(1));
        self.closing.fetch_update(order, order, one_less).is_ok()
    }

    /// Looks how busy the cores are, every now and then, and opens more lanes
    /// if they are not, or closes some of those if they are.
    pub(crate) fn look(&self, code: &Code) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let took = seen.at.elapsed();
        if took < WINDOW {
            return;
        }
        let busy = busy(code);
        let lanes = seen.wanted(took, busy);
        match lanes.checked_sub(seen.lanes) {
            Some(more) => {
                let stay = (0..more).take_while(|_| self.closes()).count();
                self.free.add_permits(more - stay);
            }
            None => {
                let fewer = seen.lanes - lanes;
                self.closing.fetch_add(fewer, Ordering::Relaxed);
            }
        }
        *seen = Seen {
            lanes,
            at: Instant::now(),
            busy,
        };
    }
}

impl Seen {
    /// How many lanes there are to be.
    fn wanted(&self, took: Duration, busy: Duration) -> usize {
        // At first it is not known how much of it was before.
        if self.busy.is_zero() {
            return self.lanes;
        }
        #[allow(clippy::cast_precision_loss)]
        let all = took.as_secs_f64() * cores() as f64;
        let part = busy.saturating_sub(self.busy).as_secs_f64() / all;
        if part < BUSY {
            (self.lanes * 2).min(MOST)
        } else if part > FULL {
            (self.lanes / 2).max(first())
        } else {
            self.lanes
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
    fn idle_cores_open_lanes_up_to_the_most_and_busy_ones_close_them() {
        let second = Duration::from_secs(1);
        let cores = u32::try_from(cores()).unwrap();
        let wanted = |lanes, part: f64| {
            let seen = Seen {
                lanes,
                at: Instant::now(),
                busy: second,
            };
            seen.wanted(second, second + (second * cores).mul_f64(part))
        };
        assert_eq!(wanted(4, 0.0), 8.min(MOST));
        assert_eq!(wanted(12, 0.4), MOST);
        assert_eq!(wanted(MOST, 0.0), MOST);
        assert_eq!(wanted(MOST, 0.7), MOST);
        assert_eq!(wanted(MOST, 1.0), (MOST / 2).max(first()));
        assert_eq!(wanted(first(), 1.0), first());
        let unknown = Seen {
            lanes: 4,
            at: Instant::now(),
            busy: Duration::ZERO,
        };
        assert_eq!(unknown.wanted(second, second), 4);
    }

    #[test]
    fn a_lane_closes_once() {
        let lanes = Lanes::new();
        assert!(!lanes.closes());
        lanes.closing.store(2, Ordering::Relaxed);
        assert!(lanes.closes() && lanes.closes() && !lanes.closes());
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

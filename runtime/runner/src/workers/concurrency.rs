//! The number of concurrent workers: two per core, and more while cores are idle.
//!
//! Cores are idle while the store is slow to respond.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::user_code::threads::Code;

/// Initial number of workers per core.
const PER_CORE: usize = 2;

/// Maximum number of workers: each holds one or two chunks in memory.
pub(crate) const MOST: usize = 16;

/// Interval between adjustments of the number of workers.
const WINDOW: Duration = Duration::from_millis(250);

/// CPU utilization from which more workers bring no gain, and from which there are too
/// many. Each worker reads at its own position, and fewer workers make better use of
/// the store's cache.
const BUSY: f64 = 0.5;
const FULL: f64 = 0.9;

/// Number of cores.
fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Initial number of workers.
pub(crate) fn first() -> usize {
    (cores() * PER_CORE).min(MOST)
}

/// Limits the number of concurrent workers; a worker needs a lane.
pub(crate) struct Lanes {
    free: Semaphore,
    /// Number of occupied lanes to be closed.
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
        // Fails only for a closed semaphore, and this one is never closed.
        self.free.acquire().await.ok()
    }

    /// Whether the worker has to leave its lane because it is closed.
    pub(crate) fn closes(&self) -> bool {
        let (order, one_less) = (Ordering::Relaxed, |closing: usize| closing.checked_sub(1));
        self.closing.fetch_update(order, order, one_less).is_ok()
    }

    /// Adjusts the number of lanes to the CPU utilization: more if cores are idle,
    /// fewer if they are saturated.
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
    /// The number of lanes to have.
    fn wanted(&self, took: Duration, busy: Duration) -> usize {
        // The first sample includes the time before the run.
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

/// Total busy time of the runtime's threads and of the threads for user code.
fn busy(code: &Code) -> Duration {
    #[cfg(target_has_atomic = "64")]
    let runtime = {
        let metrics = Handle::current().metrics();
        let workers = 0..metrics.num_workers();
        workers
            .map(|worker| metrics.worker_total_busy_duration(worker))
            .sum()
    };
    // A runtime without this metric appears busy, so that no lanes are opened.
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

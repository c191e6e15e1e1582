//! The number of concurrent workers: two per core, and more while cores are idle.
//!
//! Cores are idle while the store is slow to respond.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::user_code::threads::UserCode;

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

/// Limits the number of concurrent workers; a worker needs a slot.
pub(crate) struct Concurrency {
    free: Semaphore,
    /// Number of occupied slots to be closed.
    closing: AtomicUsize,
    last: Mutex<Sample>,
}

struct Sample {
    slots: usize,
    at: Instant,
    busy: Duration,
}

impl Concurrency {
    pub(crate) fn new() -> Self {
        let slots = first();
        Self {
            free: Semaphore::new(slots),
            closing: AtomicUsize::new(0),
            last: Mutex::new(Sample {
                slots,
                at: Instant::now(),
                busy: Duration::ZERO,
            }),
        }
    }

    /// Waits for a free slot.
    pub(crate) async fn enter(&self) -> Option<SemaphorePermit<'_>> {
        // Fails only for a closed semaphore, and this one is never closed.
        self.free.acquire().await.ok()
    }

    /// Whether the worker has to leave its slot because it is closed.
    pub(crate) fn must_close(&self) -> bool {
        let (order, one_less) = (Ordering::Relaxed, |closing: usize| closing.checked_sub(1));
        self.closing.fetch_update(order, order, one_less).is_ok()
    }

    /// Adjusts the number of slots to the CPU utilization: more if cores are idle,
    /// fewer if they are saturated.
    pub(crate) fn adjust(&self, code: &UserCode) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let took = last.at.elapsed();
        if took < WINDOW {
            return;
        }
        let busy = busy(code);
        let slots = last.target(took, busy);
        match slots.checked_sub(last.slots) {
            Some(more) => {
                let stay = (0..more).take_while(|_| self.must_close()).count();
                self.free.add_permits(more - stay);
            }
            None => {
                let fewer = last.slots - slots;
                self.closing.fetch_add(fewer, Ordering::Relaxed);
            }
        }
        *last = Sample {
            slots,
            at: Instant::now(),
            busy,
        };
    }
}

impl Sample {
    /// The number of slots to have.
    fn target(&self, took: Duration, busy: Duration) -> usize {
        // The first sample includes the time before the run.
        if self.busy.is_zero() {
            return self.slots;
        }
        #[allow(clippy::cast_precision_loss)]
        let all = took.as_secs_f64() * cores() as f64;
        let part = busy.saturating_sub(self.busy).as_secs_f64() / all;
        if part < BUSY {
            (self.slots * 2).min(MOST)
        } else if part > FULL {
            (self.slots / 2).max(first())
        } else {
            self.slots
        }
    }
}

/// Total busy time of the runtime's threads and of the threads for user code.
fn busy(code: &UserCode) -> Duration {
    #[cfg(target_has_atomic = "64")]
    let runtime = {
        let metrics = Handle::current().metrics();
        let workers = 0..metrics.num_workers();
        workers
            .map(|worker| metrics.worker_total_busy_duration(worker))
            .sum()
    };
    // A runtime without this metric appears busy, so that no slots are opened.
    #[cfg(not(target_has_atomic = "64"))]
    let runtime = Duration::MAX / 2;
    code.busy().saturating_add(runtime)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn idle_cores_add_slots_up_to_the_most_and_busy_cores_remove_them() {
        let second = Duration::from_secs(1);
        let cores = u32::try_from(cores()).unwrap();
        let target = |slots, part: f64| {
            let last = Sample {
                slots,
                at: Instant::now(),
                busy: second,
            };
            last.target(second, second + (second * cores).mul_f64(part))
        };
        assert_eq!(target(4, 0.0), 8.min(MOST));
        assert_eq!(target(12, 0.4), MOST);
        assert_eq!(target(MOST, 0.0), MOST);
        assert_eq!(target(MOST, 0.7), MOST);
        assert_eq!(target(MOST, 1.0), (MOST / 2).max(first()));
        assert_eq!(target(first(), 1.0), first());
        let unknown = Sample {
            slots: 4,
            at: Instant::now(),
            busy: Duration::ZERO,
        };
        assert_eq!(unknown.target(second, second), 4);
    }

    #[test]
    fn a_slot_closes_once() {
        let slots = Concurrency::new();
        assert!(!slots.must_close());
        slots.closing.store(2, Ordering::Relaxed);
        assert!(slots.must_close() && slots.must_close() && !slots.must_close());
    }

    #[tokio::test]
    async fn as_many_enter_as_there_are_slots() {
        let slots = Concurrency::new();
        let mut inside = Vec::new();
        for _ in 0..first() {
            inside.push(slots.enter().await.unwrap());
        }
        assert!(slots.free.try_acquire().is_err());
        inside.pop();
        assert!(slots.free.try_acquire().is_ok());
    }
}

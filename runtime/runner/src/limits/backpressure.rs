//! Backpressure from the service that a run shares its store with.
//!
//! A commit of the service waits behind what a run has begun to write, and for a core
//! that the workers leave free. While others write, pages are therefore small, one worker
//! at a time reads or commits, and user code is on threads of a lower priority than the
//! service's (see `user_code::threads`).

use std::time::Duration;

use state_migration_core::store_api::write_activity::LATELY;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout};

use crate::run::Store;

/// Maximum number of processes in a page while others write.
const PAGE_PROCESSES: usize = 128;

/// Divisor of the page size while others write.
const SHARE: usize = 4;

/// Interval at which a waiting worker checks whether turns are still needed.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Maximum time that a worker waits for its turn, since the worker that has it may have
/// stopped.
const LONGEST: Duration = Duration::from_secs(60);

/// The backpressure of one execution, shared by its workers.
pub(crate) struct Backpressure {
    enabled: bool,
    /// Start of the execution; earlier writes are ignored.
    began: Instant,
    turn: Semaphore,
}

impl Backpressure {
    pub(crate) fn new(enabled: bool) -> Self {
        Self {
            enabled,
            began: Instant::now(),
            turn: Semaphore::new(1),
        }
    }

    /// Whether others have recently written to the store.
    pub(crate) fn applies(&self, store: &Store) -> bool {
        if !self.enabled {
            return false;
        }
        // Computed before the activity is read; otherwise a write before the start
        // could appear to be after it.
        let lately = LATELY.min(self.began.elapsed());
        store.write_activity().is_within(lately)
    }

    /// Waits for the turn to read or to commit while others write.
    ///
    /// Returns `None` if no turn is needed, because there are no other writes, or if
    /// the turn did not become free in time.
    pub(crate) async fn turn(&self, store: &Store) -> Option<SemaphorePermit<'_>> {
        let until = Instant::now() + LONGEST;
        while self.applies(store) && Instant::now() < until {
            if let Ok(Ok(permit)) = timeout(LOOK_AGAIN, self.turn.acquire()).await {
                return Some(permit);
            }
        }
        None
    }
}

/// Maximum number of processes in a page while others write; without other writes it is
/// `fit`.
pub(crate) fn limit(fit: usize) -> usize {
    (fit / SHARE).clamp(1, PAGE_PROCESSES)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;

    use tokio::time::sleep;

    use super::*;
    use state_migration_core::{Appended, ExpectedSequence, NewEvent, StreamId, WorkflowId};
    use state_migration_store::{MemoryStore, NotDurable};

    /// A write that stays in progress until the returned value is dropped.
    async fn write(store: &MemoryStore, sequence: u64) -> NotDurable<Appended> {
        let stream = StreamId::new("s").unwrap();
        let version = WorkflowId::new("order", "v1");
        let event = NewEvent::new(version, "Placed", 1, "{}").unwrap();
        let expected = match sequence {
            0 => ExpectedSequence::NoStream,
            last => ExpectedSequence::Exact(last),
        };
        let written = store.append_unflushed(&stream, expected, vec![event]);
        written.await.unwrap()
    }

    fn shared(store: &MemoryStore) -> Store {
        Arc::new(store.clone())
    }

    #[tokio::test]
    async fn what_was_written_before_the_run_is_not_in_the_way() {
        let memory = MemoryStore::new();
        let store = shared(&memory);
        drop(write(&memory, 0).await);
        let backpressure = Backpressure::new(true);
        assert!(backpressure.turn(&store).await.is_none());
        // A write during the run counts, even if it has just ended.
        drop(write(&memory, 1).await);
        assert!(backpressure.turn(&store).await.is_some());
        assert!(Backpressure::new(false).turn(&store).await.is_none());
    }

    #[tokio::test]
    async fn one_worker_at_a_time_has_its_turn() {
        let memory = MemoryStore::new();
        let store = shared(&memory);
        let in_progress = write(&memory, 0).await;
        let backpressure = Arc::new(Backpressure::new(true));
        let first = backpressure.turn(&store).await;
        assert!(first.is_some());
        let other = tokio::spawn({
            let (backpressure, store) = (backpressure.clone(), store.clone());
            async move { backpressure.turn(&store).await.is_some() }
        });
        sleep(LOOK_AGAIN * 2).await;
        assert!(!other.is_finished());
        drop(first);
        assert!(other.await.unwrap());
        drop(in_progress);
    }

    /// A worker stops waiting once turns are not needed any more, however long the
    /// other worker keeps its turn.
    #[tokio::test]
    async fn no_worker_waits_for_a_turn_in_a_quiet_store() {
        let memory = MemoryStore::new();
        let store = shared(&memory);
        let in_progress = write(&memory, 0).await;
        let backpressure = Backpressure::new(true);
        let _first = backpressure.turn(&store).await.unwrap();
        drop(in_progress);
        assert!(backpressure.turn(&store).await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn the_wait_for_a_turn_is_limited() {
        let memory = MemoryStore::new();
        let store = shared(&memory);
        let _in_progress = write(&memory, 0).await;
        let backpressure = Backpressure::new(true);
        let _never_back = backpressure.turn(&store).await.unwrap();
        let began = Instant::now();
        assert!(backpressure.turn(&store).await.is_none());
        assert!(began.elapsed() >= LONGEST);
    }

    #[test]
    fn chunks_are_small_and_never_empty() {
        for (fit, limit) in [(usize::MAX, 128), (64, 16), (9, 2), (1, 1)] {
            assert_eq!(super::limit(fit), limit);
        }
    }
}

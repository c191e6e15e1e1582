//! Counts of the writes to a store, so that a run can yield to them.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use state_migration_core::{StoreId, WriteActivity};

/// Counts the writes to one store, through all its handles.
#[derive(Debug, Default)]
pub(crate) struct Activity {
    in_progress: AtomicUsize,
    /// When a write last started or ended; 0 if there was none.
    last: AtomicU64,
}

/// Microseconds since the first call, never 0.
fn now() -> u64 {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    u64::try_from(START.elapsed().as_micros()).map_or(u64::MAX, |micros| micros + 1)
}

impl Activity {
    /// The counter of a store. Handles that were opened separately may be of
    /// the same store.
    pub(crate) fn of(store: StoreId) -> Arc<Self> {
        static KNOWN: Mutex<Vec<(StoreId, Weak<Activity>)>> = Mutex::new(Vec::new());
        let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|(_, activity)| activity.strong_count() > 0);
        let here = known.iter().find(|(id, _)| *id == store);
        if let Some(activity) = here.and_then(|(_, activity)| activity.upgrade()) {
            return activity;
        }
        let activity = Arc::new(Self::default());
        known.push((store, Arc::downgrade(&activity)));
        activity
    }

    /// Starts a write; it ends when the returned value is dropped.
    pub(crate) fn begin(self: &Arc<Self>) -> Write {
        self.in_progress.fetch_add(1, Ordering::Relaxed);
        self.last.fetch_max(now(), Ordering::Relaxed);
        Write(self.clone())
    }

    pub(crate) fn write_activity(&self) -> WriteActivity {
        // Read before the clock, so that it is never ahead of the clock.
        let last = self.last.load(Ordering::Relaxed);
        // One more, since both are rounded down: a write before an instant must not
        // appear to be after it.
        let since = |last| Duration::from_micros(now().saturating_sub(last) + 1);
        WriteActivity {
            in_progress: self.in_progress.load(Ordering::Relaxed),
            last: (last > 0).then(|| since(last)),
        }
    }
}

/// A write in progress.
#[derive(Debug)]
pub(crate) struct Write(Arc<Activity>);

impl Drop for Write {
    fn drop(&mut self) {
        self.0.last.fetch_max(now(), Ordering::Relaxed);
        self.0.in_progress.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::MemoryStore;
    use state_migration_core::{
        EventStore, ExpectedSequence, NewEvent, StoreId, StreamId, TransactionalStore, WorkflowId,
    };

    fn stream() -> StreamId {
        StreamId::new("s").unwrap()
    }

    fn events() -> Vec<NewEvent> {
        let version = WorkflowId::new("order", "v1");
        vec![NewEvent::new(version, "Placed", 1, "{}").unwrap()]
    }

    fn in_progress(store: &MemoryStore) -> usize {
        store.write_activity().in_progress
    }

    #[test]
    fn a_store_without_writes_is_quiet() {
        assert_eq!(
            MemoryStore::new().write_activity(),
            WriteActivity::default()
        );
    }

    #[tokio::test]
    async fn a_write_is_in_progress_until_it_is_durable_or_given_up() {
        let (store, none) = (MemoryStore::new(), ExpectedSequence::NoStream);
        let (clone, stream) = (store.clone(), stream());
        let first = store.append_unflushed(&stream, none, events());
        let first = first.await.unwrap();
        let then = ExpectedSequence::Exact(1);
        let second = clone.append_unflushed(&stream, then, events());
        let second = second.await.unwrap();
        assert_eq!((in_progress(&store), in_progress(&clone)), (2, 2));
        first.durable().await.unwrap();
        assert_eq!(in_progress(&store), 1);
        drop(second);
        assert_eq!(in_progress(&store), 0);
        assert!(store.write_activity().last.is_some());
    }

    #[tokio::test]
    async fn a_write_that_fails_is_over() {
        let (store, wrong) = (MemoryStore::new(), ExpectedSequence::Exact(7));
        store.append(&stream(), wrong, events()).await.unwrap_err();
        assert_eq!(in_progress(&store), 0);
        assert!(store.write_activity().last.is_some());
    }

    #[test]
    fn handles_that_were_made_apart_know_of_each_others_writes() {
        let (one, other) = (StoreId::unique(), StoreId::unique());
        let activity = Activity::of(one);
        let write = Activity::of(one).begin();
        assert_eq!(activity.write_activity().in_progress, 1);
        assert_eq!(
            Activity::of(other).write_activity(),
            WriteActivity::default()
        );
        drop(write);
        assert_eq!(activity.write_activity().in_progress, 0);
    }
}

//! Every store that ships runs the suite that a user's own store runs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use async_trait::async_trait;
use state_migration::{
    Appended, Error, Event, EventStore, ExpectedSequence, Head, MemoryStore, NewEvent, StreamId,
    conformance,
};
use state_migration_tests::faulty::Faulty;
use state_migration_tests::stores::OnDisk;

#[tokio::test]
async fn the_memory_store_conforms() {
    let store = MemoryStore::new();
    conformance::event_store(&store).await.unwrap();
    conformance::snapshot_store(&store).await.unwrap();
    conformance::process_registry(&store).await.unwrap();
    conformance::transactional_store(&store).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_slatedb_store_conforms_on_the_local_disk() {
    let store = OnDisk::new().await.unwrap();
    conformance::event_store(&*store).await.unwrap();
    conformance::snapshot_store(&*store).await.unwrap();
    conformance::process_registry(&*store).await.unwrap();
    conformance::transactional_store(&*store).await.unwrap();
    // Once more over data that is on disk already.
    let store = store.reopen().await.unwrap();
    conformance::event_store(&*store).await.unwrap();
    conformance::transactional_store(&*store).await.unwrap();
}

#[tokio::test]
async fn a_users_own_store_without_transactions_conforms() {
    let store = Faulty::over(MemoryStore::new());
    assert!(store.transactional().is_none());
    conformance::event_store(&store).await.unwrap();
    conformance::snapshot_store(&store).await.unwrap();
    conformance::process_registry(&store).await.unwrap();
}

/// A store with one defect each, to see that the suite notices.
struct Defective {
    inner: MemoryStore,
    defect: Defect,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Defect {
    IgnoresExpectedSequence,
    LosesTheLastEventOfAPage,
    ListsOutOfOrder,
    HidesMigrations,
}

#[async_trait]
impl EventStore for Defective {
    async fn append(
        &self,
        stream: &StreamId,
        expected: ExpectedSequence,
        events: Vec<NewEvent>,
    ) -> Result<Appended, Error> {
        let expected = match (self.defect, self.inner.head(stream).await?) {
            (Defect::IgnoresExpectedSequence, Some(head)) => ExpectedSequence::Exact(head.sequence),
            _ => expected,
        };
        self.inner.append(stream, expected, events).await
    }
    async fn read_all(
        &self,
        stream: &StreamId,
        after: u64,
        limit: usize,
    ) -> Result<Vec<Event>, Error> {
        let mut events = self.inner.read_all(stream, after, limit).await?;
        if self.defect == Defect::LosesTheLastEventOfAPage && events.len() > 200 {
            events.pop();
        }
        if self.defect == Defect::HidesMigrations {
            events.retain(|e| !state_migration::is_reserved(&e.event_type));
        }
        Ok(events)
    }
    async fn head(&self, stream: &StreamId) -> Result<Option<Head>, Error> {
        self.inner.head(stream).await
    }
    async fn list_streams(
        &self,
        prefix: Option<&str>,
        after: Option<&StreamId>,
        limit: usize,
    ) -> Result<Vec<StreamId>, Error> {
        let mut streams = self.inner.list_streams(prefix, after, limit).await?;
        if self.defect == Defect::ListsOutOfOrder {
            streams.reverse();
        }
        Ok(streams)
    }
}

#[tokio::test]
async fn the_suite_names_the_rule_that_a_defective_store_breaks() {
    for (defect, rule) in [
        (
            Defect::IgnoresExpectedSequence,
            "an append happens only at the expected end",
        ),
        (Defect::LosesTheLastEventOfAPage, "events are read in pages"),
        (
            Defect::ListsOutOfOrder,
            "streams are listed in order, by prefix and in pages",
        ),
        (
            Defect::HidesMigrations,
            "a migration is an event like others, and moves the head",
        ),
    ] {
        let store = Defective {
            inner: MemoryStore::new(),
            defect,
        };
        let violation = conformance::event_store(&store).await.unwrap_err();
        assert_eq!(violation.rule(), rule, "{defect:?}: {violation}");
    }
}

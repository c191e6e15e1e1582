//! A process: loaded from baseline, snapshot and events, appended to, fenced.
//!
//! Every scenario runs over both stores that ship.

mod finished;
mod loading;
mod round_trip;
mod snapshots;
mod versions;

use serde::de::DeserializeOwned;
use state_migration::{
    Error, ErrorKind, EventStore, Head, MigrationRunner, Process, ProcessRegistry, SnapshotStore,
    StreamId, Workflow, WorkflowId,
};
use state_migration_tests::orders::{OrderEvent, OrderV1, OrderV1ToV2Migration, OrderV2, identity};
use state_migration_tests::stores::{Rows, event_key};

/// Runs each scenario over both stores that ship.
macro_rules! over_both_stores {
    ($($scenario:ident),+ $(,)?) => {
        mod in_memory {
            $(
                #[tokio::test]
                async fn $scenario() {
                    super::$scenario(&state_migration::MemoryStore::new()).await;
                }
            )+
        }
        mod on_disk {
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $scenario() {
                    let store = state_migration_tests::stores::OnDisk::new().await.unwrap();
                    super::$scenario(&*store).await;
                }
            )+
        }
    };
}
pub(crate) use over_both_stores;

/// A store that ships, seen through its public traits and row by row.
pub(crate) trait Store:
    EventStore + SnapshotStore + ProcessRegistry + Rows + Clone + Send + Sync + 'static
{
}

impl<S> Store for S where
    S: EventStore + SnapshotStore + ProcessRegistry + Rows + Clone + Send + Sync + 'static
{
}

pub(crate) async fn try_open<W>(store: &impl Store, n: u64) -> Result<Process<W>, Error>
where
    W: Workflow<State: DeserializeOwned>,
{
    Process::open(identity::<W>(n), store.clone(), store.clone()).await
}

pub(crate) async fn open<W>(store: &impl Store, n: u64) -> Process<W>
where
    W: Workflow<State: DeserializeOwned>,
{
    try_open(store, n).await.unwrap()
}

pub(crate) async fn state<W>(store: &impl Store, n: u64) -> W::State
where
    W: Workflow<State: DeserializeOwned>,
{
    open::<W>(store, n).await.state().clone()
}

pub(crate) async fn head(store: &impl Store, n: u64) -> Head {
    store.head(&stream(n)).await.unwrap().unwrap()
}

pub(crate) fn stream(n: u64) -> StreamId {
    identity::<OrderV1>(n).stream_id().clone()
}

pub(crate) fn sum<W: Workflow<Event = OrderEvent>>(
    from: W::State,
    events: &[OrderEvent],
) -> W::State {
    events.iter().fold(from, W::apply)
}

/// Moves every order from v1 to v2, and no further.
pub(crate) async fn migrate_to_v2(store: &impl Store, migrated: usize) {
    let runner = MigrationRunner::new(OrderV1ToV2Migration, store.clone(), store.clone());
    let report = runner.run().await;
    assert!(report.is_ok(), "{report}");
    assert_eq!(report.migrated, migrated);
}

pub(crate) fn v1() -> WorkflowId {
    WorkflowId::of::<OrderV1>()
}

pub(crate) fn v2() -> WorkflowId {
    WorkflowId::of::<OrderV2>()
}

pub(crate) fn migrated_to_v2(error: &Error) {
    assert_eq!(*error.kind(), ErrorKind::Migrated { to: v2() }, "{error}");
    let way_out = "was migrated to order@v2, but this code is for order@v1; use code for order@v2";
    assert!(error.to_string().contains(way_out), "{error}");
}

/// Makes events unreadable, so that every reader of them fails.
pub(crate) async fn garble(store: &impl Store, n: u64, sequences: std::ops::RangeInclusive<u64>) {
    for sequence in sequences {
        let key = event_key(&stream(n), sequence);
        let rows = store.rows().await.unwrap();
        assert!(
            rows.iter().any(|(k, _)| *k == key),
            "event {sequence} is there"
        );
        store.put_row(key, b"\x02garbage".to_vec()).await.unwrap();
    }
}

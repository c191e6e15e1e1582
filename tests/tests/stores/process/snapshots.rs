//! Snapshots: used where they fit, ignored where they do not, never needed.

use serde::de::DeserializeOwned;
use state_migration::{
    ErrorKind, MemoryStore, Process, SlateDbStore, Snapshot, SnapshotStore, Workflow, WorkflowId,
};
use state_migration_tests::orders::OrderEvent::{Paid, Placed};
use state_migration_tests::orders::{self, OrderV1, OrderV2, StateV1, identity};

use crate::process::{
    Store, garble, migrate_to_v2, open, over_both_stores, state, stream, try_open, v2,
};

over_both_stores![
    events_under_a_snapshot_are_never_read,
    a_snapshot_that_fits_is_used,
    a_snapshot_that_does_not_fit_is_ignored,
    a_snapshot_record_that_cannot_be_read_is_ignored,
    a_snapshot_from_before_the_baseline_is_ignored,
    a_process_without_events_has_no_snapshot,
    deleting_all_snapshots_changes_no_state,
];

/// Opens order `n` with snapshots that are kept elsewhere.
async fn open_with_snapshots<W>(store: &impl Store, snapshots: &MemoryStore, n: u64) -> Process<W>
where
    W: Workflow<State: DeserializeOwned>,
{
    Process::open(identity::<W>(n), store.clone(), snapshots.clone())
        .await
        .unwrap()
}

async fn events_under_a_snapshot_are_never_read(store: &impl Store) {
    let mut order = open::<OrderV1>(store, 1).await;
    order
        .append(&[Placed { euro: 8 }, Paid { euro: 3 }])
        .await
        .unwrap();
    order.take_snapshot().await.unwrap();
    order.append(&[Paid { euro: 4 }]).await.unwrap();
    garble(store, 1, 1..=2).await;

    let again = open::<OrderV1>(store, 1).await;
    assert_eq!((again.state(), again.sequence()), (order.state(), 3));
    assert_eq!(again.state().paid_euro, 7);

    SnapshotStore::delete(store, &stream(1)).await.unwrap();
    let corrupt = try_open::<OrderV1>(store, 1).await.unwrap_err();
    assert_eq!(*corrupt.kind(), ErrorKind::Corrupt);
    assert_eq!(
        corrupt.to_string(),
        "event 1 of stream process/shop/000001 cannot be read: unknown flag; \
         restore the record from a backup (nothing was changed)"
    );
}

/// A snapshot of order `n` whose state no event gives.
fn snapshot_of<W: Workflow>(n: u64, sequence: u64, state: &'static str) -> Snapshot {
    Snapshot {
        stream_id: stream(n),
        sequence,
        workflow_id: WorkflowId::of::<W>(),
        state_schema_version: W::STATE_SCHEMA_VERSION,
        state: state.into(),
    }
}

const MARKED: &str = r#"{"euro":1000000,"paid_euro":0,"closed":false}"#;

async fn a_snapshot_that_fits_is_used(store: &impl Store) {
    orders::place(store, store, 3).await.unwrap();
    let snapshots = MemoryStore::new();
    // The events after it are folded onto it: order 3 is paid in three steps.
    for (sequence, paid_euro) in [(1, 3), (3, 1), (4, 0)] {
        snapshots
            .save(&snapshot_of::<OrderV1>(3, sequence, MARKED))
            .await
            .unwrap();
        let order = open_with_snapshots::<OrderV1>(store, &snapshots, 3).await;
        let expected = StateV1 {
            euro: 1_000_000,
            paid_euro,
            closed: false,
        };
        assert_eq!((order.state(), order.sequence()), (&expected, 4));
    }
}

async fn a_snapshot_that_does_not_fit_is_ignored(store: &impl Store) {
    orders::place(store, store, 3).await.unwrap();
    let fitting = snapshot_of::<OrderV1>(3, 2, MARKED);
    let misfits = [
        (
            "of the next version",
            Snapshot {
                workflow_id: v2(),
                ..fitting.clone()
            },
        ),
        (
            "of another workflow",
            Snapshot {
                workflow_id: WorkflowId::new("parcel", "v1"),
                ..fitting.clone()
            },
        ),
        (
            "of another layout of the state",
            Snapshot {
                state_schema_version: 2,
                ..fitting.clone()
            },
        ),
        (
            "ahead of the stream",
            Snapshot {
                sequence: 5,
                ..fitting.clone()
            },
        ),
        (
            "of no event",
            Snapshot {
                sequence: 0,
                ..fitting.clone()
            },
        ),
        (
            "with a state of another shape",
            Snapshot {
                state: r#"{"cents":1}"#.into(),
                ..fitting.clone()
            },
        ),
        (
            "with a state that is not JSON",
            Snapshot {
                state: "{".into(),
                ..fitting.clone()
            },
        ),
    ];
    for (what, misfit) in misfits {
        let snapshots = MemoryStore::new();
        snapshots.save(&misfit).await.unwrap();
        let order = open_with_snapshots::<OrderV1>(store, &snapshots, 3).await;
        assert_eq!(*order.state(), orders::folded::<OrderV1>(3), "{what}");
        assert_eq!(order.sequence(), 4, "{what}");
    }
}

async fn a_snapshot_record_that_cannot_be_read_is_ignored(store: &impl Store) {
    orders::place(store, store, 3).await.unwrap();
    open::<OrderV1>(store, 3)
        .await
        .take_snapshot()
        .await
        .unwrap();
    let key = [b"s", stream(3).as_str().as_bytes(), &[0, 1]].concat();
    for record in [&b"\x02short"[..], b"\x03of a newer format", b""] {
        store.put_row(key.clone(), record.to_vec()).await.unwrap();
        assert!(SnapshotStore::load(store, &stream(3)).await.is_err());
        let expected = orders::folded::<OrderV1>(3);
        assert_eq!(state::<OrderV1>(store, 3).await, expected, "{record:?}");
    }
}

async fn a_snapshot_from_before_the_baseline_is_ignored(store: &impl Store) {
    orders::place(store, store, 3).await.unwrap();
    migrate_to_v2(store, 1).await;
    let expected = state::<OrderV2>(store, 3).await;
    let marked = r#"{"cents":1000000,"open_cents":0,"closed":false}"#;
    let snapshots = MemoryStore::new();
    for before in 1..=4 {
        snapshots
            .save(&snapshot_of::<OrderV2>(3, before, marked))
            .await
            .unwrap();
        let order = open_with_snapshots::<OrderV2>(store, &snapshots, 3).await;
        assert_eq!((order.state(), order.sequence()), (&expected, 5));
    }

    // At the baseline it fits, which shows that its place was what was wrong.
    snapshots
        .save(&snapshot_of::<OrderV2>(3, 5, marked))
        .await
        .unwrap();
    let order = open_with_snapshots::<OrderV2>(store, &snapshots, 3).await;
    assert_eq!(order.state().cents, 1_000_000);
}

async fn a_process_without_events_has_no_snapshot(store: &impl Store) {
    let order = open::<OrderV1>(store, 5).await;
    let before = store.rows().await.unwrap();
    let refused = order.take_snapshot().await.unwrap_err();
    assert_eq!(*refused.kind(), ErrorKind::Invalid);
    assert_eq!(
        refused.to_string(),
        "the process process/shop/000005 has no events, so it cannot have a snapshot"
    );
    assert_eq!(store.rows().await.unwrap(), before);
}

/// What [`deleting_all_snapshots_changes_no_state`] calls on either store.
trait DeleteAllSnapshots {
    async fn delete_all(&self) -> u64;
}

impl DeleteAllSnapshots for MemoryStore {
    async fn delete_all(&self) -> u64 {
        self.delete_all_snapshots().await.unwrap()
    }
}

impl DeleteAllSnapshots for SlateDbStore {
    async fn delete_all(&self) -> u64 {
        self.delete_all_snapshots().await.unwrap()
    }
}

async fn deleting_all_snapshots_changes_no_state(store: &(impl Store + DeleteAllSnapshots)) {
    assert_eq!(store.delete_all().await, 0);
    for n in 0..6 {
        orders::place(store, store, n).await.unwrap();
    }
    let before = store.rows().await.unwrap();
    for n in 0..5 {
        open::<OrderV1>(store, n)
            .await
            .take_snapshot()
            .await
            .unwrap();
    }
    assert_eq!(store.rows().await.unwrap().len(), before.len() + 5);
    assert_eq!(store.delete_all().await, 5);
    assert_eq!(store.rows().await.unwrap(), before);
    for n in 0..6 {
        assert_eq!(
            state::<OrderV1>(store, n).await,
            orders::folded::<OrderV1>(n)
        );
    }
    assert_eq!(store.delete_all().await, 0);
}

#[tokio::test]
async fn all_snapshots_are_deleted_over_several_pages() {
    let store = MemoryStore::new();
    for n in 0..2_500 {
        let snapshot = snapshot_of::<OrderV1>(n, 1, MARKED);
        store.save(&snapshot).await.unwrap();
    }
    assert_eq!(store.dump().len(), 2_500);
    assert_eq!(store.delete_all_snapshots().await.unwrap(), 2_500);
    assert_eq!(store.dump(), []);
}

//! A run starts from snapshots where that saves much. They are caches: the
//! states are the same with them, without them, and with bad ones.

use bytes::Bytes;
use state_migration::{
    ExpectedSequence, MemoryStore, MigrationRegistry, MigrationRunner, NewEvent, Process,
    SlateDbStore, Snapshot, SnapshotStore, StreamId, TransactionalStore, Workflow, WorkflowId,
};
use state_migration_tests::orders::{
    OrderEvent, OrderV1, OrderV1ToV2Migration, OrderV2, OrderV2ToV3Migration, OrderV3, StateV2,
    identity, load,
};
use state_migration_tests::stores::{OnDisk, Rows};

trait Store: TransactionalStore + SnapshotStore + Rows + Clone + 'static {
    fn count(&self) -> u64;
}

impl Store for MemoryStore {
    fn count(&self) -> u64 {
        self.rows_read()
    }
}

impl Store for SlateDbStore {
    fn count(&self) -> u64 {
        self.rows_read()
    }
}

fn stream(n: u64) -> StreamId {
    identity::<OrderV1>(n).stream_id().clone()
}

/// Appends events, each for one euro.
async fn append<W: Workflow<Event = OrderEvent>>(store: &impl Store, n: u64, events: u64) {
    let head = store.head(&stream(n)).await.unwrap();
    let expected = match head {
        Some(head) => ExpectedSequence::Exact(head.sequence),
        None => ExpectedSequence::NoStream,
    };
    let placed = || NewEvent::of::<W>(&OrderEvent::Placed { euro: 1 }).unwrap();
    let events = (0..events).map(|_| placed()).collect();
    store.append(&stream(n), expected, events).await.unwrap();
}

async fn take_snapshot(store: &impl Store, n: u64) {
    let order = Process::<OrderV1>::open(identity::<OrderV1>(n), store.clone(), store.clone());
    order.await.unwrap().take_snapshot().await.unwrap();
}

/// Keeps a snapshot that says what no events do.
async fn invent_snapshot(store: &impl Store, n: u64, sequence: u64, schema: u32, state: &str) {
    let snapshot = Snapshot {
        stream_id: stream(n),
        sequence,
        workflow_id: WorkflowId::of::<OrderV1>(),
        state_schema_version: schema,
        state: Bytes::copy_from_slice(state.as_bytes()),
    };
    store.save(&snapshot).await.unwrap();
}

/// Migrates all from v1, and returns how many rows that reads.
async fn migrate(store: &impl Store, migrated: usize) -> u64 {
    let migrations = MigrationRegistry::builder().with(OrderV1ToV2Migration);
    let migrations = migrations.build().unwrap();
    let runner = MigrationRunner::new(migrations, store.clone(), store.clone());
    let dry = runner.dry_run().await;
    assert!(dry.is_ok(), "{dry}");
    assert_eq!(dry.migrated, migrated, "{dry}");
    let before = store.count();
    let report = runner.run().await;
    assert!(report.is_ok(), "{report}");
    assert_eq!(report.migrated, migrated, "{report}");
    store.count() - before
}

async fn assert_state(store: &impl Store, n: u64, euro: u64) {
    // Snapshots would only be in the way of what is compared.
    SnapshotStore::delete(store, &stream(n)).await.unwrap();
    let state = load::<OrderV2, _>(store, n).await.unwrap();
    let open_cents = i64::try_from(euro * 100).unwrap();
    let cents = euro * 100;
    let wanted = StateV2 {
        cents,
        open_cents,
        closed: false,
    };
    assert_eq!(state, wanted, "order {n}");
}

/// Two stores: of memory, and on disk.
macro_rules! on_both {
    ($check:ident) => {
        $check(&MemoryStore::new()).await;
        let disk = OnDisk::new().await.unwrap();
        $check(&*disk).await;
    };
}

async fn rows_of_long_processes(store: &impl Store) {
    for n in 0..3 {
        append::<OrderV1>(store, n, 1_990).await;
        take_snapshot(store, n).await;
        append::<OrderV1>(store, n, 10).await;
    }
    let rows = migrate(store, 3).await;
    assert!(rows <= 3 * 20 + 60, "{rows} rows");
    for n in 0..3 {
        assert_state(store, n, 2_000).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn long_processes_are_read_from_their_snapshots_on() {
    on_both!(rows_of_long_processes);
}

/// The states of both kinds of processes after a run, which is expected to end like this.
async fn corrected_apply(store: &impl Store) {
    use state_migration::{FailureClass, SnapshotUse};

    // What `apply` of an earlier program has folded: twice the sum of today's.
    for n in 0..3 {
        append::<OrderV1>(store, n, 4 + n * 500).await;
    }
    let doubled = r#"{"euro":8,"paid_euro":0,"closed":false}"#;
    for n in [1, 2] {
        invent_snapshot(store, n, 4, OrderV1::STATE_SCHEMA_VERSION, doubled).await;
    }
    // A right snapshot, and one with another state type.
    append::<OrderV1>(store, 3, 5).await;
    take_snapshot(store, 3).await;
    append::<OrderV1>(store, 4, 5).await;
    invent_snapshot(store, 4, 5, OrderV1::STATE_SCHEMA_VERSION, "[]").await;

    let migrations = MigrationRegistry::builder().with(OrderV1ToV2Migration);
    let migrations = migrations.build().unwrap();
    let runner = || MigrationRunner::new(migrations.clone(), store.clone(), store.clone());
    let plain = runner().plan().unwrap();
    let ignoring = runner().snapshots(SnapshotUse::Ignore).plan().unwrap();
    assert_ne!(plain.fingerprint, ignoring.fingerprint);
    let differ = |report: &state_migration::MigrationReport| {
        let failed: Vec<_> = report
            .errors
            .iter()
            .map(|error| (error.class, error.subject.stream().cloned().unwrap()))
            .collect();
        let class = FailureClass::SnapshotDiffers;
        assert_eq!(failed, [(class, stream(1)), (class, stream(2))], "{report}");
        assert!(report.errors[0].message.contains("the snapshot at event 4"));
    };
    // A dry run compares by default.
    differ(&runner().dry_run().await);
    let compared = runner().snapshots(SnapshotUse::Compare).run().await;
    differ(&compared);
    assert_eq!(compared.migrated, 3, "{compared}");
    for n in [0, 3, 4] {
        assert_state(store, n, if n == 0 { 4 } else { 5 }).await;
    }
    // A retry compares again, unless told otherwise.
    let retried = runner().retry(compared.run.unwrap(), &[]).await;
    differ(&retried);
    let ignored = runner().snapshots(SnapshotUse::Ignore);
    let ignored = ignored.retry(compared.run.unwrap(), &[]).await;
    assert_eq!((ignored.migrated, ignored.error_count), (2, 0), "{ignored}");
    for n in [1, 2] {
        assert_state(store, n, 4 + n * 500).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn snapshots_of_an_earlier_apply_are_found_and_can_be_ignored() {
    on_both!(corrected_apply);
}

async fn with_and_without(store: &impl Store) {
    // A mix: short and long, with and without, at the end and at the start.
    for n in 0..60 {
        append::<OrderV1>(store, n, 1 + n * 3).await;
        if n % 3 == 0 {
            take_snapshot(store, n).await;
        }
        append::<OrderV1>(store, n, 1 + n % 7 * 20).await;
        if n % 9 == 1 {
            take_snapshot(store, n).await;
        }
    }
    migrate(store, 60).await;
    for n in 0..60 {
        assert_state(store, n, 2 + n * 3 + n % 7 * 20).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn states_are_the_same_with_and_without_snapshots() {
    on_both!(with_and_without);
}

async fn bad_snapshots(store: &impl Store) {
    let lie = r#"{"euro":7,"paid_euro":7,"closed":false}"#;
    for n in 0..30 {
        append::<OrderV1>(store, n, 100).await;
        match n {
            0 => append::<OrderV1>(store, n, 1).await,
            1 => {
                let key = [b"s", stream(n).as_str().as_bytes(), &[0, 1]].concat();
                store
                    .put_row(key, b"\x01 no snapshot".to_vec())
                    .await
                    .unwrap();
            }
            2 => {
                let key = [b"s", stream(n).as_str().as_bytes(), &[0, 1]].concat();
                store.put_row(key, b"\x09newer".to_vec()).await.unwrap();
            }
            3 => invent_snapshot(store, n, 90, 2, lie).await,
            4 => take_snapshot(store, n).await,
            // As many as to be given up on.
            5..20 => invent_snapshot(store, n, 90, 1, r#"{"euro":7,"pai"#).await,
            20 => invent_snapshot(store, n, 90, 1, r#"{"euro":"7"}"#).await,
            _ => {}
        }
    }
    migrate(store, 30).await;
    for n in 0..30 {
        assert_state(store, n, if n == 0 { 101 } else { 100 }).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_snapshot_is_as_good_as_none() {
    on_both!(bad_snapshots);
}

async fn left_behind(store: &impl Store) {
    append::<OrderV1>(store, 0, 100).await;
    take_snapshot(store, 0).await;
    migrate(store, 1).await;
    append::<OrderV2>(store, 0, 100).await;
    let left = store.load(&stream(0)).await.unwrap().unwrap();
    assert_eq!(left.workflow_id, WorkflowId::of::<OrderV1>());
    // One that would fit, were it not of v1.
    let mut row = vec![2];
    row.extend(190u64.to_be_bytes());
    row.extend(OrderV2::STATE_SCHEMA_VERSION.to_be_bytes());
    row.extend(b"\0\x05order\0\x02v1");
    row.extend(br#"{"cents":7,"open_cents":7,"closed":false}"#);
    let key = [b"s", stream(0).as_str().as_bytes(), &[0, 1]].concat();
    store.put_row(key, row).await.unwrap();
    assert_eq!(store.load(&stream(0)).await.unwrap().unwrap().sequence, 190);
    let migrations = MigrationRegistry::builder().with(OrderV2ToV3Migration);
    let migrations = migrations.build().unwrap();
    let runner = MigrationRunner::new(migrations, store.clone(), store.clone());
    let report = runner.run().await;
    assert!(report.is_ok() && report.migrated == 1, "{report}");
    let state = load::<OrderV3, _>(store, 0).await.unwrap();
    assert_eq!((state.net + state.tax, state.open), (20_000, 20_000));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_from_before_a_migration_is_not_started_from() {
    on_both!(left_behind);
}

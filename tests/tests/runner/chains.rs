//! Several migrations after each other, and again: the same states, and
//! nothing changed that was done. The original re-folds with the wrong version
//! on a second run, skips every process on a second release, and loses the
//! migrated state with its snapshots.

use bytes::Bytes;
use state_migration::{
    Baseline, Event, EventStore, IdentityMigration, MIGRATED, MemoryStore, MigrationRegistry,
    MigrationReport, MigrationRunner, Process, Selection, SlateDbStore, SnapshotStore, Workflow,
    WorkflowId,
};
use state_migration_tests::faulty::Faulty;
use state_migration_tests::orders::{
    OrderEvent, OrderV1, OrderV1ToV2Migration, OrderV2, OrderV3, StateV3, folded, history,
    identity, load, place, register,
};
use state_migration_tests::stores::{OnDisk, Rows, differences, dump, dump_all};

const ORDERS: u64 = 120;

async fn fill<S: EventStore + SnapshotStore + Clone + 'static>(store: &S) {
    for n in 0..ORDERS {
        place(store, store, n).await.unwrap();
    }
}

async fn migrate_all<S: EventStore + SnapshotStore + Clone>(store: &S) -> MigrationReport {
    let linked = MigrationRegistry::linked().unwrap();
    MigrationRunner::new(linked, store.clone(), store.clone())
        .run()
        .await
}

async fn append<W>(store: &(impl EventStore + SnapshotStore + Clone + 'static), n: u64)
where
    W: Workflow<Event = OrderEvent>,
    W::State: serde::de::DeserializeOwned,
{
    let mut order = Process::<W>::open(identity::<W>(n), store.clone(), store.clone())
        .await
        .unwrap();
    order.append(&[OrderEvent::Paid { euro: 2 }]).await.unwrap();
}

async fn states<S: EventStore + SnapshotStore + Clone + 'static>(store: &S) -> Vec<StateV3> {
    let mut states = Vec::new();
    for n in 0..ORDERS {
        states.push(load::<OrderV3, _>(store, n).await.unwrap());
    }
    states
}

/// Migrates v1 → v2, appends to some orders at v2, and migrates v2 → v3.
async fn in_steps<S: EventStore + SnapshotStore + Clone + 'static>(store: &S) {
    fill(store).await;
    let report = MigrationRunner::new(OrderV1ToV2Migration, store.clone(), store.clone())
        .run()
        .await;
    assert_eq!((report.migrated, report.error_count), (120, 0), "{report}");
    for n in (0..ORDERS).step_by(3) {
        append::<OrderV2>(store, n).await;
    }
    let report = migrate_all(store).await;
    assert_eq!((report.migrated, report.error_count), (120, 0), "{report}");
}

/// The same events, all under v1, then v1 → v3 in one run.
async fn in_one_run<S: EventStore + SnapshotStore + Clone + 'static>(store: &S) {
    fill(store).await;
    for n in (0..ORDERS).step_by(3) {
        append::<OrderV1>(store, n).await;
    }
    let report = migrate_all(store).await;
    assert_eq!((report.migrated, report.error_count), (120, 0), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn in_steps_and_in_one_run_give_the_same_states() {
    let (steps, one) = (OnDisk::new().await.unwrap(), OnDisk::new().await.unwrap());
    in_steps(&steps.clone()).await;
    in_one_run(&one.clone()).await;
    let expected = states(&one.clone()).await;
    assert_eq!(states(&steps.clone()).await, expected);
    assert_eq!(expected[3].open, 400 - 3 * 100 - 200);
    let (steps, one) = (MemoryStore::new(), MemoryStore::new());
    in_steps(&steps).await;
    in_one_run(&one).await;
    assert_eq!(states(&steps).await, expected);
    assert_eq!(states(&one).await, expected);
    let (steps, one) = (
        Faulty::over(MemoryStore::new()),
        Faulty::over(MemoryStore::new()),
    );
    in_steps(&steps).await;
    in_one_run(&one).await;
    assert_eq!(states(&steps).await, expected);
    assert_eq!(states(&one).await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_of_two_hops_is_one_event_that_names_both() {
    let (steps, one) = (MemoryStore::new(), MemoryStore::new());
    in_steps(&steps).await;
    in_one_run(&one).await;
    let migrations = |events: Vec<Event>| -> Vec<Baseline> {
        let migrated = events.iter().filter(|e| e.event_type == MIGRATED);
        migrated.map(|e| Baseline::from_event(e).unwrap()).collect()
    };
    let linked = MigrationRegistry::linked().unwrap();
    let codes: Vec<_> = linked
        .migrations()
        .iter()
        .map(|m| m.fingerprint())
        .collect();
    for n in 0..ORDERS {
        let stream = identity::<OrderV3>(n).stream_id().clone();
        let single = migrations(one.read_all(&stream, 0, 1_000).await.unwrap());
        assert_eq!(single.len(), 1);
        assert_eq!((&*single[0].from, &*single[0].to), ("v1", "v3"));
        let route: Vec<_> = single[0]
            .route
            .iter()
            .map(|hop| (&*hop.to, hop.code))
            .collect();
        assert_eq!(route, [("v2", codes[0]), ("v3", codes[1])]);
        assert_eq!(single[0].state_schema_version, 3);
        let double = migrations(steps.read_all(&stream, 0, 1_000).await.unwrap());
        let ends: Vec<_> = double.iter().map(|b| (&*b.from, &*b.to)).collect();
        assert_eq!(ends, [("v1", "v2"), ("v2", "v3")]);
        assert_ne!(double[0].run, double[1].run);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn running_again_changes_nothing_also_after_the_processes_went_on() {
    let disk = OnDisk::new().await.unwrap();
    in_steps(&disk.clone()).await;
    for n in 0..ORDERS {
        register_at_v3(&disk, n).await;
    }
    for n in (0..ORDERS).step_by(4) {
        append::<OrderV3>(&disk.clone(), n).await;
        let order = Process::<OrderV3>::open(identity::<OrderV3>(n), disk.clone(), disk.clone())
            .await
            .unwrap();
        order.take_snapshot().await.unwrap();
    }
    let before = dump(&disk).await.unwrap();
    let known = states(&disk.clone()).await;
    for _ in 0..2 {
        for report in [
            migrate_all(&disk.clone()).await,
            MigrationRunner::new(OrderV1ToV2Migration, disk.clone(), disk.clone())
                .run()
                .await,
        ] {
            // To the runner of v1 → v2 alone, v3 is a version from which no
            // migration leads.
            assert_eq!(report.migrated, 0, "{report}");
        }
        let after = dump(&disk).await.unwrap();
        assert_eq!(differences(&before, &after), Vec::<String>::new());
    }
    assert_eq!(states(&disk.clone()).await, known);

    // The same over handles without transactions.
    let memory = MemoryStore::new();
    let own = Faulty::over(memory.clone());
    in_steps(&own).await;
    append::<OrderV3>(&own, 0).await;
    let before = memory.rows().await.unwrap();
    assert_eq!(migrate_all(&own).await.migrated, 0);
    assert_eq!(
        differences(&before, &memory.rows().await.unwrap()),
        Vec::<String>::new()
    );
}

async fn register_at_v3(disk: &OnDisk, n: u64) {
    use state_migration::ProcessRegistry;
    for key in state_migration_tests::orders::keys(n) {
        let identity = identity::<OrderV3>(n);
        disk.register(identity.tenant_id(), &key, &identity)
            .await
            .unwrap();
    }
}

/// Orders under v4 share their state with v3.
struct OrderV4;

impl Workflow for OrderV4 {
    const NAME: &'static str = "order";
    const VERSION: &'static str = "v4";
    const STATE_SCHEMA_VERSION: u32 = 3;
    type State = StateV3;
    type Event = OrderEvent;
    fn apply(state: StateV3, event: &OrderEvent) -> StateV3 {
        OrderV3::apply(state, event)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_event_before_a_migration_is_ever_read_again() {
    let disk = OnDisk::new().await.unwrap();
    in_steps(&disk.clone()).await;
    for n in 0..ORDERS {
        register_at_v3(&disk, n).await;
    }
    let known = states(&disk.clone()).await;
    assert_eq!(disk.delete_all_snapshots().await.unwrap(), 0);

    let mut overwritten = 0;
    for n in 0..ORDERS {
        let stream = identity::<OrderV3>(n).stream_id().clone();
        let baseline = disk.head(&stream).await.unwrap().unwrap().baseline.unwrap();
        let prefix = [b"e", stream.as_str().as_bytes(), b"\0\x01"].concat();
        for sequence in 1..baseline {
            let key = [&prefix[..], &sequence.to_be_bytes()].concat();
            assert!(
                disk.db().get(&key).await.unwrap().is_some(),
                "event {sequence} of {stream}"
            );
            disk.db()
                .put(&key, Bytes::from_static(b"garbage"))
                .await
                .unwrap();
            overwritten += 1;
        }
    }
    let placed: usize = (0..ORDERS).map(|n| history(n).len()).sum();
    let appended = ORDERS as usize / 3;
    assert_eq!(overwritten, placed + appended + ORDERS as usize);
    let disk = disk.reopen().await.unwrap();

    assert_eq!(states(&disk.clone()).await, known);
    for n in 0..ORDERS {
        append::<OrderV3>(&disk.clone(), n).await;
    }
    let to_v4 =
        IdentityMigration::<OrderV4>::new(WorkflowId::of::<OrderV3>(), WorkflowId::of::<OrderV4>());
    let report = MigrationRunner::new(to_v4, disk.clone(), disk.clone())
        .run()
        .await;
    assert_eq!((report.migrated, report.error_count), (120, 0), "{report}");
    for (n, state) in (0..ORDERS).zip(known) {
        let expected = OrderV3::apply(state, &OrderEvent::Paid { euro: 2 });
        assert_eq!(
            load::<OrderV4, _>(&disk.clone(), n).await.unwrap(),
            expected
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn snapshots_are_a_cache_that_may_go_at_any_time() {
    let disk = OnDisk::new().await.unwrap();
    fill(&disk.clone()).await;
    for n in 0..ORDERS {
        register(&*disk, n).await.unwrap();
        let order = Process::<OrderV1>::open(identity::<OrderV1>(n), disk.clone(), disk.clone())
            .await
            .unwrap();
        order.take_snapshot().await.unwrap();
    }
    assert_eq!(migrate_all(&disk.clone()).await.migrated, 120);
    let with_old_snapshots = states(&disk.clone()).await;
    for n in 0..ORDERS {
        let order = Process::<OrderV3>::open(identity::<OrderV3>(n), disk.clone(), disk.clone())
            .await
            .unwrap();
        order.take_snapshot().await.unwrap();
    }
    let with_new_snapshots = states(&disk.clone()).await;
    assert_eq!(disk.delete_all_snapshots().await.unwrap(), 120);
    let without = states(&disk.clone()).await;
    assert_eq!(with_old_snapshots, without);
    assert_eq!(with_new_snapshots, without);
}

async fn snapshot_all<W>(store: &SlateDbStore)
where
    W: Workflow,
    W::State: serde::Serialize + serde::de::DeserializeOwned,
{
    for n in 0..ORDERS {
        let order = Process::<W>::open(identity::<W>(n), store.clone(), store.clone())
            .await
            .unwrap();
        order.take_snapshot().await.unwrap();
    }
}

// Seen to fail where a replay starts at the first event and not at the baseline.
#[tokio::test(flavor = "multi_thread")]
async fn v1_to_v2_to_v3_gives_equal_states_in_three_runs_and_in_one() {
    let (three, one) = (OnDisk::new().await.unwrap(), OnDisk::new().await.unwrap());
    for store in [&*three, &*one] {
        fill(store).await;
        snapshot_all::<OrderV1>(store).await;
    }
    let v1_to_v2 = MigrationRunner::new(OrderV1ToV2Migration, three.clone(), three.clone());
    assert_eq!(v1_to_v2.run().await.migrated, 120);
    snapshot_all::<OrderV2>(&three).await;
    let linked = MigrationRegistry::linked().unwrap();
    let some = MigrationRunner::new(linked, three.clone(), three.clone())
        .select(Selection::all().percent(40.0))
        .run()
        .await;
    assert!((1..120).contains(&some.migrated), "{some}");
    let rest = migrate_all(&*three).await;
    assert_eq!((some.migrated + rest.migrated, rest.error_count), (120, 0));
    assert_eq!(migrate_all(&*one).await.migrated, 120);

    let known = states(&*one).await;
    assert_eq!(states(&*three).await, known);
    for store in [&*three, &*one] {
        snapshot_all::<OrderV3>(store).await;
        assert_eq!(store.delete_all_snapshots().await.unwrap(), 120);
        assert_eq!(states(store).await, known);
        for n in (0..ORDERS).step_by(2) {
            append::<OrderV3>(store, n).await;
        }
    }
    let went_on = states(&*one).await;
    assert_ne!(went_on, known);
    assert_eq!(states(&*three).await, went_on);

    // An extra run writes nothing.
    for disk in [three, one] {
        let before = dump_all(&disk).await.unwrap();
        assert_eq!(migrate_all(&*disk).await.migrated, 0);
        let after = dump_all(&disk).await.unwrap();
        assert_eq!(differences(&before, &after), Vec::<String>::new());
        let disk = disk.reopen().await.unwrap();
        assert_eq!(disk.delete_all_snapshots().await.unwrap(), 0);
        assert_eq!(states(&*disk).await, went_on);
    }
}

/// Takes out: `VersionStatus::Stays` in `MigrationRegistry::version_status`, and order 1
/// is an error.
#[tokio::test(flavor = "multi_thread")]
async fn a_process_at_a_pinned_version_is_skipped() {
    let migrations = || {
        MigrationRegistry::builder()
            .with(OrderV1ToV2Migration)
            .no_migration::<OrderV2>("over by May")
            .version::<OrderV3>()
            .build()
            .unwrap()
    };
    let (together, events, snapshots) =
        (MemoryStore::new(), MemoryStore::new(), MemoryStore::new());
    for (events, snapshots) in [(&together, &together), (&events, &snapshots)] {
        place(events, snapshots, 0).await.unwrap();
        let order = identity::<OrderV2>(1);
        let mut order = Process::<OrderV2>::open(order, events.clone(), snapshots.clone())
            .await
            .unwrap();
        order.append(&history(1)).await.unwrap();

        let runner = MigrationRunner::new(migrations(), events.clone(), snapshots.clone())
            .count_up_to_date(true);
        let stays: Vec<String> = runner
            .plan()
            .unwrap()
            .stays
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(stays, ["order@v2 stays: over by May"]);
        for migrated in [1, 0] {
            let report = runner.run().await;
            assert_eq!(
                (report.migrated, report.error_count),
                (migrated, 0),
                "{report}"
            );
            assert_eq!(report.skipped_by.already_there, 2 - migrated, "{report}");
        }
        let order =
            Process::<OrderV2>::open(identity::<OrderV2>(1), events.clone(), snapshots.clone());
        assert_eq!(order.await.unwrap().state(), &folded::<OrderV2>(1));
        let head = events
            .head(identity::<OrderV1>(0).stream_id())
            .await
            .unwrap()
            .unwrap();
        assert_eq!(head.workflow_id, WorkflowId::of::<OrderV2>());
    }
}

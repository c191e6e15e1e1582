//! Writes whose answers are lost, before or after they have happened.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::atomic::Ordering;

use state_migration::{
    EventStore, MIGRATED, MemoryStore, MigrationRegistry, MigrationRunner, Process,
    ProcessRegistry, RunState, Runs, SnapshotStore,
};
use state_migration_tests::lossy::Lossy;
use state_migration_tests::orders::{
    OrderEvent, OrderV1, OrderV1ToV2Migration, OrderV2ToV3Migration, OrderV3, identity, load,
    place, register,
};
use state_migration_tests::stores::OnDisk;

const ORDERS: u64 = 200;

fn linked() -> MigrationRegistry {
    MigrationRegistry::builder()
        .with(OrderV1ToV2Migration)
        .with(OrderV2ToV3Migration)
        .build()
        .unwrap()
}

// To see it fail: take every unknown outcome in `Ledger::commit` for a conflict
// (counts are wrong), or for a success (processes stay behind); or return what a
// flush says in `Ledger::settle` (the run is broken off).
async fn chunks<S>(store: S, reference: MemoryStore)
where
    S: EventStore + SnapshotStore + ProcessRegistry + Clone + 'static,
{
    for n in 0..ORDERS {
        place(&store, &store, n).await.unwrap();
        register(&store, n).await.unwrap();
        place(&reference, &reference, n).await.unwrap();
    }
    let runner = MigrationRunner::new(linked(), reference.clone(), reference.clone());
    assert!(runner.run().await.is_ok());

    let lossy = Lossy::over(store.clone()).unwrap();
    let runner = MigrationRunner::new(linked(), lossy.clone(), lossy.clone()).chunk_processes(5);
    lossy.losses.every.store(3, Ordering::SeqCst);
    // Fewer in all than a run tries it.
    lossy.losses.flushes_to_lose.store(3, Ordering::SeqCst);
    let report = runner.run().await;
    assert_eq!(report.migrated as u64, ORDERS, "{report}");
    assert_eq!(
        (report.error_count, report.state),
        (0, Some(RunState::Done)),
        "{report}"
    );
    let runs = Runs::of(&store).unwrap();
    assert!(runs.claimed_by().await.unwrap().is_none());
    let record = runs.get(report.run.unwrap()).await.unwrap().unwrap();
    assert_eq!(record.state, RunState::Done);
    let (after, before) = (&lossy.losses.after, &lossy.losses.before);
    assert!(after.load(Ordering::SeqCst) >= 4 && before.load(Ordering::SeqCst) >= 4);
    assert_eq!(lossy.losses.flushes_to_lose.load(Ordering::SeqCst), 0);
    let counts = runs.counts(report.run.unwrap()).await.unwrap();
    assert_eq!((counts.migrated, counts.failed), (ORDERS, 0));
    for n in 0..ORDERS {
        let stream = identity::<OrderV1>(n).stream_id().clone();
        let events = store.read_all(&stream, 0, 100).await.unwrap();
        let migrations = events.iter().filter(|e| e.event_type == MIGRATED).count();
        assert_eq!(migrations, 1, "order {n}");
        assert_eq!(
            load::<OrderV3, _>(&store, n).await.unwrap(),
            load::<OrderV3, _>(&reference, n).await.unwrap()
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chunk_whose_answer_was_lost_is_resolved_by_reading_in_memory() {
    chunks(MemoryStore::new(), MemoryStore::new()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chunk_whose_answer_was_lost_is_resolved_by_reading_on_disk() {
    let disk = OnDisk::new().await.unwrap();
    chunks((*disk).clone(), MemoryStore::new()).await;
}

// To see it fail: return the error of the append without looking.
#[tokio::test(flavor = "multi_thread")]
async fn an_append_whose_answer_was_lost_happens_once() {
    let store = MemoryStore::new();
    let lossy = Lossy::over(store.clone()).unwrap();
    lossy.losses.every.store(2, Ordering::SeqCst);
    let mut order = Process::<OrderV1>::open(identity::<OrderV1>(1), lossy.clone(), store.clone())
        .await
        .unwrap();
    for n in 1..=50 {
        order
            .append(&[OrderEvent::Placed { euro: n }])
            .await
            .unwrap();
        assert_eq!(order.sequence(), n);
    }
    let (after, before) = (&lossy.losses.after, &lossy.losses.before);
    assert!(after.load(Ordering::SeqCst) >= 10 && before.load(Ordering::SeqCst) >= 10);
    assert_eq!(order.state().euro, (1..=50).sum::<u64>());
    let state = load::<OrderV1, _>(&store, 1).await.unwrap();
    assert_eq!(state, *order.state());
}

// To see it fail: take any event at the place for one's own.
#[tokio::test(flavor = "multi_thread")]
async fn an_append_whose_answer_was_lost_gives_way_to_another_writer() {
    let store = MemoryStore::new();
    let open = async || {
        Process::<OrderV1>::open(identity::<OrderV1>(1), store.clone(), store.clone())
            .await
            .unwrap()
    };
    open()
        .await
        .append(&[OrderEvent::Placed { euro: 1 }])
        .await
        .unwrap();
    let lossy = Lossy::over(store.clone()).unwrap();
    let mut order = Process::<OrderV1>::open(identity::<OrderV1>(1), lossy.clone(), store.clone())
        .await
        .unwrap();
    open()
        .await
        .append(&[OrderEvent::Paid { euro: 1 }])
        .await
        .unwrap();
    lossy.losses.every.store(1, Ordering::SeqCst);
    // The first loss is after the write, which is refused; the second before it.
    let mut kinds = Vec::new();
    for _ in 0..4 {
        let error = order.append(&[OrderEvent::Closed]).await.unwrap_err();
        kinds.push(error.is_conflict());
    }
    assert!(kinds.contains(&true), "{kinds:?}");
    assert_eq!(load::<OrderV1, _>(&store, 1).await.unwrap().paid_euro, 1);
    let events = store
        .read_all(order.identity().stream_id(), 0, 10)
        .await
        .unwrap();
    assert_eq!(events.len(), 2);
}

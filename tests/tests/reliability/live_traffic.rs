//! A run under live traffic: every event is there exactly once, and every
//! state is that of a sequential model.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use state_migration::{
    Appended, ErrorKind, EventStore, ExpectedSequence, MIGRATED, MemoryStore, MigrationRunner,
    NewEvent, NotDurable, Process, RunState, SnapshotStore, StreamId, Workflow, WorkflowId,
};
use state_migration_tests::faulty::Faulty;
use state_migration_tests::lost_answers::{Lossy, Pages};
use state_migration_tests::orders::{
    OrderEvent, OrderV1, OrderV1ToV2Migration, OrderV2, folded, history, identity, load,
    order_v1_to_v2, place,
};
use state_migration_tests::stores::OnDisk;

const ORDERS: u64 = 600;
const WRITERS: u64 = 4;

/// What the writers saw.
#[derive(Default)]
struct Seen {
    /// Events appended, by order.
    appended: Vec<AtomicU64>,
    /// Appends under v1 that went through.
    before: AtomicUsize,
    /// Appends that found that somebody was faster.
    conflicts: AtomicUsize,
    /// Appends under v1 that were refused, since the order had moved.
    refused: AtomicUsize,
}

async fn pay<W, S>(store: &S, n: u64) -> Result<(), ErrorKind>
where
    W: Workflow<Event = OrderEvent>,
    W::State: serde::de::DeserializeOwned,
    S: EventStore + SnapshotStore + Clone + 'static,
{
    let order = Process::<W>::open(identity::<W>(n), store.clone(), store.clone()).await;
    let mut order = order.map_err(|error| error.kind().clone())?;
    // The migration may land here.
    tokio::task::yield_now().await;
    let appended = order.append(&[OrderEvent::Paid { euro: 1 }]).await;
    appended.map_err(|error| error.kind().clone())
}

/// Pays one euro at a time under v1, until the order has moved; then once under v2.
async fn write(
    store: impl EventStore + SnapshotStore + Clone + 'static,
    seen: Arc<Seen>,
    writer: u64,
) {
    let mut left: Vec<u64> = (0..ORDERS).filter(|n| n % WRITERS == writer).collect();
    while !left.is_empty() {
        let mut staying = Vec::new();
        for n in left {
            match pay::<OrderV1, _>(&store, n).await {
                Ok(()) => {
                    seen.before.fetch_add(1, Ordering::SeqCst);
                    seen.appended[n as usize].fetch_add(1, Ordering::SeqCst);
                    staying.push(n);
                }
                Err(ErrorKind::Conflict) => {
                    seen.conflicts.fetch_add(1, Ordering::SeqCst);
                    staying.push(n);
                }
                Err(ErrorKind::Migrated { .. }) => {
                    seen.refused.fetch_add(1, Ordering::SeqCst);
                    pay::<OrderV2, _>(&store, n).await.unwrap();
                    seen.appended[n as usize].fetch_add(1, Ordering::SeqCst);
                }
                Err(other) => panic!("order {n}: {other:?}"),
            }
        }
        left = staying;
    }
}

async fn nothing_is_lost(store: impl EventStore + SnapshotStore + Clone + 'static) {
    for n in 0..ORDERS {
        place(&store, &store, n).await.unwrap();
    }
    let seen = Arc::new(Seen {
        appended: (0..ORDERS).map(|_| AtomicU64::new(0)).collect(),
        ..Seen::default()
    });
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| tokio::spawn(write(store.clone(), seen.clone(), writer)))
        .collect();
    // The run begins when every order has been written to about once.
    while seen.before.load(Ordering::SeqCst) < ORDERS as usize {
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    let runner = MigrationRunner::new(OrderV1ToV2Migration, store.clone(), store.clone());
    let mut migrated = 0;
    // An order that is busy in one run is there for the next.
    while migrated < ORDERS as usize {
        let report = runner.run().await;
        migrated += report.migrated;
        for error in &report.errors {
            assert!(error.message.contains("busy"), "{report}");
        }
    }
    for writer in writers {
        writer.await.unwrap();
    }
    assert_eq!(migrated, ORDERS as usize);
    assert_eq!(seen.refused.load(Ordering::SeqCst), ORDERS as usize);
    assert!(seen.before.load(Ordering::SeqCst) >= ORDERS as usize);
    for n in 0..ORDERS {
        let appended = seen.appended[n as usize].load(Ordering::SeqCst);
        let stream = identity::<OrderV1>(n).stream_id().clone();
        let events = store.read_all(&stream, 0, 100_000).await.unwrap();
        let written = history(n).len() as u64;
        assert_eq!(events.len() as u64, written + appended + 1, "order {n}");
        let migrations = events.iter().filter(|event| event.event_type == MIGRATED);
        assert_eq!(migrations.count(), 1, "order {n}");
        let mut expected = order_v1_to_v2(folded::<OrderV1>(n));
        expected.open_cents -= i64::try_from(appended).unwrap() * 100;
        assert_eq!(
            load::<OrderV2, _>(&store, n).await.unwrap(),
            expected,
            "order {n}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_under_live_traffic_in_memory() {
    nothing_is_lost(MemoryStore::new()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_under_live_traffic_on_disk() {
    let disk = OnDisk::new().await.unwrap();
    nothing_is_lost(disk.clone()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_under_live_traffic_where_the_event_comes_first() {
    nothing_is_lost(Faulty::over(MemoryStore::new())).await;
}

/// Runs once over a store with orders; returns the chunks of the run. A write in
/// `in_progress` stays pending during the run, while other writers append in a loop.
async fn run_beside(
    store: impl EventStore + SnapshotStore + Clone + 'static,
    in_progress: Option<NotDurable<Appended>>,
    yields: bool,
) -> Arc<Pages> {
    for n in 0..ORDERS {
        place(&store, &store, n).await.unwrap();
    }
    let over = Arc::new(AtomicBool::new(in_progress.is_none()));
    let writer = tokio::spawn({
        let (store, over) = (store.clone(), over.clone());
        async move {
            let mut n = ORDERS;
            while !over.load(Ordering::SeqCst) {
                n += 1;
                let new = identity::<OrderV2>(n);
                let order = Process::<OrderV2>::open(new, store.clone(), store.clone()).await;
                let placed = [OrderEvent::Placed { euro: 1 }];
                order.unwrap().append(&placed).await.unwrap();
            }
        }
    });
    let watched = Lossy::over(store).unwrap();
    let runner = MigrationRunner::new(OrderV1ToV2Migration, watched.clone(), watched.clone());
    let runner = runner.yield_to_writers(yields);
    let report = runner.run().await;
    over.store(true, Ordering::SeqCst);
    writer.await.unwrap();
    assert_eq!(report.state, Some(RunState::Done), "{report}");
    assert_eq!(report.migrated, ORDERS as usize);
    drop(in_progress);
    watched.pages
}

/// What it takes to begin a write that never becomes durable.
fn something() -> (StreamId, ExpectedSequence, Vec<NewEvent>) {
    let stream = StreamId::new("something").unwrap();
    let version = WorkflowId::new("other", "v1");
    let event = NewEvent::new(version, "Something", 1, "{}").unwrap();
    (stream, ExpectedSequence::NoStream, vec![event])
}

/// How many processes are in the first page of a range, as long as it is not known
/// how large they are.
const FIRST_PAGE: usize = 64;

fn gave_way(pages: &Pages) {
    let sizes = pages.sizes();
    assert!(sizes[0] <= FIRST_PAGE / 4, "{sizes:?}");
    assert!(sizes.iter().all(|size| *size <= 128), "{sizes:?}");
    assert_eq!(pages.most_calls(), 1);
}

fn did_not(pages: &Pages) {
    let sizes = pages.sizes();
    assert_eq!(sizes[0], FIRST_PAGE, "{sizes:?}");
}

/// Takes out: the limit or the semaphore of `Backpressure`, and pages are large, or several
/// are read or committed at a time.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_gives_way_to_writers_that_never_stop_and_ends_in_memory() {
    let store = MemoryStore::new();
    let (stream, none, events) = something();
    let write = store.append_unflushed(&stream, none, events).await.unwrap();
    let pages = run_beside(store, Some(write), true).await;
    gave_way(&pages);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_gives_way_to_writers_that_never_stop_and_ends_on_disk() {
    let disk = OnDisk::new().await.unwrap();
    let (stream, none, events) = something();
    let write = disk.append_unflushed(&stream, none, events).await.unwrap();
    let pages = run_beside(disk.clone(), Some(write), true).await;
    gave_way(&pages);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_told_to_gives_no_way() {
    let store = MemoryStore::new();
    let (stream, none, events) = something();
    let write = store.append_unflushed(&stream, none, events).await.unwrap();
    let pages = run_beside(store, Some(write), false).await;
    did_not(&pages);
}

/// Also right after all was written.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_in_a_quiet_store_takes_large_pages() {
    let pages = run_beside(MemoryStore::new(), None, true).await;
    did_not(&pages);
    let disk = OnDisk::new().await.unwrap();
    let pages = run_beside(disk.clone(), None, true).await;
    did_not(&pages);
}

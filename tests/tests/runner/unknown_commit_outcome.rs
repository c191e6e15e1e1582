//! Writes whose answers are lost, before or after they have happened, and workers
//! that stop as they write.

use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fastrand::Rng;
use state_migration::{
    Batch, EventStore, MIGRATED, MemoryStore, MigrationRegistry, MigrationReport, MigrationRunner,
    Process, ProcessRegistry, RunState, Runs, SkippedBy, SnapshotStore,
};
use state_migration_tests::lost_answers::Lossy;
use state_migration_tests::orders::{
    OrderEvent, OrderV1, OrderV1ToV2Migration, OrderV2ToV3Migration, OrderV3, identity, load,
    place, register,
};
use state_migration_tests::scripted_workflow::{self, JobEvent, Upgrade};
use state_migration_tests::stores::OnDisk;

const ORDERS: u64 = 200;

fn linked() -> MigrationRegistry {
    MigrationRegistry::builder()
        .with(OrderV1ToV2Migration)
        .with(OrderV2ToV3Migration)
        .build()
        .unwrap()
}

// To see it fail: take every unknown outcome in `RunLog::commit` for a conflict
// (counts are wrong), or for a success (processes stay behind); or return what a
// flush says the first time in `RunLog::flush` (the run is broken off).
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

const JOBS: u64 = 200;

/// Runs `work` in virtual time, which advances at once while no task can run.
fn in_virtual_time<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        // Threads of user code need real time to finish.
        .on_thread_park(|| std::thread::sleep(Duration::from_micros(200)))
        .build()
        .unwrap()
        .block_on(work)
}

async fn filled() -> MemoryStore {
    let store = MemoryStore::new();
    for n in 0..JOBS {
        scripted_workflow::put(&store, n).await.unwrap();
    }
    store
}

/// A run over a store whose workers stop as they commit.
async fn run_with(
    store: &MemoryStore,
    stops: impl Fn(&Batch) -> (Duration, Duration) + Send + Sync + 'static,
    lost: u64,
) -> MigrationReport {
    let lossy = Lossy::over(store.clone()).unwrap().stopping(stops);
    lossy.losses.every.store(lost, Ordering::SeqCst);
    MigrationRunner::new(Upgrade::new(), lossy.clone(), lossy)
        .chunk_processes(8)
        .deadline(Duration::from_secs(1_000 * 3_600))
        .yield_to_writers(false)
        .run()
        .await
}

/// Each job moved once, with all that was appended before, and was counted once.
async fn all_moved_once(store: &MemoryStore, report: &MigrationReport) {
    assert_eq!(report.state, Some(RunState::Done), "{report}");
    assert_eq!(report.migrated as u64, JOBS, "{report}");
    assert_eq!(report.skipped, 0, "{report}");
    let runs = Runs::of(store).unwrap();
    let counts = runs.counts(report.run.unwrap()).await.unwrap();
    assert_eq!((counts.migrated, counts.failed), (JOBS, 0));
    assert_eq!(counts.skipped_by, SkippedBy::default());
    for n in 0..JOBS {
        let events = store
            .read_all(&scripted_workflow::stream(n), 0, 100)
            .await
            .unwrap();
        let migrations = events.iter().filter(|e| e.event_type == MIGRATED).count();
        assert_eq!(migrations, 1, "job {n}");
    }
}

/// How often ranges of a run changed hands.
async fn taken_over(store: &MemoryStore) -> u64 {
    let store = store.transactional().unwrap();
    let rows = store.rows(b"g", None, 1_000).await.unwrap();
    let token = |row: &[u8]| {
        let row: serde_json::Value = serde_json::from_slice(&row[1..]).unwrap();
        row["token"].as_u64().unwrap()
    };
    rows.iter().map(|(_, row)| token(row) - 1).sum()
}

const HOUR: Duration = Duration::from_secs(3_600);

/// To see it fail: let `RunLog::take_over` leave the token as it is, or let a
/// commit expect nothing of the row of its range.
#[test]
fn a_range_whose_worker_stops_is_taken_over_and_the_worker_wakes_too_late() {
    for stops_after in [false, true] {
        in_virtual_time(async move {
            let store = filled().await;
            let moves = Arc::new(AtomicU64::new(0));
            let stops = move |batch: &Batch| {
                let is_it = !batch.moves.is_empty() && moves.fetch_add(1, Ordering::SeqCst) == 3;
                match (is_it, stops_after) {
                    (false, _) => (Duration::ZERO, Duration::ZERO),
                    (true, false) => (HOUR, Duration::ZERO),
                    (true, true) => (Duration::ZERO, HOUR),
                }
            };
            let report = run_with(&store, stops, 0).await;
            all_moved_once(&store, &report).await;
            assert_eq!(taken_over(&store).await, 1);
        });
    }
}

/// Workers stop all the time, for longer than their leases or not, before or
/// after they have committed, some of whose answers are lost; while others append.
#[test]
fn whenever_workers_stop_each_process_moves_once() {
    let mut taken = 0;
    for seed in 0..60 {
        taken += in_virtual_time(async move {
            let store = filled().await;
            let rng = Mutex::new(Rng::with_seed(seed));
            let stops = move |_: &Batch| {
                let mut rng = rng.lock().unwrap();
                let mut stop = || match rng.u32(0..8) {
                    0 => Duration::from_secs(rng.u64(1..1_000)),
                    _ => Duration::ZERO,
                };
                (stop(), stop())
            };
            let over = Arc::new(AtomicBool::new(false));
            let writer = tokio::spawn({
                let (store, over) = (store.clone(), over.clone());
                async move {
                    let mut rng = Rng::with_seed(seed);
                    let mut appended = 0_u64;
                    while !over.load(Ordering::SeqCst) {
                        let stream = scripted_workflow::stream(rng.u64(0..JOBS));
                        let head = store.head(&stream).await.unwrap().unwrap();
                        let version = match head.workflow_id.version() {
                            "v1" => "v1",
                            _ => "v2",
                        };
                        let step = scripted_workflow::event(version, &JobEvent::Step).unwrap();
                        match scripted_workflow::append(&store, &stream, vec![step]).await {
                            Ok(()) => appended += 1,
                            Err(error) => assert!(error.is_conflict(), "{error}"),
                        }
                        tokio::time::sleep(Duration::from_secs(rng.u64(1..60))).await;
                    }
                    appended
                }
            });
            let report = run_with(&store, stops, 7).await;
            over.store(true, Ordering::SeqCst);
            let appended = writer.await.unwrap();
            all_moved_once(&store, &report).await;
            let mut events = 0;
            for n in 0..JOBS {
                let all = store
                    .read_all(&scripted_workflow::stream(n), 0, 1_000)
                    .await
                    .unwrap();
                events += all.len() as u64;
            }
            assert_eq!(events, JOBS * 3 + appended);
            taken_over(&store).await
        });
    }
    assert!(taken > 20, "{taken} ranges were taken over");
}

/// The test fails if the claim alone tells whether a run has released the store.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_whose_release_was_not_answered_is_done_although_another_run_has_claimed_the_store() {
    let store = MemoryStore::new();
    for n in 0..5 {
        scripted_workflow::put(&store, n).await.unwrap();
    }
    let releases = |batch: &Batch| {
        let mut rows = batch.rows.iter();
        rows.any(|row| {
            row.key == b"c"
                && row
                    .value
                    .as_deref()
                    .is_some_and(|row| row.ends_with(b"null}"))
        })
    };
    let lossy = Lossy::over(store.clone()).unwrap();
    // Once, and the other run begins before the first one looks.
    let is_over = Arc::new(AtomicBool::new(false));
    let lost = AtomicBool::new(false);
    let lossy = lossy
        .losing(move |batch| releases(batch) && !lost.swap(true, Ordering::SeqCst))
        .stopping(move |batch| match releases(batch) {
            true => (Duration::ZERO, Duration::from_millis(500)),
            false => (Duration::ZERO, Duration::ZERO),
        });
    let runs = Runs::of(&store).unwrap();
    let other = tokio::spawn({
        let (store, is_over, runs) = (store.clone(), is_over.clone(), runs.clone());
        async move {
            while runs
                .list()
                .await
                .unwrap()
                .first()
                .is_none_or(|run| !run.state.is_done())
            {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            scripted_workflow::put(&store, 9).await.unwrap();
            // The other run claims the store until the first one has ended.
            let waits = Upgrade::with(move |_| {
                while !is_over.load(Ordering::SeqCst) {
                    std::thread::sleep(Duration::from_millis(1));
                }
                Ok(())
            });
            waits.runner(&store).run().await
        }
    });
    let report = MigrationRunner::new(Upgrade::new(), lossy.clone(), lossy)
        .run()
        .await;
    assert_eq!((report.migrated, report.error_count), (5, 0), "{report}");
    assert_eq!(report.state, Some(RunState::Done), "{report}");
    assert!(
        runs.claimed_by().await.unwrap().is_some(),
        "the other run has ended"
    );
    is_over.store(true, Ordering::SeqCst);
    let other = other.await.unwrap();
    assert_eq!(
        (other.migrated, other.state),
        (1, Some(RunState::Done)),
        "{other}"
    );
    let states = runs.list().await.unwrap();
    assert!(states.iter().all(|run| run.state == RunState::Done));
}

//! Runs in one program: one whose future was dropped, and one that is paused
//! when another takes its store.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use state_migration::{
    ConversionError, Decoder, EventStore, MemoryStore, MigrationReport, MigrationRunner,
    ProcessRegistry, RunControl, RunId, RunState, Runs, SnapshotStore, StateMigration, WorkflowId,
};
use state_migration_tests::orders::{
    OrderV1, OrderV1ToV2Migration, OrderV2, StateV1, StateV2, folded, load, order_v1_to_v2, place,
    register,
};
use state_migration_tests::stores::{OnDisk, Rows, differences};

const ORDERS: u64 = 60;
const SHORT: Duration = Duration::from_millis(2);

trait Store: EventStore + SnapshotStore + ProcessRegistry + Rows + Clone + 'static {}
impl<S: EventStore + SnapshotStore + ProcessRegistry + Rows + Clone + 'static> Store for S {}

fn runner<S: Store>(store: &S) -> MigrationRunner<OrderV1ToV2Migration, S, S> {
    MigrationRunner::new(OrderV1ToV2Migration, store.clone(), store.clone()).chunk_processes(4)
}

async fn fill<S: Store>(store: &S) {
    for n in 0..ORDERS {
        place(store, store, n).await.unwrap();
        register(store, n).await.unwrap();
    }
}

async fn all_are_migrated<S: Store>(store: &S) {
    for n in 0..ORDERS {
        let state = load::<OrderV2, _>(store, n).await.unwrap();
        assert_eq!(state, order_v1_to_v2(folded::<OrderV1>(n)), "order {n}");
    }
}

/// Starts a run and drops its future half-way.
async fn dropped<S: Store>(store: &S) -> RunId {
    let runner = runner(store);
    let control = runner.control();
    control.throttle(NonZeroU32::new(100));
    let run = tokio::spawn(async move { runner.run().await });
    while control.progress().counts.migrated < ORDERS / 4 {
        tokio::time::sleep(SHORT).await;
    }
    run.abort();
    assert!(run.await.unwrap_err().is_cancelled());
    let runs = Runs::of(store).unwrap();
    let run = control.progress().run.unwrap();
    assert_eq!(runs.claimed_by().await.unwrap(), Some(run));
    let record = runs.get(run).await.unwrap().unwrap();
    assert_eq!(record.state, RunState::Running);
    run
}

/// Runs once the workers of a dropped run are gone: they end a moment later,
/// each at its next step, and until then the run is not over.
async fn when_free(run: impl AsyncFn() -> MigrationReport) -> MigrationReport {
    for _ in 0..2_000 {
        let report = run().await;
        if !report.to_string().contains("claims the store") {
            return report;
        }
        tokio::time::sleep(SHORT).await;
    }
    panic!("a run that was dropped still claims the store");
}

fn well(report: &MigrationReport) -> u64 {
    assert!(report.is_ok(), "{report}");
    assert_eq!(report.state, Some(RunState::Done), "{report}");
    report.migrated as u64
}

async fn a_dropped_run_is_resumed(store: &impl Store) {
    fill(store).await;
    let run = dropped(store).await;
    let report = when_free(async || runner(store).resume(run).await).await;
    assert_eq!(well(&report), ORDERS);
    all_are_migrated(store).await;
    let runs = Runs::of(store).unwrap();
    assert_eq!(runs.claimed_by().await.unwrap(), None);
    assert_eq!(runs.counts(run).await.unwrap().migrated, ORDERS);
}

async fn the_next_run_continues(store: &impl Store) {
    fill(store).await;
    let first = dropped(store).await;
    let report = when_free(async || runner(store).run().await).await;
    let by_second = well(&report);
    assert!(by_second > 0, "{report}");
    all_are_migrated(store).await;
    let runs = Runs::of(store).unwrap();
    let list = runs.list().await.unwrap();
    let [one, two] = list.as_slice() else {
        panic!("{list:?}");
    };
    assert_eq!((one.id, one.state), (first, RunState::Running));
    assert_eq!(two.took_over, Some(first));

    // The first one finds that nothing is left, and says what it did itself.
    let rows = store.rows().await.unwrap();
    let by_first = well(&runner(store).resume(first).await);
    assert_eq!(by_first + by_second, ORDERS);
    assert_eq!(differences(&rows, &store.rows().await.unwrap()), [""; 0]);
}

/// To see it fail: keep an execution in the set of live ones when its future
/// is dropped (the next run is refused).
#[tokio::test(flavor = "multi_thread")]
async fn a_run_whose_future_was_dropped_releases_the_store() {
    a_dropped_run_is_resumed(&MemoryStore::new()).await;
    a_dropped_run_is_resumed(&*OnDisk::new().await.unwrap()).await;
    the_next_run_continues(&MemoryStore::new()).await;
    the_next_run_continues(&*OnDisk::new().await.unwrap()).await;
}

/// Never converts order 7, and says when it was asked to.
struct Stuck {
    asked: Arc<AtomicBool>,
}

static V1: WorkflowId = WorkflowId::from_static("order", "v1");
static V2: WorkflowId = WorkflowId::from_static("order", "v2");

impl StateMigration for Stuck {
    type FromWorkflow = OrderV1;
    type ToWorkflow = OrderV2;

    fn source_workflow_id(&self) -> &WorkflowId {
        &V1
    }

    fn target_workflow_id(&self) -> &WorkflowId {
        &V2
    }

    fn migrate(&self, old: StateV1) -> Result<StateV2, ConversionError> {
        if old.euro == 8 {
            self.asked.store(true, Ordering::SeqCst);
            loop {
                std::thread::park();
            }
        }
        Ok(order_v1_to_v2(old))
    }

    fn decoder(&self) -> Option<Decoder> {
        Some(Decoder::for_state::<StateV2>())
    }
}

/// To see it fail: give the thread of the code a handle on the run's record.
#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_run_whose_code_never_returns_releases_the_store() {
    let store = MemoryStore::new();
    fill(&store).await;
    let asked = Arc::new(AtomicBool::new(false));
    let stuck = Stuck {
        asked: asked.clone(),
    };
    let stuck = MigrationRunner::new(stuck, store.clone(), store.clone());
    let run = tokio::spawn(async move { stuck.run().await });
    while !asked.load(Ordering::SeqCst) {
        tokio::time::sleep(SHORT).await;
    }
    run.abort();
    assert!(run.await.unwrap_err().is_cancelled());
    well(&when_free(async || runner(&store).run().await).await);
    all_are_migrated(&store).await;
}

/// Starts a run, and pauses it half-way.
async fn paused<S: Store>(store: &S) -> (RunControl, tokio::task::JoinHandle<MigrationReport>) {
    let runner = runner(store);
    let control = runner.control();
    control.throttle(NonZeroU32::new(100));
    let run = tokio::spawn(async move { runner.run().await });
    while control.progress().counts.migrated < ORDERS / 4 {
        tokio::time::sleep(SHORT).await;
    }
    control.pause();
    let runs = Runs::of(store).unwrap();
    let id = control.progress().run.unwrap();
    while runs.get(id).await.unwrap().unwrap().state != RunState::Paused {
        tokio::time::sleep(SHORT).await;
    }
    control.throttle(None);
    (control, run)
}

/// All rows, once a worker that was in the middle of a chunk is through.
async fn settled(store: &impl Store) -> Vec<(Bytes, Bytes)> {
    let mut before = store.all_rows().await.unwrap();
    loop {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let now = store.all_rows().await.unwrap();
        if now == before {
            return now;
        }
        before = now;
    }
}

/// `ends` says whether the second run has ended before the first run is unpaused.
async fn taken_over(store: &impl Store, ends: bool) {
    fill(store).await;
    let (control, first) = paused(store).await;
    let id = control.progress().run.unwrap();

    let refused = runner(store).run().await;
    assert!(!refused.is_ok());
    let held = format!("run {id} claims the store");
    assert!(refused.to_string().contains(&held), "{refused}");

    let second = runner(store).take_over(true);
    let second_control = second.control();
    if !ends {
        second_control.throttle(NonZeroU32::new(50));
    }
    let second = tokio::spawn(async move { second.run().await });
    let by = loop {
        match Runs::of(store).unwrap().claimed_by().await.unwrap() {
            Some(run) if run != id => break run,
            _ if second.is_finished() => break second_control.progress().run.unwrap(),
            _ => tokio::time::sleep(SHORT).await,
        }
    };
    if !ends {
        second_control.pause();
    }
    while second_control.progress().state != RunState::Paused && !second.is_finished() {
        tokio::time::sleep(SHORT).await;
    }
    let rows = settled(store).await;
    control.unpause();
    let report = first.await.unwrap();
    assert!(!report.is_ok(), "{report}");
    let lost = format!("run {by} took over the store from run {id}");
    assert!(report.to_string().contains(&lost), "{report}");
    let after = store.all_rows().await.unwrap();
    assert_eq!(differences(&rows, &after), [""; 0]);

    assert_eq!(second.is_finished(), ends);
    second_control.throttle(None);
    second_control.unpause();
    let by_second = well(&second.await.unwrap());
    assert_eq!(report.migrated as u64 + by_second, ORDERS);
    all_are_migrated(store).await;
}

/// The test fails if a chunk does not check the claim: the first run then continues.
#[tokio::test(flavor = "multi_thread")]
async fn a_paused_run_whose_store_was_taken_over_writes_nothing_more() {
    for ends in [true, false] {
        taken_over(&MemoryStore::new(), ends).await;
        taken_over(&*OnDisk::new().await.unwrap(), ends).await;
    }
}

//! A process that is migrated as it is opened, beside a run and without one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use slatedb::object_store::memory::InMemory;
use slatedb::object_store::throttle::{ThrottleConfig, ThrottledStore};
use state_migration::{
    ConversionError, Decoder, Error, ErrorKind, EventStore, FailureClass, MIGRATED, MemoryStore,
    MigrationRegistry, MigrationRunner, Process, ProcessId, ProcessIdentity, ProcessRegistry,
    RunKind, RunState, Runs, Selection, SlateDbStore, SnapshotStore, StateMigration, TenantId,
    Workflow, WorkflowId,
};
use state_migration_tests::faulty::Faulty;
use state_migration_tests::orders::{
    OrderEvent, OrderV1, OrderV1ToV2Migration, OrderV2, OrderV2ToV3Migration, OrderV3, StateV1,
    StateV2, id, identity, load, order_v1_to_v2, place, register,
};
use state_migration_tests::scripted_workflow::{
    self, JobEvent, JobV2, Store, Upgrade, append, at_v2, event, put, version,
};
use state_migration_tests::stores::OnDisk;
use tokio::task::JoinSet;

fn linked() -> MigrationRegistry {
    MigrationRegistry::builder()
        .with(OrderV1ToV2Migration)
        .with(OrderV2ToV3Migration)
        .build()
        .unwrap()
}

fn stream(n: u64) -> state_migration::StreamId {
    identity::<OrderV1>(n).stream_id().clone()
}

async fn migrations_of(store: &impl EventStore, n: u64) -> usize {
    let events = store.read_all(&stream(n), 0, 1_000).await.unwrap();
    events.iter().filter(|e| e.event_type == MIGRATED).count()
}

async fn stands_at(store: &impl EventStore, n: u64) -> String {
    let head = store.head(&stream(n)).await.unwrap().unwrap();
    head.workflow_id.version().to_owned()
}

// To see it fail: let `MigrationRunner::open` convert and not commit.
async fn states_are_those_of_a_run<S>(eager: S, lazy: S)
where
    S: EventStore + SnapshotStore + ProcessRegistry + Clone + 'static,
{
    for n in 0..20 {
        for store in [&eager, &lazy] {
            place(store, store, n).await.unwrap();
            register(store, n).await.unwrap();
        }
    }
    let report = MigrationRunner::new(linked(), eager.clone(), eager.clone())
        .run()
        .await;
    assert_eq!((report.migrated, report.error_count), (20, 0), "{report}");
    let opener = MigrationRunner::new(linked(), lazy.clone(), lazy.clone())
        .actor("the service")
        .reason("as they come");
    for n in 0..20 {
        let opened = opener
            .open::<OrderV3>(identity::<OrderV3>(n))
            .await
            .unwrap();
        let migrated = load::<OrderV3, _>(&eager, n).await.unwrap();
        assert_eq!(*opened.state(), migrated, "order {n}");
        // Again, which finds nothing to do, and by a program that knows nothing of migrations.
        opener
            .open::<OrderV3>(identity::<OrderV3>(n))
            .await
            .unwrap();
        assert_eq!(load::<OrderV3, _>(&lazy, n).await.unwrap(), migrated);
        assert_eq!(migrations_of(&lazy, n).await, 1, "order {n}");
        let (tenant, process) = (
            identity::<OrderV1>(n).tenant_id().clone(),
            identity::<OrderV1>(n).process_id().clone(),
        );
        let keys = lazy.keys_of(&tenant, &process).await.unwrap();
        assert!(!keys.is_empty());
        for key in keys {
            let entry = lazy.lookup(&tenant, &key).await.unwrap().unwrap();
            assert_eq!(entry.workflow_id, WorkflowId::of::<OrderV3>(), "{key}");
        }
    }
    // The process accepts an event, and a run finds no outdated process.
    let mut order = opener
        .open::<OrderV3>(identity::<OrderV3>(3))
        .await
        .unwrap();
    order.append(&[OrderEvent::Closed]).await.unwrap();
    let report = MigrationRunner::new(linked(), lazy.clone(), lazy.clone())
        .run()
        .await;
    assert_eq!((report.migrated, report.error_count), (0, 0), "{report}");
    // All of it is one run of its own kind.
    let runs = Runs::of(&lazy).unwrap();
    let history = runs.list().await.unwrap();
    let own: Vec<_> = history.iter().filter(|r| r.kind == RunKind::Lazy).collect();
    assert_eq!(
        (own.len(), own[0].actor.as_str(), own[0].reason.as_str()),
        (1, "the service", "as they come")
    );
    let counts = runs.counts(own[0].id).await.unwrap();
    assert_eq!((counts.migrated, counts.lazy, counts.failed), (20, 20, 0));
    assert!(runs.claimed_by().await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_migrated_as_they_are_opened_have_the_states_of_a_run_in_memory() {
    states_are_those_of_a_run(MemoryStore::new(), MemoryStore::new()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_migrated_as_they_are_opened_have_the_states_of_a_run_on_disk() {
    let (eager, lazy) = (OnDisk::new().await.unwrap(), OnDisk::new().await.unwrap());
    states_are_those_of_a_run((*eager).clone(), (*lazy).clone()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_in_separate_stores_is_migrated_as_it_is_opened() {
    let memory = MemoryStore::new();
    for n in 0..5 {
        place(&memory, &memory, n).await.unwrap();
    }
    let handle = || Arc::new(Faulty::over(memory.clone()));
    let opener = MigrationRunner::new(linked(), handle(), handle());
    for n in 0..5 {
        let state = opener
            .open::<OrderV3>(identity::<OrderV3>(n))
            .await
            .unwrap();
        assert_eq!(
            *state.state(),
            load::<OrderV3, _>(&memory, n).await.unwrap()
        );
        assert_eq!(migrations_of(&memory, n).await, 1);
    }
}

static V1: WorkflowId = WorkflowId::of::<OrderV1>();
static V2: WorkflowId = WorkflowId::of::<OrderV2>();

/// Refuses while it is told to.
#[derive(Clone, Default)]
struct Picky {
    refuses: Arc<AtomicBool>,
    calls: Arc<AtomicUsize>,
}

impl StateMigration for Picky {
    type FromWorkflow = OrderV1;
    type ToWorkflow = OrderV2;
    fn source_workflow_id(&self) -> &WorkflowId {
        &V1
    }
    fn target_workflow_id(&self) -> &WorkflowId {
        &V2
    }
    fn migrate(&self, state: StateV1) -> Result<StateV2, ConversionError> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        if self.refuses.load(Ordering::SeqCst) {
            return Err("not today".into());
        }
        Ok(order_v1_to_v2(state))
    }
    fn decoder(&self) -> Option<Decoder> {
        Some(Decoder::for_state::<StateV2>())
    }
}

// To see it fail: let a failing lazy migration write its event all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_cannot_be_migrated_as_it_is_opened_stays_usable_and_can_be_retried() {
    {
        let store = MemoryStore::new();
        place(&store, &store, 1).await.unwrap();
        let picky = Picky::default();
        picky.refuses.store(true, Ordering::SeqCst);
        let opener = MigrationRunner::new(picky.clone(), store.clone(), store.clone());
        for _ in 0..2 {
            let error = opener
                .open::<OrderV2>(identity::<OrderV2>(1))
                .await
                .unwrap_err();
            assert_eq!(*error.kind(), ErrorKind::Workflow);
            let text = error.to_string();
            assert!(text.starts_with("process/shop/000001 could not be migrated when it was opened; the process is unchanged"), "{text}");
            assert!(text.contains("not today"), "{text}");
        }
        // The old version accepts further events.
        let mut old =
            Process::<OrderV1>::open(identity::<OrderV1>(1), store.clone(), store.clone())
                .await
                .unwrap();
        old.append(&[OrderEvent::Closed]).await.unwrap();
        let runs = Runs::of(&store).unwrap();
        let [run] = &runs.list().await.unwrap()[..] else {
            panic!("one run")
        };
        let failures = runs.failures(run.id, None, None, 10).await.unwrap();
        assert_eq!(failures.len(), 1);
        assert_eq!(
            (failures[0].error.class, failures[0].attempt),
            (FailureClass::Refused, 2)
        );
        assert_eq!(runs.counts(run.id).await.unwrap().failed, 1);
        // Retried by a run of its own, with code that is right.
        picky.refuses.store(false, Ordering::SeqCst);
        let report = opener.retry(run.id, &[]).await;
        assert_eq!((report.migrated, report.error_count), (1, 0), "{report}");
        assert_eq!(stands_at(&store, 1).await, "v2");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_the_run_in_progress_does_not_select_is_skipped() {
    let store = MemoryStore::new();
    for n in 0..30 {
        place(&store, &store, n).await.unwrap();
    }
    // A run for two orders, which waits.
    let selected = Selection::all().streams([stream(1), stream(2)]);
    let eager =
        MigrationRunner::new(OrderV1ToV2Migration, store.clone(), store.clone()).select(selected);
    let control = eager.control();
    control.pause();
    let waiting = tokio::spawn(async move { eager.run().await });
    let runs = Runs::of(&store).unwrap();
    while runs.claimed_by().await.unwrap().is_none() {
        tokio::task::yield_now().await;
    }
    let holder = runs.claimed_by().await.unwrap().unwrap();
    let opener = MigrationRunner::new(OrderV1ToV2Migration, store.clone(), store.clone());
    let error = opener
        .open::<OrderV2>(identity::<OrderV2>(5))
        .await
        .unwrap_err();
    assert!(
        matches!(error.kind(), ErrorKind::WrongVersion { .. }),
        "{error}"
    );
    assert_eq!(stands_at(&store, 5).await, "v1");
    opener
        .open::<OrderV2>(identity::<OrderV2>(2))
        .await
        .unwrap();
    let events = store.read_all(&stream(2), 0, 1_000).await.unwrap();
    let event = events.iter().find(|e| e.event_type == MIGRATED).unwrap();
    let baseline = state_migration::Baseline::from_event(event).unwrap();
    assert_eq!(baseline.run, holder);
    // The report counts both, each once.
    control.unpause();
    let report = waiting.await.unwrap();
    assert_eq!(
        (report.migrated, report.lazy, report.error_count),
        (2, 1, 0),
        "{report}"
    );
    assert_eq!(runs.counts(holder).await.unwrap().migrated, 2);
    // Afterwards it is for what the opener selects.
    opener
        .open::<OrderV2>(identity::<OrderV2>(5))
        .await
        .unwrap();
    // A held process stays at its version.
    runs.hold(&stream(6), "me", "in court").await.unwrap();
    let error = opener
        .open::<OrderV2>(identity::<OrderV2>(6))
        .await
        .unwrap_err();
    assert!(
        matches!(error.kind(), ErrorKind::WrongVersion { .. }),
        "{error}"
    );
}

// To see it fail: do not ask in `LazyBook::open` whether the holder is dead.
#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_run_keeps_no_process_from_being_opened() {
    let store = MemoryStore::new();
    for n in 0..5 {
        place(&store, &store, n).await.unwrap();
    }
    let selected = Selection::all().streams([stream(1)]);
    let run =
        MigrationRunner::new(OrderV1ToV2Migration, store.clone(), store.clone()).select(selected);
    run.control().pause();
    let running = tokio::spawn(async move { run.run().await });
    let runs = Runs::of(&store).unwrap();
    while runs.claimed_by().await.unwrap().is_none() {
        tokio::task::yield_now().await;
    }
    running.abort();
    assert!(running.await.unwrap_err().is_cancelled());
    assert!(runs.claimed_by().await.unwrap().is_some(), "it is claimed");
    let opener = MigrationRunner::new(OrderV1ToV2Migration, store.clone(), store.clone());
    for n in 0..5 {
        opener
            .open::<OrderV2>(identity::<OrderV2>(n))
            .await
            .unwrap();
        assert_eq!(stands_at(&store, n).await, "v2");
    }
    let opened = runs.list().await.unwrap().pop().unwrap();
    assert_eq!(opened.kind, RunKind::Lazy);
    assert_eq!(runs.counts(opened.id).await.unwrap().migrated, 5);
}

// To see it fail: let the commit of a chunk not conflict with others.
async fn a_run_and_openers_agree<S>(store: S)
where
    S: EventStore + SnapshotStore + ProcessRegistry + Clone + 'static,
{
    const ORDERS: u64 = 300;
    for n in 0..ORDERS {
        place(&store, &store, n).await.unwrap();
    }
    let eager = MigrationRunner::new(linked(), store.clone(), store.clone()).chunk_processes(10);
    let opener = Arc::new(MigrationRunner::new(linked(), store.clone(), store.clone()));
    let run = tokio::spawn(async move { eager.run().await });
    let mut openers = Vec::new();
    for worker in 0..4 {
        let opener = opener.clone();
        openers.push(tokio::spawn(async move {
            // From the end, against the run.
            for n in (0..ORDERS).rev().filter(|n| n % 4 == worker) {
                let order = opener
                    .open::<OrderV3>(identity::<OrderV3>(n))
                    .await
                    .unwrap();
                assert_eq!(order.identity().workflow_id, WorkflowId::of::<OrderV3>());
            }
        }));
    }
    for opener in openers {
        opener.await.unwrap();
    }
    let report = run.await.unwrap();
    assert_eq!(
        (report.error_count, report.state),
        (0, Some(RunState::Done)),
        "{report}"
    );
    let runs = Runs::of(&store).unwrap();
    let mut migrated = 0;
    for run in runs.list().await.unwrap() {
        migrated += runs.counts(run.id).await.unwrap().migrated;
    }
    assert_eq!(migrated, ORDERS);
    for n in 0..ORDERS {
        assert_eq!(migrations_of(&store, n).await, 1, "order {n}");
        assert_eq!(stands_at(&store, n).await, OrderV3::VERSION);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_and_openers_at_the_same_time_agree_in_memory() {
    a_run_and_openers_agree(MemoryStore::new()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_and_openers_at_the_same_time_agree_on_disk() {
    let disk = OnDisk::new().await.unwrap();
    a_run_and_openers_agree((*disk).clone()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_newest_version_is_opened_by_migrating() {
    let store = MemoryStore::new();
    place(&store, &store, 1).await.unwrap();
    let opener = MigrationRunner::new(linked(), store.clone(), store.clone());
    // v2 is not where the route ends.
    let error = opener
        .open::<OrderV2>(identity::<OrderV2>(1))
        .await
        .unwrap_err();
    assert!(
        matches!(error.kind(), ErrorKind::WrongVersion { .. }),
        "{error}"
    );
    assert_eq!(stands_at(&store, 1).await, "v1");
    opener
        .open::<OrderV3>(identity::<OrderV3>(1))
        .await
        .unwrap();
    // The old node is fenced, and the error names the newer version.
    let error = opener
        .open::<OrderV1>(identity::<OrderV1>(1))
        .await
        .unwrap_err();
    let to = WorkflowId::of::<OrderV3>();
    assert_eq!(*error.kind(), ErrorKind::Migrated { to });
    // One that is not there yet is born at the version of its code.
    let fresh = opener
        .open::<OrderV3>(identity::<OrderV3>(99))
        .await
        .unwrap();
    assert_eq!(fresh.sequence(), 0);
}

/// A service that is started again continues the run of opened processes, so that their
/// number does not grow with each start.
#[tokio::test(flavor = "multi_thread")]
async fn each_start_continues_the_run_of_opened_processes() {
    let store = MemoryStore::new();
    for n in 0..6 {
        place(&store, &store, n).await.unwrap();
    }
    let opener = |actor: &str| {
        let opener = MigrationRunner::new(linked(), store.clone(), store.clone());
        opener.actor(actor)
    };
    let runs = Runs::of(&store).unwrap();
    let open = async |runner: &MigrationRunner<_, _, _>, n| {
        runner
            .open::<OrderV3>(identity::<OrderV3>(n))
            .await
            .unwrap();
    };
    open(&opener("a"), 0).await;
    open(&opener("a"), 1).await;
    let [run] = &runs.list().await.unwrap()[..] else {
        panic!("one run")
    };
    assert_eq!((run.executions, run.state), (1, RunState::Running));
    // The program has ended, and another one opens.
    let key = [b"ur", &run.id.as_uuid().as_bytes()[..]].concat();
    let (_, row) = store
        .dump()
        .into_iter()
        .find(|(at, _)| at[..] == key[..])
        .unwrap();
    let mut ended: serde_json::Value = serde_json::from_slice(&row[1..]).unwrap();
    ended["program"]["id"] = serde_json::json!(state_migration::RunId::random());
    ended["program"]["pid"] = serde_json::json!(4_194_304);
    let ended = serde_json::to_vec(&ended).unwrap();
    store.put_raw(key, [&[2][..], &ended].concat());
    let over = runs.get(run.id).await.unwrap().unwrap();
    assert_eq!(over.state, RunState::Done);
    open(&opener("a"), 2).await;
    let [again] = &runs.list().await.unwrap()[..] else {
        panic!("one run")
    };
    assert_eq!((again.id, again.number), (run.id, run.number));
    assert_eq!((again.executions, again.state), (2, RunState::Running));
    let executions = runs.executions(run.id).await.unwrap();
    assert_eq!(
        executions.iter().map(|it| it.number).collect::<Vec<_>>(),
        [1, 2]
    );
    assert_eq!(runs.counts(run.id).await.unwrap().lazy, 3);
    // Another actor or another plan has a run of its own.
    open(&opener("b"), 3).await;
    let other_plan = opener("a").select(Selection::all().percent(100.0));
    open(&other_plan, 4).await;
    let all = runs.list().await.unwrap();
    assert_eq!(all.len(), 3, "{all:#?}");
}

type Jobs<S> = MigrationRunner<Upgrade, S, S>;

fn job(n: u64) -> ProcessIdentity {
    let process: ProcessId = id(&format!("{n:07}"));
    ProcessIdentity::of::<JobV2>(id::<TenantId>("yard"), process)
}

/// Opens a job while a run, which waits, has claimed the store.
async fn open_beside<S: Store>(
    run: Jobs<S>,
    opener: &Jobs<S>,
    store: &S,
    n: u64,
) -> Result<(), Error> {
    let control = run.control();
    control.pause();
    let waiting = tokio::spawn(async move { run.run().await });
    let runs = Runs::of(store).unwrap();
    while runs.claimed_by().await.unwrap().is_none() {
        tokio::task::yield_now().await;
    }
    let opened = opener.open::<JobV2>(job(n)).await.map(drop);
    control.cancel();
    waiting.await.unwrap();
    opened
}

/// A small job and a large one.
const SMALL_AND_LARGE: [u64; 2] = [1, 2];

async fn put_small_and_large(store: &impl Store) {
    put(store, 1).await.unwrap();
    let fate = "x".repeat(1_000);
    let begun = event("v1", &JobEvent::Begun { n: 2, fate }).unwrap();
    let stream = scripted_workflow::stream(2);
    let events = vec![begun; 700].into_iter();
    let events = events.map(|event| event.with_event_id(state_migration::EventId::random()));
    append(store, &stream, events.collect()).await.unwrap();
}

/// Another result each time.
fn wavering() -> Upgrade {
    let times = AtomicU64::new(0);
    Upgrade::with(move |job| {
        job.steps = times.fetch_add(1, Ordering::SeqCst);
        Ok(())
    })
}

/// Fails if the checks of the run are left out in `on_open::process`.
async fn a_process_that_is_counted_in_a_run_is_checked_as_the_run_says<S: Store>(store: S) {
    put_small_and_large(&store).await;
    for n in SMALL_AND_LARGE {
        for (of_run, of_opener) in [(true, false), (false, true), (true, true)] {
            let run = Upgrade::new().runner(&store).check_determinism(of_run);
            let opener = wavering().runner(&store).check_determinism(of_opener);
            let refused = open_beside(run, &opener, &store, n).await.unwrap_err();
            let text = refused.to_string();
            assert!(text.contains("user code is non-deterministic"), "{text}");
            assert_eq!(version(&store, n).await.unwrap(), "v1");
        }
        let (run, opener) = (Upgrade::new().runner(&store), wavering().runner(&store));
        open_beside(run, &opener, &store, n).await.unwrap();
        assert_eq!(version(&store, n).await.unwrap(), "v2");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_is_counted_in_a_run_is_checked_as_the_run_says_in_memory() {
    a_process_that_is_counted_in_a_run_is_checked_as_the_run_says(MemoryStore::new()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_is_counted_in_a_run_is_checked_as_the_run_says_on_disk() {
    let disk = OnDisk::new().await.unwrap();
    a_process_that_is_counted_in_a_run_is_checked_as_the_run_says((*disk).clone()).await;
}

/// Fails if the deadline of the run is left out in `on_open::process`.
#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_is_counted_in_a_run_has_the_deadline_of_the_run() {
    let store = MemoryStore::new();
    put_small_and_large(&store).await;
    let slow = || {
        let convert = |_: &mut _| {
            std::thread::sleep(Duration::from_millis(300));
            Ok(())
        };
        Upgrade::with(convert).runner(&store)
    };
    let (short, long) = (Duration::from_millis(200), Duration::from_secs(60));
    for n in SMALL_AND_LARGE {
        for (of_run, of_opener) in [(short, long), (long, short)] {
            let run = Upgrade::new().runner(&store).deadline(of_run);
            let opener = slow().deadline(of_opener);
            let refused = open_beside(run, &opener, &store, n).await.unwrap_err();
            let text = refused.to_string();
            assert!(text.contains("the deadline of 200 ms"), "{text}");
            assert_eq!(version(&store, n).await.unwrap(), "v1");
        }
        let run = Upgrade::new().runner(&store).deadline(long);
        open_beside(run, &slow().deadline(long), &store, n)
            .await
            .unwrap();
        assert_eq!(version(&store, n).await.unwrap(), "v2");
    }
}

/// Fails if the commits of opened processes read and write a row in common, or if user
/// code runs inside a transaction.
async fn many_that_are_opened_at_once_are_migrated(store: impl Store) {
    const OPENED: u64 = 500;
    for n in 0..OPENED {
        put(&store, n).await.unwrap();
    }
    let slow = Upgrade::with(|_| {
        std::thread::sleep(Duration::from_millis(5));
        Ok(())
    });
    let runner = Arc::new(slow.runner(&store));
    let mut opened = JoinSet::new();
    for n in 0..OPENED {
        let runner = runner.clone();
        opened.spawn(async move { runner.open::<JobV2>(job(n)).await.map(drop) });
    }
    while let Some(opened) = opened.join_next().await {
        opened.unwrap().unwrap();
    }
    assert_eq!(at_v2(&store, 0..OPENED).await.unwrap().len(), 500);
    let runs = Runs::of(&store).unwrap();
    let [run] = &runs.list().await.unwrap()[..] else {
        panic!("they are opened in one run")
    };
    let counts = runs.counts(run.id).await.unwrap();
    assert_eq!((counts.migrated, counts.lazy, counts.failed), (500, 500, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn many_that_are_opened_at_once_are_migrated_in_memory() {
    many_that_are_opened_at_once_are_migrated(MemoryStore::new()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_that_are_opened_at_once_are_migrated_in_a_slow_object_store() {
    let each = Duration::from_millis(20);
    let slow = ThrottleConfig {
        wait_delete_per_call: each,
        wait_get_per_call: each,
        wait_list_per_call: each,
        wait_put_per_call: each,
        ..ThrottleConfig::default()
    };
    let files = Arc::new(ThrottledStore::new(InMemory::new(), slow));
    let store = SlateDbStore::builder("jobs", files).open().await.unwrap();
    many_that_are_opened_at_once_are_migrated(store).await;
}

/// Fails with a panic if nothing looks for the timers.
#[test]
fn a_runtime_without_timers_is_an_error() {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let without_timers = builder.build().unwrap();
    without_timers.block_on(async {
        let store = MemoryStore::new();
        put(&store, 1).await.unwrap();
        let runner = Upgrade::new().runner(&store);
        let what_to_do = "build the runtime with `enable_time` or `enable_all`";
        for report in [runner.run().await, runner.dry_run().await] {
            assert_eq!((report.migrated, report.error_count), (0, 1), "{report}");
            let message = &report.errors[0].message;
            assert!(message.contains(what_to_do), "{message}");
        }
        let error = runner.open::<JobV2>(job(1)).await.unwrap_err();
        assert!(error.to_string().contains(what_to_do), "{error}");
        assert_eq!(version(&store, 1).await.unwrap(), "v1");
    });
}

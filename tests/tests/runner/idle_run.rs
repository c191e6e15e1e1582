//! A run after a completed run: it finds nothing to do, at a cost that does not depend
//! on the number of migrated processes. A run is not reported as done before that is
//! true.

use std::sync::{Arc, Mutex, mpsc};
use std::time::Instant;

use bytes::Bytes;
use serde_json::json;
use slatedb::WriteBatch;
use state_migration::{
    ConversionError, Decoder, EventStore, ExpectedSequence, MemoryStore, MigrationReport,
    MigrationRunner, NewEvent, Process, ProcessId, ProcessIdentity, RunId, RunState, Runs,
    SlateDbStore, SnapshotStore, StateMigration, StreamId, WorkflowId,
};
use state_migration_tests::orders::{
    self, OrderEvent, OrderV1, OrderV1ToV2Migration, OrderV2, StateV1, StateV2, id, tenant,
};
use state_migration_tests::size::size;
use state_migration_tests::stores::{OnDisk, Rows, event_key, head_key, streams_at};
use tokio::sync::oneshot;

/// The row that records that v1 may have processes.
const V1_PRESENT: &[u8] = b"worder\0\x01v1\0\x01";

/// The prefix of the rows of processes that were born at v1 while a run closed it.
const BORN_AT_V1: &[u8] = b"border\0\x01v1\0\x01";

/// The number of processes of a large store.
fn many() -> u64 {
    size(20_000, 200_000)
}

/// Writes `processes` processes of one event: the first through the store, the others
/// as copies of its rows, because a transaction for each process takes minutes in an
/// unoptimized build.
async fn import(store: &SlateDbStore, processes: u64) {
    let stream = |n: u64| id::<StreamId>(&format!("process/t/{n:06}"));
    let placed = NewEvent::of::<OrderV1>(&OrderEvent::Placed { euro: 1 }).unwrap();
    let first = stream(0);
    store
        .append(&first, ExpectedSequence::NoStream, vec![placed])
        .await
        .unwrap();
    let keys_of = |stream: &StreamId| [event_key(stream, 1), head_key(stream)];
    let mut rows = Vec::new();
    for key in keys_of(&first) {
        rows.push(store.db().get(key).await.unwrap().unwrap());
    }
    let numbers: Vec<u64> = (1..processes).collect();
    for some in numbers.chunks(2_000) {
        let mut batch = WriteBatch::new();
        for n in some {
            for (key, row) in keys_of(&stream(*n)).into_iter().zip(&rows) {
                batch.put(key, row);
            }
        }
        store.db().write(batch).await.unwrap();
    }
    store.flush().await.unwrap();
}

async fn run(store: &SlateDbStore) -> MigrationReport {
    let report = MigrationRunner::new(OrderV1ToV2Migration, store.clone(), store.clone())
        .run()
        .await;
    assert!(report.is_ok(), "{report}");
    assert_eq!(report.state, Some(RunState::Done), "{report}");
    report
}

/// The number of rows that a run reads if no process is outdated.
async fn nothing(store: &SlateDbStore) -> u64 {
    let before = store.rows_read();
    assert_eq!(run(store).await.migrated, 0);
    store.rows_read() - before
}

/// The numbers of rows that idle runs read after `processes` processes were migrated:
/// the first run, the second, and two after the store was opened again. Also returns
/// the row that records that v1 may have processes.
async fn costs_after(processes: u64) -> ([u64; 4], Option<Bytes>) {
    let disk = OnDisk::new().await.unwrap();
    let began = Instant::now();
    import(&disk, processes).await;
    let imported = began.elapsed();
    let began = Instant::now();
    assert_eq!(run(&disk).await.migrated as u64, processes);
    let migrated = began.elapsed();
    let (first, second) = (nothing(&disk).await, nothing(&disk).await);
    let disk = disk.reopen().await.unwrap();
    let began = Instant::now();
    let (third, fourth) = (nothing(&disk).await, nothing(&disk).await);
    eprintln!(
        "{processes} processes: imported in {imported:.1?}, migrated in {migrated:.1?}, found nothing twice in {:.1?}",
        began.elapsed()
    );
    // Without this row no run looks at the heads.
    let v1_presence_row = disk.db().get(V1_PRESENT).await.unwrap();
    let left = streams_at(&*disk, &WorkflowId::of::<OrderV1>()).await;
    assert_eq!(left.unwrap(), [], "left at v1");
    ([first, second, third, fourth], v1_presence_row)
}

// Seen to fail where a run leaves the row that says that processes may be at v1.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_run_that_finds_nothing_reads_a_constant_number_of_rows_however_many_were_migrated() {
    let (few, _) = costs_after(200).await;
    let (many, v1_presence_row) = costs_after(many()).await;
    eprintln!("rows read by runs that find nothing: {few:?} and {many:?}");
    assert_eq!(many, few);
    assert!(few.iter().all(|rows| *rows <= 20), "{few:?}");
    assert_eq!(v1_presence_row, None);
}

static V1: WorkflowId = WorkflowId::of::<OrderV1>();
static V2: WorkflowId = WorkflowId::of::<OrderV2>();

/// Processes that are there from the start, and for what the last of them was
/// placed: when it is converted, others are born.
const PLACED: u64 = 200;

/// Born while the last of the placed ones is converted, behind the run.
const FIRST_BORN: u64 = 30;

/// Born while the last of those is converted, behind it again.
const SECOND_BORN: u64 = 20;

/// A conversion that waits while somebody else does something.
struct Stop {
    /// Where: at the order that was placed for so much.
    euro: u64,
    go: oneshot::Sender<()>,
    done: mpsc::Receiver<()>,
}

/// From v1 to v2, with stops.
#[derive(Clone)]
struct Stopping {
    stops: Arc<Mutex<Vec<Stop>>>,
}

impl StateMigration for Stopping {
    type FromWorkflow = OrderV1;
    type ToWorkflow = OrderV2;

    fn source_workflow_id(&self) -> &WorkflowId {
        &V1
    }

    fn target_workflow_id(&self) -> &WorkflowId {
        &V2
    }

    fn migrate(&self, old: StateV1) -> Result<StateV2, ConversionError> {
        let mut stops = self.stops.lock().unwrap();
        let at = stops.iter().position(|stop| stop.euro == old.euro);
        let stop = at.map(|at| stops.swap_remove(at));
        drop(stops);
        if let Some(Stop { go, done, .. }) = stop {
            go.send(()).unwrap();
            done.recv().unwrap();
        }
        Ok(orders::order_v1_to_v2(old))
    }

    fn decoder(&self) -> Option<Decoder> {
        Some(Decoder::for_state::<StateV2>())
    }
}

trait Store: EventStore + SnapshotStore + Rows + Clone + 'static {}
impl<S: EventStore + SnapshotStore + Rows + Clone + 'static> Store for S {}

/// What an old node does: makes an order under v1.
async fn make(store: &impl Store, name: &str, euro: u64) {
    let identity = ProcessIdentity::of::<OrderV1>(tenant(), id::<ProcessId>(name));
    let mut order = Process::<OrderV1>::open(identity, store.clone(), store.clone())
        .await
        .unwrap();
    order.append(&[OrderEvent::Placed { euro }]).await.unwrap();
}

/// The ids of the orders with the sums they are placed for: those that are
/// there from the start, and two lots that are born later, each of which
/// sorts before all that were there.
fn lots() -> [Vec<(String, u64)>; 3] {
    let lot = |name: &str, from: u64, count: u64| {
        let numbers = from + 1..=from + count;
        numbers.map(|n| (format!("{name} {n:06}"), n)).collect()
    };
    [
        lot("c", 0, PLACED),
        lot("b", PLACED, FIRST_BORN),
        lot("a", PLACED + FIRST_BORN, SECOND_BORN),
    ]
}

async fn is_swept(store: impl Store) {
    let [placed, first, second] = lots();
    for (name, euro) in &placed {
        make(&store, name, *euro).await;
    }
    let stops = Arc::new(Mutex::new(Vec::new()));
    let migration = Stopping {
        stops: stops.clone(),
    };
    let runner = MigrationRunner::new(migration, store.clone(), store.clone());
    let runner = runner.chunk_processes(10);
    let control = runner.control();
    let mut old_nodes = Vec::new();
    let lots = [
        (PLACED, first.clone()),
        (PLACED + FIRST_BORN, second.clone()),
    ];
    for (euro, lot) in lots {
        let (go, told) = oneshot::channel();
        let (finished, done) = mpsc::channel();
        stops.lock().unwrap().push(Stop { euro, go, done });
        let (store, control) = (store.clone(), control.clone());
        old_nodes.push(tokio::spawn(async move {
            told.await.unwrap();
            for (name, euro) in lot {
                make(&store, &name, euro).await;
            }
            let state = control.progress().state;
            finished.send(()).unwrap();
            state
        }));
    }
    let report = runner.run().await;
    let born = (FIRST_BORN + SECOND_BORN) as usize;
    let all = PLACED as usize + born;
    assert!(report.is_ok(), "{report}");
    assert_eq!(report.state, Some(RunState::Done), "{report}");
    assert_eq!((report.migrated, report.swept), (all, born), "{report}");
    for old_node in old_nodes {
        assert_eq!(old_node.await.unwrap(), RunState::Running);
    }
    let (runs, run) = (Runs::of(&store).unwrap(), report.run.unwrap());
    assert_eq!(runs.get(run).await.unwrap().unwrap().state, RunState::Done);
    let counts = runs.counts(run).await.unwrap();
    assert_eq!((counts.migrated, counts.swept), (all as u64, born as u64));

    let rows = store.rows().await.unwrap();
    let at_v1 = |key: &[u8]| key.starts_with(BORN_AT_V1) || key == V1_PRESENT;
    assert_eq!(rows.iter().filter(|(key, _)| at_v1(key)).count(), 0);
    for (name, euro) in [placed, first, second].concat() {
        let identity = ProcessIdentity::of::<OrderV2>(tenant(), id::<ProcessId>(&name));
        let order = Process::<OrderV2>::open(identity, store.clone(), store.clone());
        assert_eq!(order.await.unwrap().state().cents, euro * 100);
    }
    assert_eq!(runner.run().await.migrated, 0);
}

// Seen to fail, both, in a run that ends without a sweep.
#[tokio::test(flavor = "multi_thread")]
async fn a_process_born_at_an_old_version_behind_the_run_is_swept_in_memory() {
    is_swept(MemoryStore::new()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_born_at_an_old_version_behind_the_run_is_swept_on_disk() {
    let disk = OnDisk::new().await.unwrap();
    is_swept(disk.clone()).await;
}

/// Takes out: `is_idle` in `MigrationRunner::started`.
async fn leaves_no_trace(store: impl Store) {
    let runner = MigrationRunner::new(OrderV1ToV2Migration, store.clone(), store.clone());
    let runs = Runs::of(&store).unwrap();
    let nothing = async || {
        let before = store.all_rows().await.unwrap();
        let report = runner.run().await;
        assert_eq!((report.state, report.run), (Some(RunState::Done), None));
        assert!(report.is_ok() && report.migrated == 0, "{report}");
        assert_eq!(runner.control().progress().state, RunState::Done);
        assert_eq!(runner.control().progress().run, None);
        assert_eq!(store.all_rows().await.unwrap(), before);
    };
    nothing().await;
    make(&store, "1", 1).await;
    assert_eq!(runner.run().await.migrated, 1);
    assert_eq!(runs.list().await.unwrap().len(), 1);
    nothing().await;
    assert_eq!(runs.list().await.unwrap().len(), 1);
    // A run that counts all processes is recorded.
    let counting = MigrationRunner::new(OrderV1ToV2Migration, store.clone(), store.clone());
    let report = counting.count_up_to_date(true).run().await;
    assert_eq!(report.skipped_by.already_there, 1, "{report}");
    assert!(report.run.is_some());
    assert_eq!(runs.list().await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_run_that_finds_nothing_leaves_no_trace_in_memory() {
    leaves_no_trace(MemoryStore::new()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_finds_nothing_leaves_no_trace_on_disk() {
    let disk = OnDisk::new().await.unwrap();
    leaves_no_trace(disk.clone()).await;
}

/// The run of another program, which may be alive, keeps a run out even if no process is
/// due.
#[tokio::test]
async fn a_run_that_finds_nothing_is_refused_while_another_run_claims_the_store() {
    let store = MemoryStore::new();
    let program = json!({"id": RunId::random(), "name": "loans", "pid": 7, "host": "db3", "user": "ann", "machine": "another", "start": 8});
    let holder = json!({"run": RunId::random(), "execution": RunId::random(), "program": program});
    let claim = serde_json::to_vec(&json!({"holder": holder})).unwrap();
    store.put_raw(b"uc".to_vec(), [&[2][..], &claim].concat());
    let report = MigrationRunner::new(OrderV1ToV2Migration, store.clone(), store.clone())
        .run()
        .await;
    assert_eq!((report.state, report.error_count), (None, 1), "{report}");
    assert!(
        report.errors[0].message.contains("claims the store"),
        "{report}"
    );
}

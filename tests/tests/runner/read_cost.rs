//! The read cost of a run, in rows: one head for each process of the store, and the
//! events of the due processes, for any number of migrations.

use serde::{Deserialize, Serialize};
use state_migration::{
    ConversionError, EventPayload, EventStore, ExpectedSequence, MemoryStore, MigrationRegistry,
    MigrationRegistryBuilder, MigrationRunner, NewEvent, RecordStore, SlateDbStore, SnapshotStore,
    StateMigration, StreamId, Workflow, WorkflowId,
};
use state_migration_tests::orders::id;
use state_migration_tests::stores::OnDisk;

const NAMES: [&str; 20] = [
    "f00", "f01", "f02", "f03", "f04", "f05", "f06", "f07", "f08", "f09", "f10", "f11", "f12",
    "f13", "f14", "f15", "f16", "f17", "f18", "f19",
];
const VERSIONS: [&str; 2] = ["v1", "v2"];

#[derive(Serialize, Deserialize)]
struct Tick {
    n: u64,
}

impl EventPayload for Tick {
    fn event_type(&self) -> &'static str {
        "Tick"
    }
}

#[derive(Default, Clone, Serialize, Deserialize)]
struct Sum {
    sum: u64,
}

/// One of twenty workflows, in one of two versions.
struct Family<const N: usize, const V: usize>;

impl<const N: usize, const V: usize> Workflow for Family<N, V> {
    const NAME: &'static str = NAMES[N];
    const VERSION: &'static str = VERSIONS[V];
    type State = Sum;
    type Event = Tick;
    fn apply(mut state: Sum, event: &Tick) -> Sum {
        state.sum += event.n;
        state
    }
}

struct Up<const N: usize> {
    source: WorkflowId,
    target: WorkflowId,
}

impl<const N: usize> Up<N> {
    fn new() -> Self {
        Self {
            source: WorkflowId::of::<Family<N, 0>>(),
            target: WorkflowId::of::<Family<N, 1>>(),
        }
    }
}

impl<const N: usize> StateMigration for Up<N> {
    type FromWorkflow = Family<N, 0>;
    type ToWorkflow = Family<N, 1>;
    fn source_workflow_id(&self) -> &WorkflowId {
        &self.source
    }
    fn target_workflow_id(&self) -> &WorkflowId {
        &self.target
    }
    fn migrate(&self, state: Sum) -> Result<Sum, ConversionError> {
        Ok(state)
    }
}

fn one() -> MigrationRegistry {
    MigrationRegistry::builder()
        .with(Up::<0>::new())
        .build()
        .unwrap()
}

fn twenty() -> MigrationRegistry {
    fn five<const A: usize, const B: usize, const C: usize, const D: usize, const E: usize>(
        builder: MigrationRegistryBuilder,
    ) -> MigrationRegistryBuilder {
        builder
            .with(Up::<A>::new())
            .with(Up::<B>::new())
            .with(Up::<C>::new())
            .with(Up::<D>::new())
            .with(Up::<E>::new())
    }
    let builder = MigrationRegistry::builder();
    let builder = five::<0, 1, 2, 3, 4>(builder);
    let builder = five::<5, 6, 7, 8, 9>(builder);
    let builder = five::<10, 11, 12, 13, 14>(builder);
    let twenty = five::<15, 16, 17, 18, 19>(builder).build().unwrap();
    assert_eq!(twenty.migrations().len(), 20);
    twenty
}

/// A store whose reads are counted.
trait Counted: EventStore + SnapshotStore + Clone + 'static {
    fn rows_read(&self) -> u64;
    async fn append_quickly(&self, stream: &StreamId, events: Vec<NewEvent>);
    async fn settle(&self);
}

macro_rules! counted {
    ($store:ty) => {
        impl Counted for $store {
            fn rows_read(&self) -> u64 {
                RecordStore::rows_read(self)
            }
            async fn append_quickly(&self, stream: &StreamId, events: Vec<NewEvent>) {
                let _ = self
                    .append_unflushed(stream, ExpectedSequence::NoStream, events)
                    .await
                    .unwrap();
            }
            async fn settle(&self) {
                self.flush().await.unwrap();
            }
        }
    };
}
counted!(MemoryStore);
counted!(SlateDbStore);

const PROCESSES: usize = 2_000;

/// Processes of three events, dealt out to a number of families.
async fn fill(store: &impl Counted, families: usize, processes: usize) {
    for n in 0..processes {
        let workflow = WorkflowId::new(NAMES[n % families], "v1");
        let events = (0..3)
            .map(|tick| {
                NewEvent::new(workflow.clone(), "Tick", 1, format!("{{\"n\":{tick}}}")).unwrap()
            })
            .collect();
        store
            .append_quickly(&id(&format!("process/t/{n:06}")), events)
            .await;
    }
    store.settle().await;
}

/// The rows that a run reads.
async fn cost(store: &impl Counted, migrations: MigrationRegistry, migrated: usize) -> u64 {
    let before = store.rows_read();
    let runner = MigrationRunner::new(migrations, store.clone(), store.clone());
    let report = runner.run().await;
    assert_eq!(
        (report.migrated, report.error_count),
        (migrated, 0),
        "{report}"
    );
    store.rows_read() - before
}

fn is_within_5_percent(one: u64, twenty: u64) -> bool {
    assert!(
        one >= PROCESSES as u64 * 3,
        "a run reads every event of a process that matches: {one}"
    );
    let ratio = twenty as f64 / one as f64;
    (0.95..=1.05).contains(&ratio)
}

/// What is read by one migration, by twenty of which one matches, and by twenty
/// that all match.
async fn costs<S: Counted>(fresh: &impl AsyncFn() -> S) -> [u64; 3] {
    let (a, b, c) = (fresh().await, fresh().await, fresh().await);
    fill(&a, 1, PROCESSES).await;
    fill(&b, 1, PROCESSES).await;
    fill(&c, 20, PROCESSES).await;
    [
        cost(&a, one(), PROCESSES).await,
        cost(&b, twenty(), PROCESSES).await,
        cost(&c, twenty(), PROCESSES).await,
    ]
}

/// How often it is measured: of a page that is committed late, on a machine that is
/// busy, the heads are read again.
const TIMES: usize = 3;

async fn twenty_cost_as_much_as_one<S: Counted>(fresh: impl AsyncFn() -> S) {
    let mut measured = Vec::new();
    for _ in 0..TIMES {
        let [one, of_which_one_matches, all_match] = costs(&fresh).await;
        if is_within_5_percent(one, of_which_one_matches) && is_within_5_percent(one, all_match) {
            return;
        }
        measured.push([one, of_which_one_matches, all_match]);
    }
    panic!(
        "rows by 1 migration, by 20 of which one matches, and by 20 that all match: {measured:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_of_twenty_migrations_reads_as_much_as_a_run_of_one() {
    twenty_cost_as_much_as_one(async || MemoryStore::new()).await;
    let disks = std::sync::Mutex::new(Vec::new());
    twenty_cost_as_much_as_one(async || {
        let disk = OnDisk::new().await.unwrap();
        let store = disk.clone();
        disks.lock().unwrap().push(disk);
        store
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_that_do_not_match_cost_their_heads() {
    let (small, large) = (MemoryStore::new(), MemoryStore::new());
    for store in [&small, &large] {
        fill(store, 1, 100).await;
    }
    for n in 0..5_000 {
        let other = NewEvent::new(WorkflowId::new(NAMES[7], "v2"), "Tick", 1, "{\"n\":1}").unwrap();
        large
            .append_quickly(&id(&format!("process/t/other {n}")), vec![other])
            .await;
    }
    let small = cost(&small, twenty(), 100).await;
    let large_once = cost(&large, twenty(), 100).await;
    // Their heads are read to count what is due, as they are few, and by the run.
    assert!(
        (small + 10_000..=small + 10_200).contains(&large_once),
        "{small} rows and {large_once} rows"
    );
    // A run that finds nothing reads what says that there is nothing.
    let nothing = cost(&large, twenty(), 0).await;
    assert!(nothing <= 40, "{nothing} rows");
}

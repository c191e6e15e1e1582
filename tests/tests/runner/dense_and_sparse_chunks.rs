//! Due processes far apart from each other: the events of the processes between them
//! are not read, and appends to those do not conflict.

use state_migration::{
    Batch, Commit, Error, EventStore, ExpectedSequence, MemoryStore, MigrationRegistry,
    MigrationRunner, Move, NewEvent, ProcessRegistry, RegistryKey, SlateDbStore, SnapshotStore,
    StreamId, TransactionalStore, Workflow, WorkflowId,
};
use state_migration_tests::orders::{
    OrderEvent, OrderV1, OrderV1ToV2Migration, OrderV2, StateV2, id, identity, load, tenant,
};
use state_migration_tests::stores::{OnDisk, page_of};

const PROCESSES: u64 = 3_000;

/// A store whose reads are counted, and that need not make each write durable.
trait Store:
    TransactionalStore + SnapshotStore + ProcessRegistry + EventStore + Clone + 'static
{
    fn count(&self) -> u64;
    async fn put(&self, stream: &StreamId, events: Vec<NewEvent>);
    async fn enter(&self, n: u64, version: WorkflowId);
    async fn settle(&self);
}

macro_rules! store {
    ($store:ty) => {
        impl Store for $store {
            fn count(&self) -> u64 {
                self.rows_read()
            }
            async fn put(&self, stream: &StreamId, events: Vec<NewEvent>) {
                let none = ExpectedSequence::NoStream;
                let _ = self.append_unflushed(stream, none, events).await.unwrap();
            }
            async fn enter(&self, n: u64, version: WorkflowId) {
                let mut identity = identity::<OrderV1>(n);
                identity.workflow_id = version;
                let key = RegistryKey::from_process(identity.process_id().clone());
                let _ = self
                    .register_unflushed(&tenant(), &key, &identity)
                    .await
                    .unwrap();
            }
            async fn settle(&self) {
                self.flush().await.unwrap();
            }
        }
    };
}
store!(MemoryStore);
store!(SlateDbStore);

fn stream(n: u64) -> StreamId {
    identity::<OrderV1>(n).stream_id().clone()
}

fn placed<W: Workflow<Event = OrderEvent>>(euro: u64) -> NewEvent {
    NewEvent::of::<W>(&OrderEvent::Placed { euro }).unwrap()
}

/// Orders of three events, each entered in the registry; every `step`th is at v1.
async fn fill(store: &impl Store, step: u64) {
    for n in 0..PROCESSES {
        if n % step == 0 {
            let events = (1..=3).map(placed::<OrderV1>).collect();
            store.put(&stream(n), events).await;
            store.enter(n, WorkflowId::of::<OrderV1>()).await;
        } else {
            let events = (1..=3).map(placed::<OrderV2>).collect();
            store.put(&stream(n), events).await;
            store.enter(n, WorkflowId::of::<OrderV2>()).await;
        }
    }
    store.settle().await;
}

/// The rows that a run reads for each process that it migrates.
async fn rows_a_process(store: &impl Store, matching: u64) -> u64 {
    let before = store.count();
    let migrations = MigrationRegistry::builder()
        .with(OrderV1ToV2Migration)
        .build()
        .unwrap();
    let runner = MigrationRunner::new(migrations, store.clone(), store.clone());
    let report = runner.run().await;
    assert!(report.is_ok(), "{report}");
    assert_eq!(report.migrated as u64, matching, "{report}");
    (store.count() - before) / matching
}

async fn a_run_reads_what_matches(store: &impl Store) {
    fill(store, 100).await;
    let rows = rows_a_process(store, PROCESSES / 100).await;
    // Its head and its events, what a run reads once, and the heads of the 99
    // between it and the next, twice: once to count what is due.
    assert!(rows <= 210, "{rows} rows a process");
    for n in [0, 100, 2_900] {
        let state = load::<OrderV2, _>(store, n).await.unwrap();
        let cents = 600;
        let wanted = StateV2 {
            cents,
            open_cents: 600,
            closed: false,
        };
        assert_eq!(state, wanted);
        let key = RegistryKey::from_process(identity::<OrderV1>(n).process_id().clone());
        let entry = store.lookup(&tenant(), &key).await.unwrap().unwrap();
        assert_eq!(entry.workflow_id, WorkflowId::of::<OrderV2>());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_over_few_of_many_processes_reads_rows_of_those_that_match() {
    a_run_reads_what_matches(&MemoryStore::new()).await;
    a_run_reads_what_matches(&**OnDisk::new().await.as_ref().unwrap()).await;
}

/// Migrates every process of a page, after an append to some process.
async fn commit_after_append(
    store: &impl Store,
    streams: Vec<StreamId>,
    appended_to: &StreamId,
) -> Result<Commit, Error> {
    let all = streams.len();
    let page = page_of(store, streams).await.unwrap();
    assert_eq!((page.at_end, page.processes.len()), (true, all));
    let moves = page.processes.into_iter().map(|process| {
        let events: Vec<_> = process.events.iter().map(|event| event.sequence).collect();
        assert_eq!((process.problem, events), (None, vec![1, 2, 3]));
        Move {
            stream: process.stream,
            head: process.head.unwrap(),
            event: NewEvent::of::<OrderV2>(&OrderEvent::Closed).unwrap(),
            update_registry: false,
        }
    });
    let batch = Batch {
        moves: moves.collect(),
        ..Batch::default()
    };
    let head = store.head(appended_to).await.unwrap().unwrap();
    let event = NewEvent::new(head.workflow_id, "OrderPaid", 1, r#"{"Paid":{"euro":1}}"#);
    let end = ExpectedSequence::Exact(head.sequence);
    let append = store.append(appended_to, end, vec![event.unwrap()]).await;
    append.unwrap();
    store.commit_unflushed(&batch, page.read_point).await
}

async fn appends_in_between_are_no_conflicts(store: &impl Store) {
    fill(store, 100).await;
    let matching: Vec<_> = (0..30).map(|n| stream(n * 100)).collect();
    // Between the first two, and between the last two.
    for (page, between) in [(&matching[..10], 50), (&matching[10..20], 1_850)] {
        let committed = commit_after_append(store, page.to_vec(), &stream(between)).await;
        assert_eq!(committed.unwrap(), Commit::Written);
    }
    // One of the page itself, which is named.
    let changed = &matching[25];
    let committed = commit_after_append(store, matching[20..].to_vec(), changed).await;
    let Commit::Stale(stale) = committed.unwrap() else {
        panic!("it is stale");
    };
    assert_eq!((stale.streams, stale.rows), (vec![changed.clone()], vec![]));
    let at_v1 = store.head(&matching[21]).await.unwrap().unwrap();
    assert_eq!(at_v1.workflow_id, WorkflowId::of::<OrderV1>());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_append_to_a_process_in_between_is_no_conflict() {
    appends_in_between_are_no_conflicts(&MemoryStore::new()).await;
    appends_in_between_are_no_conflicts(&**OnDisk::new().await.as_ref().unwrap()).await;
}

async fn all_are_read_wherever_they_are(store: &impl Store) {
    fill(store, 1).await;
    let before = store.count();
    let dense: Vec<_> = (0..200).map(stream).collect();
    let page = page_of(store, dense).await.unwrap();
    assert_eq!(page.processes.len(), 200);
    let rows = store.count() - before;
    assert!(rows <= 200 * 5, "a head and three events: {rows}");
    // Close together first, then far apart, and some that are not there.
    let mut mixed: Vec<_> = (0..40)
        .chain((1..25).map(|n| n * 100))
        .map(stream)
        .collect();
    mixed.extend((0..20).map(|n| id(&format!("process/shop/none {n}"))));
    mixed.sort();
    let page = page_of(store, mixed).await.unwrap();
    assert_eq!((page.at_end, page.processes.len()), (true, 64));
    let processes = page.processes;
    assert!(processes.is_sorted_by(|a, b| a.stream < b.stream));
    for process in processes {
        assert_eq!((process.problem, process.events.len()), (None, 3));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_that_are_named_are_read_wherever_they_are() {
    all_are_read_wherever_they_are(&MemoryStore::new()).await;
    all_are_read_wherever_they_are(&**OnDisk::new().await.as_ref().unwrap()).await;
}

//! A dry run says what a run would do, and writes nothing.

use std::sync::atomic::{AtomicU64, Ordering};

use state_migration::{
    ConversionError, Decoder, EventStore, ExpectedSequence, MemoryStore, MigrationReport,
    MigrationRunner, NewEvent, Selection, SnapshotStore, Stage, StateMigration, WorkflowId,
};
use state_migration_tests::faulty::Faulty;
use state_migration_tests::orders::{
    OrderEvent, OrderV1, OrderV1ToV2Migration, OrderV2, StateV1, StateV2, id, identity, place,
    register,
};
use state_migration_tests::stores::{OnDisk, Rows, differences};

const BROKEN: u64 = 4;

/// Orders, of which one cannot be decoded and one does not fit into a chunk.
async fn fill<S>(store: &S)
where
    S: EventStore + SnapshotStore + state_migration::ProcessRegistry + Clone + 'static,
{
    for n in 0..20 {
        place(store, store, n).await.unwrap();
        register(store, n).await.unwrap();
    }
    let v1 = WorkflowId::of::<OrderV1>();
    let stream = identity::<OrderV1>(BROKEN).stream_id().clone();
    let last = store.head(&stream).await.unwrap().unwrap().sequence;
    let bad = NewEvent::new(v1.clone(), "OrderPaid", 1, "{\"Paid\":{}}").unwrap();
    store
        .append(&stream, ExpectedSequence::Exact(last), vec![bad])
        .await
        .unwrap();
    let paid = NewEvent::of::<OrderV1>(&OrderEvent::Paid { euro: 0 }).unwrap();
    let many = vec![paid; 9_000];
    store
        .append(&id("process/shop/large"), ExpectedSequence::NoStream, many)
        .await
        .unwrap();
}

fn runner<M: state_migration::Migrations, S>(migrations: M, store: &S) -> MigrationRunner<M, S, S>
where
    S: EventStore + SnapshotStore + Clone,
{
    MigrationRunner::new(migrations, store.clone(), store.clone())
}

fn counts(report: &MigrationReport) -> (usize, usize, usize, usize) {
    (
        report.migrated,
        report.skipped,
        report.error_count,
        report.warning_count,
    )
}

async fn says_what_a_run_does_and_writes_nothing<S>(store: S, rows: impl Rows)
where
    S: EventStore + SnapshotStore + state_migration::ProcessRegistry + Clone + 'static,
{
    fill(&store).await;
    let before = rows.all_rows().await.unwrap();
    let selected = runner(OrderV1ToV2Migration, &store).select(Selection::all().first(3));
    assert_eq!(selected.dry_run().await.migrated, 3);
    let dry = runner(OrderV1ToV2Migration, &store).dry_run().await;
    let after = rows.all_rows().await.unwrap();
    assert_eq!(differences(&before, &after), [""; 0], "{dry}");
    assert!(dry.dry_run);
    assert!(
        dry.to_string().starts_with("20 would be migrated, "),
        "{dry}"
    );
    assert_eq!(
        dry.errors[0].subject,
        *identity::<OrderV1>(BROKEN).stream_id()
    );

    let real = runner(OrderV1ToV2Migration, &store).run().await;
    assert!(!real.dry_run);
    assert_eq!(counts(&dry), counts(&real), "{dry} / {real}");
    assert_eq!(counts(&real), (20, real.skipped, 1, 0));
    assert_eq!(dry.errors, real.errors);
    assert_eq!(
        runner(OrderV1ToV2Migration, &store)
            .dry_run()
            .await
            .migrated,
        0
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_says_what_a_run_does_and_writes_nothing() {
    let memory = MemoryStore::new();
    says_what_a_run_does_and_writes_nothing(memory.clone(), memory).await;
    let disk = OnDisk::new().await.unwrap();
    says_what_a_run_does_and_writes_nothing(disk.clone(), disk.clone()).await;
    let memory = MemoryStore::new();
    says_what_a_run_does_and_writes_nothing(Faulty::over(memory.clone()), memory).await;
}

/// Counts how often it is called, and says so in the state.
struct Counting(AtomicU64);

static V1: WorkflowId = WorkflowId::of::<OrderV1>();
static V2: WorkflowId = WorkflowId::of::<OrderV2>();

impl StateMigration for Counting {
    type FromWorkflow = OrderV1;
    type ToWorkflow = OrderV2;
    fn source_workflow_id(&self) -> &WorkflowId {
        &V1
    }
    fn target_workflow_id(&self) -> &WorkflowId {
        &V2
    }
    fn migrate(&self, old: StateV1) -> Result<StateV2, ConversionError> {
        let cents = old.euro * 100 + self.0.fetch_add(1, Ordering::SeqCst);
        Ok(StateV2 {
            cents,
            ..StateV2::default()
        })
    }
    fn decoder(&self) -> Option<Decoder> {
        Some(Decoder::for_state::<StateV2>())
    }
}

async fn finds_code_that_answers_differently_twice<S>(store: S)
where
    S: EventStore + SnapshotStore + state_migration::ProcessRegistry + Clone + 'static,
{
    fill(&store).await;
    let report = runner(Counting(AtomicU64::new(0)), &store).dry_run().await;
    assert_eq!((report.migrated, report.error_count), (0, 21), "{report}");
    let different = report
        .errors
        .iter()
        .filter(|error| error.stage == Stage::Converting);
    for error in different.clone() {
        assert!(error.message.contains("two different states"), "{error}");
    }
    assert_eq!(different.count(), 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_finds_code_that_answers_differently_twice() {
    finds_code_that_answers_differently_twice(MemoryStore::new()).await;
    let disk = OnDisk::new().await.unwrap();
    finds_code_that_answers_differently_twice(disk.clone()).await;
    finds_code_that_answers_differently_twice(Faulty::over(MemoryStore::new())).await;
}

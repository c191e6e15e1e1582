//! A dry run reads every new state back, as the process will when it goes on.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use serde::{Deserialize, Deserializer, Serialize};
use state_migration::{
    ConversionError, EventStore, ExpectedSequence, IdentityMigration, MemoryStore, MigrationError,
    MigrationRegistry, MigrationReport, MigrationRunner, Migrations, NewEvent, SnapshotStore,
    Stage, StateMigration, Workflow, WorkflowId, state_migration,
};
use state_migration_tests::faulty::Faulty;
use state_migration_tests::orders::{
    OrderEvent, OrderV1, OrderV1ToV2Migration, StateV1, id, place,
};
use state_migration_tests::stores::OnDisk;

/// How many orders fit into a chunk; one more does not.
const SMALL: usize = 5;
const LARGE: &str = "process/shop/large";

async fn fill<S>(store: &S)
where
    S: EventStore + SnapshotStore + Clone + 'static,
{
    for n in 0..SMALL as u64 {
        place(store, store, n).await.unwrap();
    }
    let placed = NewEvent::of::<OrderV1>(&OrderEvent::Placed { euro: 1 }).unwrap();
    let many = vec![placed; 9_000];
    store
        .append(&id(LARGE), ExpectedSequence::NoStream, many)
        .await
        .unwrap();
}

/// Dry runs over one store in memory, one on disk, and separate handles.
async fn dry_runs<M: Migrations>(migrations: impl Fn() -> M) -> [MigrationReport; 3] {
    let memory = MemoryStore::new();
    fill(&memory).await;
    let in_memory = MigrationRunner::new(migrations(), memory.clone(), memory.clone());
    let disk = OnDisk::new().await.unwrap();
    fill(&*disk).await;
    let on_disk = MigrationRunner::new(migrations(), disk.clone(), disk.clone());
    let handle = || Faulty::over(memory.clone());
    let separate = MigrationRunner::new(migrations(), handle(), handle());
    [
        in_memory.dry_run().await,
        on_disk.dry_run().await,
        separate.dry_run().await,
    ]
}

fn counts(report: &MigrationReport) -> (usize, usize, usize) {
    (report.migrated, report.error_count, report.warning_count)
}

/// Every order fails because its state is not read back, and for this reason.
fn assert_all_fail(reports: &[MigrationReport], reason: &str) {
    for report in reports {
        assert_eq!(counts(report), (0, SMALL + 1, 0), "{report}");
        for error in &report.errors {
            assert_eq!(error.stage, Stage::Encoding, "{error}");
            assert!(error.message.contains(reason), "{error}");
        }
        assert!(large(report).is_some(), "{report}");
    }
}

fn large(report: &MigrationReport) -> Option<&MigrationError> {
    let mut errors = report.errors.iter();
    errors.find(|error| error.stream_id.as_str() == LARGE)
}

/// Every order would be migrated, and one warning says what was not checked.
fn assert_one_warning(reports: &[MigrationReport], parts: &[&str]) {
    for report in reports {
        assert_eq!(counts(report), (SMALL + 1, 0, 1), "{report}");
        let warning = &report.warnings[0];
        assert_eq!(warning.stream_id.as_str(), "(migrations)");
        for part in parts {
            assert!(warning.message.contains(part), "{part}: {warning}");
        }
    }
}

macro_rules! orders {
    ($($name:ident $workflow:literal $version:literal $state:ty),* $(,)?) => {$(
        struct $name;

        impl Workflow for $name {
            const NAME: &'static str = $workflow;
            const VERSION: &'static str = $version;
            const STATE_SCHEMA_VERSION: u32 = 2;
            type State = $state;
            type Event = OrderEvent;

            fn apply(state: $state, _: &OrderEvent) -> $state {
                state
            }
        }
    )*};
}

orders! {
    Lossy "order" "v2" Lines,
    NotANumber "order" "v3" Rated,
    OddNumber "order" "v8" Rated,
    Panicking "order" "v4" Touchy,
    WriteOnly "order" "v5" Written,
    Borrowing "order" "v6" Named<'static>,
    Reordered "order" "v7" TwoNames,
    Invoice "invoice" "v1" Lines,
}

#[derive(Default, Clone, Serialize, Deserialize)]
struct Lines {
    lines: Vec<Line>,
}

#[derive(Default, Clone, Serialize, Deserialize)]
struct Line {
    amount: u64,
    #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
    price: Option<u64>,
}

fn lines(euro: u64) -> Lines {
    let line = |price| Line { amount: 1, price };
    Lines {
        lines: vec![line(None), line(Some(euro))],
    }
}

#[state_migration(from = OrderV1, to = Lossy)]
fn loses_the_price(old: StateV1) -> Lines {
    lines(old.euro)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_that_loses_a_field_fails() {
    let reports = dry_runs(|| LosesThePriceMigration).await;
    assert_all_fail(
        &reports,
        "deserialized and serialized again, the new state is not the same: \
         \"/lines/1/price\" is lost; correct how `decode_back::Lines` is serialized or \
         deserialized and run again",
    );
    for report in &reports {
        let message = &report.errors[0].message;
        let by = "order@v1->v2 by decode_back::loses_the_price (";
        assert!(message.starts_with(by), "{message}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_that_is_read_back_as_it_was_passes() {
    for report in dry_runs(|| OrderV1ToV2Migration).await {
        assert_eq!(counts(&report), (SMALL + 1, 0, 0), "{report}");
    }
}

#[derive(Default, Clone, Serialize, Deserialize)]
struct Rated {
    name: String,
    rates: Vec<f64>,
}

#[state_migration(from = OrderV1, to = NotANumber)]
fn has_no_rate(old: StateV1) -> Result<Rated, String> {
    let name = format!("order for {} euro", old.euro);
    let rates = vec![1.0, f64::NAN];
    Ok(Rated { name, rates })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_that_cannot_be_deserialized_fails() {
    let reports = dry_runs(|| HasNoRateMigration).await;
    let reason =
        "the new state cannot be deserialized again: expected f64 at \"/rates/1\"; correct";
    assert_all_fail(&reports, reason);
}

#[state_migration(from = OrderV1, to = OddNumber)]
fn has_an_odd_rate(old: StateV1) -> Rated {
    Rated {
        name: format!("order for {} euro", old.euro),
        rates: vec![31_525.139_595_806_002],
    }
}

// Without the feature `float_roundtrip` of `serde_json` it is read as another one.
#[tokio::test(flavor = "multi_thread")]
async fn a_float_is_read_back_as_it_was_written() {
    for report in dry_runs(|| HasAnOddRateMigration).await {
        assert!(report.is_ok(), "{report}");
    }
}

#[derive(Default, Clone, Serialize, Deserialize)]
struct TwoNames {
    #[serde(with = "any_order")]
    names: [(String, u64); 2],
}

/// A map that comes back the other way round.
mod any_order {
    use super::{Deserialize, Deserializer};
    use serde::ser::{SerializeMap, Serializer};

    pub fn serialize<S: Serializer>(names: &[(String, u64); 2], s: S) -> Result<S::Ok, S::Error> {
        let mut map = s.serialize_map(Some(2))?;
        for (name, value) in names {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }

    pub fn deserialize<'de, D>(deserializer: D) -> Result<[(String, u64); 2], D::Error>
    where
        D: Deserializer<'de>,
    {
        let map = std::collections::BTreeMap::<String, u64>::deserialize(deserializer)?;
        let names: Vec<_> = map.into_iter().collect();
        names
            .try_into()
            .map_err(|_| serde::de::Error::custom("not two"))
    }
}

#[state_migration(from = OrderV1, to = Reordered)]
fn names_them_backwards(old: StateV1) -> TwoNames {
    TwoNames {
        names: [("b".to_owned(), old.euro), ("a".to_owned(), 0)],
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_that_comes_back_in_another_order_fails() {
    let reports = dry_runs(|| NamesThemBackwardsMigration).await;
    assert_all_fail(&reports, "the members of \"/names\" are in another order;");
}

#[derive(Default, Clone, Serialize, Deserialize)]
struct Touchy {
    #[serde(deserialize_with = "touchy")]
    euro: u64,
}

fn touchy<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let euro = u64::deserialize(deserializer)?;
    assert!(euro != 3 && euro != 9_000, "no such price");
    Ok(euro)
}

#[state_migration(from = OrderV1, to = Panicking)]
fn keeps_the_price(old: StateV1) -> Touchy {
    Touchy { euro: old.euro }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_is_one_process_s_failure() {
    for report in dry_runs(|| KeepsThePriceMigration).await {
        assert_eq!(counts(&report), (SMALL - 1, 2, 0), "{report}");
        let mut streams: Vec<&str> = report.errors.iter().map(|e| e.stream_id.as_str()).collect();
        streams.sort_unstable();
        assert_eq!(streams, ["process/shop/000002", LARGE]);
        for error in &report.errors {
            assert_eq!(error.stage, Stage::Encoding);
            let reason = "cannot be deserialized again: it panicked: no such price; correct";
            assert!(error.message.contains(reason), "{error}");
        }
    }
}

#[derive(Default, Clone, Serialize)]
struct Written {
    euro: u64,
}

#[state_migration(from = OrderV1, to = WriteOnly)]
fn writes_only(old: StateV1) -> Written {
    Written { euro: old.euro }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_that_is_serialize_only_is_named_in_a_warning() {
    let reports = dry_runs(|| WritesOnlyMigration).await;
    let reason = "was not checked, because `decode_back::Written` cannot be deserialized; \
                  derive `serde::Deserialize` for it";
    let by = "order@v1->v5 by decode_back::writes_only (";
    assert_one_warning(&reports, &[by, reason]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_that_is_serialize_only_is_migrated_without_a_warning() {
    let store = MemoryStore::new();
    fill(&store).await;
    let runner = MigrationRunner::new(WritesOnlyMigration, store.clone(), store.clone());
    let report = runner.run().await;
    assert_eq!(counts(&report), (SMALL + 1, 0, 0), "{report}");
    // Nothing is left to convert, so nothing is left to check.
    let report = runner.dry_run().await;
    assert_eq!(counts(&report), (0, 0, 0), "{report}");
}

#[derive(Default, Clone, Serialize, Deserialize)]
struct Named<'a> {
    name: &'a str,
}

#[state_migration(from = OrderV1, to = Borrowing)]
fn borrows(_: StateV1) -> Result<Named<'static>, String> {
    Ok(Named { name: "order" })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_that_borrows_is_named_in_a_warning() {
    let reports = dry_runs(|| BorrowsMigration).await;
    let reason = "` borrows from the text that it is deserialized from; let it own";
    assert_one_warning(&reports, &[reason]);
}

/// As [`loses_the_price`], by hand.
struct ByHand;

static V1: WorkflowId = WorkflowId::of::<OrderV1>();
static V2: WorkflowId = WorkflowId::of::<Lossy>();

impl StateMigration for ByHand {
    type FromWorkflow = OrderV1;
    type ToWorkflow = Lossy;
    fn source_workflow_id(&self) -> &WorkflowId {
        &V1
    }
    fn target_workflow_id(&self) -> &WorkflowId {
        &V2
    }
    fn migrate(&self, old: StateV1) -> Result<Lines, ConversionError> {
        Ok(lines(old.euro))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_migration_by_hand_is_named_in_a_warning() {
    let reports = dry_runs(|| ByHand).await;
    let reason = "order@v1->v2: whether a process can go on with its new state was not checked, \
                  because a migration that is written by hand does not say how";
    assert_one_warning(&reports, &[reason]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_migration_by_hand_is_checked_where_another_one_reads_its_state() {
    let reports = dry_runs(|| {
        let again = IdentityMigration::<Invoice>::new(
            WorkflowId::of::<Invoice>(),
            WorkflowId::new("invoice", "v2"),
        );
        let registry = MigrationRegistry::builder().with(ByHand).with(again);
        registry.build().unwrap()
    })
    .await;
    assert_all_fail(&reports, "\"/lines/1/price\" is lost");
}

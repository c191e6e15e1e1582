//! The read-back of new states: a run decodes each new state as a process does when it
//! is loaded, and commits the state only if the result is equal. So does the migration of
//! a process that is opened.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use state_migration::{
    ConversionError, Decoder, ErrorKind, EventStore, ExpectedSequence, FailureClass,
    IdentityMigration, MemoryStore, MigrationError, MigrationRegistry, MigrationReport,
    MigrationRunner, Migrations, NewEvent, Process, ProcessIdentity, RunState, Runs, Selection,
    SnapshotStore, Stage, StateMigration, Subject, Workflow, WorkflowId, state_migration,
};
use state_migration_tests::faulty::Faulty;
use state_migration_tests::orders::{
    OrderEvent, OrderV1, OrderV1ToV2Migration, OrderV2, StateV1, StateV2, id, identity,
    order_v1_to_v2, place, tenant,
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

/// A run over one store in memory, where all is committed at once.
async fn run_in_one_store<M: Migrations>(migrations: M) -> (MigrationReport, MemoryStore) {
    let store = MemoryStore::new();
    fill(&store).await;
    let runner = MigrationRunner::new(migrations, store.clone(), store.clone());
    (runner.run().await, store)
}

/// A run over separate handles, where the event is appended first.
async fn run_event_first<M: Migrations>(migrations: M) -> (MigrationReport, MemoryStore) {
    let store = MemoryStore::new();
    fill(&store).await;
    let handle = || Faulty::over(store.clone());
    let runner = MigrationRunner::new(migrations, handle(), handle());
    (runner.run().await, store)
}

/// Asserts that all processes are at the old version, without a baseline or snapshot.
async fn assert_none_has_moved(store: &MemoryStore) {
    for stream in store.list_streams(None, None, 1_000).await.unwrap() {
        let head = store.head(&stream).await.unwrap().unwrap();
        assert_eq!(head.workflow_id, WorkflowId::of::<OrderV1>());
        assert_eq!(head.baseline, None);
        assert_eq!(store.load(&stream).await.unwrap(), None);
    }
}

/// All orders, under version `W`.
fn identities<W: Workflow>() -> Vec<ProcessIdentity> {
    let large = ProcessIdentity::of::<W>(tenant(), id("large"));
    let small = (0..SMALL as u64).map(identity::<W>);
    small.chain([large]).collect()
}

/// Opens all orders under version `W`, over one store and over separate handles. Each
/// migration is refused for this reason, and the orders stay usable at their version.
async fn assert_none_is_opened<W, M>(migrations: impl Fn() -> M, class: FailureClass, reason: &str)
where
    W: Workflow,
    W::State: DeserializeOwned,
    M: Migrations,
{
    let store = MemoryStore::new();
    fill(&store).await;
    let handle = || Arc::new(Faulty::over(store.clone()));
    let one_store = MigrationRunner::new(migrations(), store.clone(), store.clone());
    let separate = MigrationRunner::new(migrations(), handle(), handle());
    for order in identities::<W>() {
        let opened = [
            one_store.open::<W>(order.clone()).await.map(drop),
            separate.open::<W>(order.clone()).await.map(drop),
        ];
        for opened in opened {
            let error = opened.unwrap_err();
            assert_eq!(*error.kind(), ErrorKind::Workflow);
            let text = error.to_string();
            let unchanged = "could not be migrated when it was opened; the process is unchanged";
            assert!(text.contains(unchanged), "{text}");
            assert!(text.contains(reason), "{text}");
        }
    }
    assert_none_has_moved(&store).await;
    for order in identities::<OrderV1>() {
        let opened = Process::<OrderV1>::open(order, store.clone(), store.clone()).await;
        opened.unwrap().append(&[OrderEvent::Closed]).await.unwrap();
    }
    let runs = Runs::of(&store).unwrap();
    let [run] = &runs.list().await.unwrap()[..] else {
        panic!("the orders of one store are opened in one run")
    };
    let failures = runs.failures(run.id, None, None, 100).await.unwrap();
    let classes: Vec<_> = failures.iter().map(|failed| failed.error.class).collect();
    assert_eq!(classes, [class; SMALL + 1]);
}

/// A migration whose states are refused, for this class and this reason, in a dry
/// run, in runs of both forms, and when a process is opened.
macro_rules! refused {
    ($($name:ident: $workflow:ty, $migration:expr, $class:ident, $reason:expr;)*) => {$(
        mod $name {
            use super::*;

            fn assert_refused(reports: &[MigrationReport]) {
                assert_all_fail(reports, $reason);
                for error in reports.iter().flat_map(|report| &report.errors) {
                    assert_eq!(error.class, FailureClass::$class, "{error}");
                }
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn fails_in_a_dry_run() {
                assert_refused(&dry_runs(|| $migration).await);
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn is_not_committed_in_one_store() {
                let (report, store) = run_in_one_store($migration).await;
                assert_refused(&[report]);
                assert_none_has_moved(&store).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn is_not_committed_event_first() {
                let (report, store) = run_event_first($migration).await;
                assert_refused(&[report]);
                assert_none_has_moved(&store).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn is_not_committed_when_the_process_is_opened() {
                let class = FailureClass::$class;
                assert_none_is_opened::<$workflow, _>(|| $migration, class, $reason).await;
            }
        }
    )*};
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
    errors.find(|error| error.subject.to_string() == LARGE)
}

/// The runs were refused as a whole, with these words.
fn assert_runs_are_refused(reports: &[MigrationReport], parts: &[&str]) {
    for report in reports {
        assert_eq!(counts(report), (0, 1, 0), "{report}");
        assert_eq!(report.state, None, "{report}");
        let refusal = &report.errors[0];
        assert_eq!(refusal.subject, Subject::Migrations);
        assert_eq!(refusal.stage, Stage::Planning);
        for part in parts {
            assert!(refusal.message.contains(part), "{part}: {refusal}");
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
    MaybeNotANumber "order" "v9" MaybeRated,
    FlattenedNotANumber "order" "v10" FlattenedRate,
    TaggedNotANumber "order" "v11" Tagged,
    Deep "order" "v12" Nested,
    CountedByNumber "order" "v13" Tagged,
    FlattenedLarge "order" "v14" FlattenedNumber,
    SometimesLines "order" "v15" SomeLines,
    Unordered "order" "v16" Sets,
    Mapped "order" "v17" HashMap<u64, u64>,
    Invoice "invoice" "v1" Lines,
    NameOnly "name" "v1" TwoNames,
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
        "the new state changes when it is deserialized and serialized again: \
         \"/lines/1/price\" is lost; correct how `reliability::round_trip::Lines` is serialized or deserialized and retry",
    );
    for report in &reports {
        let message = &report.errors[0].message;
        let by = "order@v1->v2 by reliability::round_trip::loses_the_price (";
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

#[derive(Default, Clone, Serialize, Deserialize)]
struct MaybeRated {
    rate: Option<f32>,
}

#[state_migration(from = OrderV1, to = MaybeNotANumber)]
fn may_have_no_rate(_: StateV1) -> MaybeRated {
    let rate = Some(f32::INFINITY);
    MaybeRated { rate }
}

#[derive(Default, Clone, Serialize, Deserialize)]
struct FlattenedRate {
    id: u8,
    #[serde(flatten)]
    rate: MaybeRated,
}

#[state_migration(from = OrderV1, to = FlattenedNotANumber)]
fn has_no_rate_in_a_part(_: StateV1) -> FlattenedRate {
    let rate = Some(f32::NAN);
    FlattenedRate {
        id: 1,
        rate: MaybeRated { rate },
    }
}

#[derive(Default, Clone, Serialize, Deserialize)]
#[serde(tag = "kind")]
enum Tagged {
    #[default]
    None,
    Rate {
        rate: f64,
    },
    Counts {
        counts: HashMap<u64, u64>,
    },
}

#[state_migration(from = OrderV1, to = TaggedNotANumber)]
fn has_no_rate_in_a_variant(_: StateV1) -> Tagged {
    Tagged::Rate { rate: f64::NAN }
}

/// A list in a list, and so on.
#[derive(Default, Clone, Serialize, Deserialize)]
struct Nested(Vec<Nested>);

#[state_migration(from = OrderV1, to = Deep)]
fn nests(_: StateV1) -> Nested {
    (1..129).fold(Nested::default(), |inner, _| Nested(vec![inner]))
}

#[state_migration(from = OrderV1, to = CountedByNumber)]
fn counts_by_number(old: StateV1) -> Tagged {
    let counts = [(7, old.euro)].into();
    Tagged::Counts { counts }
}

#[derive(Default, Clone, Serialize, Deserialize)]
struct FlattenedNumber {
    id: u8,
    #[serde(flatten)]
    number: LargeNumber,
}

#[derive(Default, Clone, Serialize, Deserialize)]
struct LargeNumber {
    large: u128,
}

#[state_migration(from = OrderV1, to = FlattenedLarge)]
fn has_a_large_number(_: StateV1) -> FlattenedNumber {
    let number = LargeNumber { large: u128::MAX };
    FlattenedNumber { id: 1, number }
}

#[derive(Default, Clone, Serialize, Deserialize)]
struct SomeLines {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    lines: Vec<u8>,
}

#[state_migration(from = OrderV1, to = SometimesLines)]
fn has_no_lines(_: StateV1) -> SomeLines {
    SomeLines::default()
}

refused! {
    a_number_that_json_does_not_have: NotANumber, HasNoRateMigration, Unserializable,
        "a number that JSON cannot represent (NaN or infinite) at \"/rates/1\", in order@v1->v";
    such_a_number_in_an_option: MaybeNotANumber, MayHaveNoRateMigration, Unserializable,
        "a number that JSON cannot represent (NaN or infinite) at \"/rate\", in order@v1->v";
    such_a_number_in_a_flattened_struct: FlattenedNotANumber, HasNoRateInAPartMigration, Unserializable,
        "a number that JSON cannot represent (NaN or infinite) at \"/rate\", in order@v1->v";
    such_a_number_in_a_tagged_enum: TaggedNotANumber, HasNoRateInAVariantMigration, Unserializable,
        "a number that JSON cannot represent (NaN or infinite) at \"/rate\", in order@v1->v";
    a_field_that_is_not_deserialized: Lossy, LosesThePriceMigration, ReadsBackDifferently,
        "\"/lines/1/price\" is lost; correct";
    more_levels_than_serde_json_reads: Deep, NestsMigration, ReadsBackDifferently,
        "the new state cannot be deserialized again: recursion limit exceeded at \"/0/0/0/";
    keys_that_are_numbers_in_a_tagged_enum: CountedByNumber, CountsByNumberMigration, ReadsBackDifferently,
        "the new state cannot be deserialized again: expected u64";
    a_large_number_in_a_flattened_struct: FlattenedLarge, HasALargeNumberMigration, ReadsBackDifferently,
        "the new state cannot be deserialized again: u128 is not supported";
    a_field_that_is_left_out_without_a_default: SometimesLines, HasNoLinesMigration, ReadsBackDifferently,
        "the new state cannot be deserialized again: missing field `lines`";
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

#[state_migration(from = OrderV1, to = Mapped)]
fn counts_each(old: StateV1) -> HashMap<u64, u64> {
    (0..20).map(|n| (n, n * old.euro)).collect()
}

/// One that is the same when it is read, although its text is another each time.
#[tokio::test(flavor = "multi_thread")]
async fn a_state_that_comes_back_in_another_order_passes() {
    for report in dry_runs(|| NamesThemBackwardsMigration).await {
        assert_eq!(counts(&report), (SMALL + 1, 0, 0), "{report}");
    }
    for report in dry_runs(|| CountsEachMigration).await {
        assert_eq!(counts(&report), (SMALL + 1, 0, 0), "{report}");
    }
}

#[derive(Default, Clone, Serialize, Deserialize)]
struct Sets {
    set: HashSet<u64>,
    map: HashMap<String, HashSet<u64>>,
}

#[state_migration(from = OrderV1, to = Unordered)]
fn has_sets(old: StateV1) -> Sets {
    let set = || (0..20).map(|n| n * old.euro).collect();
    Sets {
        set: set(),
        map: (0..5).map(|n| (n.to_string(), set())).collect(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_set_is_written_as_a_list_and_comes_back_in_another_order() {
    // Both executions of user code give the same sets.
    for report in dry_runs(|| HasSetsMigration).await {
        assert_eq!(counts(&report), (SMALL + 1, 0, 0), "{report}");
    }
    let in_one_store = run_in_one_store(HasSetsMigration).await;
    let event_first = run_event_first(HasSetsMigration).await;
    for (report, store) in [in_one_store, event_first] {
        assert_eq!(counts(&report), (SMALL + 1, 0, 0), "{report}");
        let order: Process<Unordered> =
            Process::open(identity::<Unordered>(2), store.clone(), store)
                .await
                .unwrap();
        assert_eq!(order.state().map.len(), 5);
        assert_eq!(order.state().map["3"], order.state().set);
        assert_eq!(order.state().set.len(), 20);
    }
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

/// Two orders are not read back; the others are moved.
fn assert_two_fail(report: &MigrationReport) {
    assert_eq!(counts(report), (SMALL - 1, 2, 0), "{report}");
    let mut streams: Vec<String> = report
        .errors
        .iter()
        .map(|e| e.subject.to_string())
        .collect();
    streams.sort_unstable();
    assert_eq!(streams, ["process/shop/000002", LARGE]);
    for error in &report.errors {
        assert_eq!(error.stage, Stage::Encoding);
        let reason = "cannot be deserialized again: user code panicked: no such price; correct";
        assert!(error.message.contains(reason), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_is_one_process_s_failure() {
    for report in dry_runs(|| KeepsThePriceMigration).await {
        assert_two_fail(&report);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_is_one_process_s_failure_event_first() {
    assert_two_fail(&run_event_first(KeepsThePriceMigration).await.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_is_one_process_s_failure_in_one_store() {
    assert_two_fail(&run_in_one_store(KeepsThePriceMigration).await.0);
}

#[derive(Default, Clone, Serialize)]
struct Written {
    euro: u64,
}

#[state_migration(from = OrderV1, to = WriteOnly)]
fn writes_only(old: StateV1) -> Written {
    Written { euro: old.euro }
}

/// A run over one store and a run over separate handles, and whether they left all
/// orders as they were.
async fn runs<M: Migrations>(migrations: impl Fn() -> M) -> [MigrationReport; 2] {
    let (one, store) = run_in_one_store(migrations()).await;
    assert_none_has_moved(&store).await;
    let (separate, store) = run_event_first(migrations()).await;
    assert_none_has_moved(&store).await;
    [one, separate]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_with_a_state_that_is_serialize_only_is_refused() {
    let reason = "new states cannot be read back before they are committed, because \
                  `reliability::round_trip::Written` cannot be deserialized; derive `serde::Deserialize` for it";
    let by = "order@v1->v5 by reliability::round_trip::writes_only (";
    assert_runs_are_refused(&dry_runs(|| WritesOnlyMigration).await, &[by, reason]);
    assert_runs_are_refused(&runs(|| WritesOnlyMigration).await, &[by, reason]);
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
async fn a_state_that_borrows_fails() {
    let reason = "the new state cannot be deserialized again, because \
                  `reliability::round_trip::Named";
    let reports = [
        &dry_runs(|| BorrowsMigration).await[..],
        &runs(|| BorrowsMigration).await,
    ]
    .concat();
    assert_all_fail(&reports, reason);
    for error in reports.iter().flat_map(|report| &report.errors) {
        assert_eq!(error.class, FailureClass::ReadsBackDifferently, "{error}");
    }
}

/// As [`loses_the_price`], but hand-written.
struct HandWritten;

static V1: WorkflowId = WorkflowId::of::<OrderV1>();
static V2: WorkflowId = WorkflowId::of::<Lossy>();

impl StateMigration for HandWritten {
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

const NO_DECODER: &str = "order@v1->v2: new states cannot be read back before they are committed, because a migration without the macro does not define how `reliability::round_trip::Lines` is deserialized; define `StateMigration::decoder`";

#[tokio::test(flavor = "multi_thread")]
async fn a_run_with_a_hand_written_migration_without_a_decoder_is_refused() {
    assert_runs_are_refused(&dry_runs(|| HandWritten).await, &[NO_DECODER]);
    assert_runs_are_refused(&runs(|| HandWritten).await, &[NO_DECODER]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_does_not_select_the_migration_without_a_decoder_is_not_refused() {
    let store = MemoryStore::new();
    fill(&store).await;
    let again = IdentityMigration::<NameOnly>::new(
        WorkflowId::of::<NameOnly>(),
        WorkflowId::new("name", "v2"),
    );
    let registry = MigrationRegistry::builder().with(HandWritten).with(again);
    let registry = registry.build().unwrap();
    let runner = || MigrationRunner::new(registry.clone(), store.clone(), store.clone());
    let names = runner().select(Selection::all().workflow("name"));
    let report = names.run().await;
    assert_eq!(report.state, Some(RunState::Done), "{report}");
    let refused = runner().select(Selection::all().workflow("order"));
    // The tool and a service say it before the run.
    for (runner, why) in [(&names, None), (&refused, Some(NO_DECODER))] {
        let plan = runner.plan().unwrap();
        let forecast = runner.forecast(runner.run_options(), &plan, None, 5).await;
        let forecast = forecast.unwrap();
        assert_eq!(forecast.refused.as_deref(), why);
    }
    assert_runs_are_refused(&[refused.run().await], &[NO_DECODER]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resume_with_a_migration_without_a_decoder_is_refused() {
    let store = MemoryStore::new();
    fill(&store).await;
    let runner = MigrationRunner::new(SaysHow, store.clone(), store.clone());
    runner.control().cancel();
    let cancelled = runner.run().await;
    assert_eq!(cancelled.state, Some(RunState::Cancelled), "{cancelled}");
    let runner = MigrationRunner::new(HandWritten, store.clone(), store.clone());
    let resumed = runner.resume(cancelled.run.unwrap()).await;
    assert_eq!(counts(&resumed), (0, 1, 0), "{resumed}");
    assert!(resumed.errors[0].message.contains(NO_DECODER), "{resumed}");
    assert_none_has_moved(&store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_is_opened_is_read_back_as_the_version_that_is_opened() {
    let (class, reason) = (
        FailureClass::ReadsBackDifferently,
        "\"/lines/1/price\" is lost; correct",
    );
    assert_none_is_opened::<Lossy, _>(|| HandWritten, class, reason).await;
}

/// A hand-written migration without a decoder, whose states can be read.
struct Readable;

static READABLE: WorkflowId = WorkflowId::of::<OrderV2>();

impl StateMigration for Readable {
    type FromWorkflow = OrderV1;
    type ToWorkflow = OrderV2;
    fn source_workflow_id(&self) -> &WorkflowId {
        &V1
    }
    fn target_workflow_id(&self) -> &WorkflowId {
        &READABLE
    }
    fn migrate(&self, old: StateV1) -> Result<StateV2, ConversionError> {
        Ok(order_v1_to_v2(old))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_is_opened_by_a_migration_without_a_decoder() {
    let store = MemoryStore::new();
    fill(&store).await;
    let runner = MigrationRunner::new(Readable, store.clone(), store.clone());
    for order in identities::<OrderV2>() {
        let migrated = runner.open::<OrderV2>(order.clone()).await.unwrap();
        let again = Process::<OrderV2>::open(order, store.clone(), store.clone()).await;
        assert_eq!(again.unwrap().state(), migrated.state());
    }
}

/// As [`HandWritten`], with a declaration of how its state is read.
struct SaysHow;

impl StateMigration for SaysHow {
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
    fn decoder(&self) -> Option<Decoder> {
        Some(Decoder::for_state::<Lines>())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hand_written_migration_is_checked_where_it_says_how_its_state_is_read() {
    assert_all_fail(&dry_runs(|| SaysHow).await, "\"/lines/1/price\" is lost");
    let (report, store) = run_event_first(SaysHow).await;
    assert_all_fail(&[report], "\"/lines/1/price\" is lost");
    assert_none_has_moved(&store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hand_written_migration_is_checked_where_another_one_reads_its_state() {
    let reports = dry_runs(|| {
        let again = IdentityMigration::<Invoice>::new(
            WorkflowId::of::<Invoice>(),
            WorkflowId::new("invoice", "v2"),
        );
        let registry = MigrationRegistry::builder().with(HandWritten).with(again);
        registry.build().unwrap()
    })
    .await;
    assert_all_fail(&reports, "\"/lines/1/price\" is lost");
}

#[state_migration(from = Lossy, to = OrderV1, undo)]
fn leads_back(_: Lines) -> StateV1 {
    StateV1::default()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hand_written_migration_is_checked_where_one_leads_back() {
    let reports = dry_runs(|| {
        let registry = MigrationRegistry::builder().with(HandWritten);
        registry.with(LeadsBackMigration).build().unwrap()
    })
    .await;
    assert_all_fail(&reports, "\"/lines/1/price\" is lost");
}

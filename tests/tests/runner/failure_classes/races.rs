//! Others write while a run is between reading and committing a process.

use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};
use state_migration::{
    Baseline, CommitMode, ConversionError, Decoder, EventId, EventPayload, EventStore,
    ExpectedSequence, FailureClass, IdentityMigration, MIGRATED, MigrationRunner, NewEvent,
    ProcessRegistry, RegistryKey, Runs, Stage, StateMigration, Workflow, WorkflowId,
};
use state_migration_tests::orders::{
    self, OrderEvent, OrderV1, OrderV1ToV2Migration, OrderV2, StateV1, StateV2, identity,
};

use crate::failure_classes::fixture::{Failure, World, event, expect, in_both_forms, stream};

in_both_forms![
    an_event_appended_between_reading_and_committing_is_part_of_the_migrated_state,
    an_event_appended_to_a_large_process_in_between_is_part_of_the_migrated_state,
    an_event_appended_while_events_are_folded_is_part_of_the_migrated_state,
    a_process_that_others_always_write_to_is_reported_as_busy,
    a_large_process_that_others_always_write_to_is_reported_as_busy,
    a_process_that_is_held_in_the_last_attempt_is_skipped,
    a_large_process_that_is_held_in_the_last_attempt_is_skipped,
    processes_that_others_come_by_again_and_again_are_migrated_between_two_writes,
    a_key_registered_between_reading_and_committing_moves_with_its_process,
    of_two_runs_at_once_only_one_migrates_a_process,
];

/// The order that somebody else writes to.
const BUSY: u64 = 3;

/// How often a run tries to migrate a process that others write to.
const ATTEMPTS: usize = 16;

/// What it was placed for, by which the conversion knows it.
const EURO: u64 = 4_000;

static V1: WorkflowId = WorkflowId::of::<OrderV1>();
static V2: WorkflowId = WorkflowId::of::<OrderV2>();

type Meddling = Arc<dyn Fn() + Send + Sync>;

/// Asynchronous work as a plain function, done when it returns.
fn blocking(work: impl AsyncFn() + Send + Sync + 'static) -> Meddling {
    let (runtime, work) = (tokio::runtime::Handle::current(), Arc::new(work));
    Arc::new(move || {
        let (runtime, work) = (runtime.clone(), work.clone());
        // On a thread of its own: user code may be called where no runtime
        // can be entered.
        let done = std::thread::spawn(move || runtime.block_on(work())).join();
        done.expect("the meddling succeeds");
    })
}

/// A migration from v1 to v2 with a side effect at the conversion of the busy order, or
/// of each order. `times` limits how often the side effect happens.
#[derive(Clone)]
struct Meddle {
    times: Arc<AtomicUsize>,
    of: Option<u64>,
    with: Arc<dyn Fn(u64) + Send + Sync>,
}

impl Meddle {
    fn new(times: usize, with: impl AsyncFn() + Send + Sync + 'static) -> Self {
        let with = blocking(with);
        Self {
            times: Arc::new(AtomicUsize::new(times)),
            of: Some(EURO),
            with: Arc::new(move |_| with()),
        }
    }

    /// Appends an event to the order after the converted one if that order is at v1, so
    /// that a process of the same chunk changes during the conversion.
    fn with_the_next(world: &World) -> Self {
        let (events, crowd) = (world.events.clone(), world.crowd());
        let runtime = tokio::runtime::Handle::current();
        let with = move |euro: u64| {
            let next = stream((euro - EURO + 1) % crowd);
            let (runtime, events) = (runtime.clone(), events.clone());
            let write = async move {
                let head = events.head(&next).await.unwrap().unwrap();
                if head.workflow_id == V1 {
                    let paid = NewEvent::of::<OrderV1>(&OrderEvent::Paid { euro: 1 }).unwrap();
                    let expected = ExpectedSequence::Exact(head.sequence);
                    // The run may have been faster.
                    drop(events.append(&next, expected, vec![paid]).await);
                }
            };
            let done = std::thread::spawn(move || runtime.block_on(write)).join();
            done.expect("the write ends");
        };
        Self {
            times: Arc::new(AtomicUsize::new(usize::MAX)),
            of: None,
            with: Arc::new(with),
        }
    }

    /// Appends an event that pays one euro, to the end of the busy order.
    fn paying(times: usize, world: &World, event_id: Option<EventId>) -> Self {
        let events = world.events.clone();
        Self::new(times, async move || {
            let paid = NewEvent::of::<OrderV1>(&OrderEvent::Paid { euro: 1 }).unwrap();
            let paid = paid.with_event_id(event_id.unwrap_or_else(EventId::random));
            let head = events.head(&stream(BUSY)).await.unwrap().unwrap();
            let expected = ExpectedSequence::Exact(head.sequence);
            events
                .append(&stream(BUSY), expected, vec![paid])
                .await
                .unwrap();
        })
    }
}

impl StateMigration for Meddle {
    type FromWorkflow = OrderV1;
    type ToWorkflow = OrderV2;

    fn source_workflow_id(&self) -> &WorkflowId {
        &V1
    }

    fn target_workflow_id(&self) -> &WorkflowId {
        &V2
    }

    fn migrate(&self, old: StateV1) -> Result<StateV2, ConversionError> {
        let less = |times: usize| times.checked_sub(1);
        if self.of.is_none_or(|of| old.euro == of)
            && self
                .times
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, less)
                .is_ok()
        {
            (self.with)(old.euro);
        }
        Ok(orders::order_v1_to_v2(old))
    }

    fn decoder(&self) -> Option<Decoder> {
        Some(Decoder::for_state::<StateV2>())
    }
}

/// The orders without a concurrent writer.
fn others(world: &World) -> impl Iterator<Item = u64> + use<> {
    (0..world.crowd()).filter(|n| *n != BUSY)
}

/// Places orders. The busy order has a price of its own.
async fn place(world: &World) {
    world.place(others(world)).await;
    let placed = NewEvent::of::<OrderV1>(&OrderEvent::Placed { euro: EURO }).unwrap();
    world.append(&stream(BUSY), vec![placed]).await;
}

/// The same, but the busy order does not fit into a chunk.
async fn place_large(world: &World) {
    world.place(others(world)).await;
    let words = "x".repeat(450);
    let payload = format!(r#"{{"Placed":{{"euro":2,"words":"{words}"}}}}"#);
    let events = (0..EURO / 2).map(|_| event::<OrderV1>("OrderPlaced", 1, payload.clone()));
    world.append(&stream(BUSY), events.collect()).await;
}

async fn the_others_are_at_v2(world: &World) {
    for n in others(world) {
        let expected = orders::order_v1_to_v2(orders::folded::<OrderV1>(n));
        assert_eq!(world.load::<OrderV2>(n).await.unwrap(), expected);
    }
}

fn paid(times: i64) -> StateV2 {
    StateV2 {
        cents: EURO * 100,
        open_cents: 400_000 - 100 * times,
        closed: false,
    }
}

/// Two appends come in between, one after the other, and neither is lost.
async fn nothing_is_lost(world: &World) {
    let placed = world.head(&stream(BUSY)).await.sequence;
    let id = EventId::random();
    let meddle = Meddle::paying(1, world, Some(id));
    let report = world.checked(world.runner(meddle.clone()).run().await);
    expect(&report, others(world).count() + 1, &[]);
    assert_eq!(meddle.times.load(Ordering::SeqCst), 0);

    let events = world.all_events(&stream(BUSY)).await;
    assert_eq!(events.len() as u64, placed + 2);
    let at: Vec<_> = events
        .iter()
        .filter(|e| e.event_id == id)
        .map(|e| e.sequence)
        .collect();
    assert_eq!(at, [placed + 1]);
    assert_eq!(events.last().unwrap().event_type, MIGRATED);
    assert_eq!(world.load::<OrderV2>(BUSY).await.unwrap(), paid(1));
    the_others_are_at_v2(world).await;
}

async fn an_event_appended_between_reading_and_committing_is_part_of_the_migrated_state(
    world: World,
) {
    place(&world).await;
    nothing_is_lost(&world).await;
}

async fn an_event_appended_to_a_large_process_in_between_is_part_of_the_migrated_state(
    world: World,
) {
    place_large(&world).await;
    nothing_is_lost(&world).await;
}

/// An entry of a diary; one of them may make something else happen when it is
/// folded for the first time.
#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    lines: u64,
    then: Option<usize>,
    words: String,
}

/// What happens then, by number: all that a workflow can get at is static.
static THEN: Mutex<Vec<Option<Meddling>>> = Mutex::new(Vec::new());

impl EventPayload for Entry {
    fn event_type(&self) -> &'static str {
        "Written"
    }
}

#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
struct Diary {
    lines: u64,
}

struct DiaryV1;

impl Workflow for DiaryV1 {
    const NAME: &'static str = "diary";
    const VERSION: &'static str = "v1";
    type State = Diary;
    type Event = Entry;

    fn apply(diary: Diary, entry: &Entry) -> Diary {
        let then = entry.then.and_then(|n| THEN.lock().unwrap()[n].take());
        if let Some(then) = then {
            then();
        }
        Diary {
            lines: diary.lines + entry.lines,
        }
    }
}

async fn an_event_appended_while_events_are_folded_is_part_of_the_migrated_state(world: World) {
    // One that fits into a chunk and two that do not, of two pages and of more.
    for (n, entries) in [(0, 3), (1, 600), (2, 1_500)] {
        let entry = |lines, then| {
            let words = "x".repeat(1_000);
            NewEvent::of::<DiaryV1>(&Entry { lines, then, words }).unwrap()
        };
        let (events, late) = (world.events.clone(), entry(1_000_000, None));
        let then = blocking(async move || {
            let expected = ExpectedSequence::Exact(entries);
            let stream = stream(n);
            let appended = events.append(&stream, expected, vec![late.clone()]);
            assert_eq!(appended.await.unwrap().last_sequence, entries + 1);
        });
        let number = {
            let mut all = THEN.lock().unwrap();
            all.push(Some(then));
            all.len() - 1
        };
        let mut written: Vec<_> = (1..entries).map(|_| entry(1, None)).collect();
        written.push(entry(1, Some(number)));
        world.append(&stream(n), written).await;

        let [from, to] = ["v1", "v2"].map(|version| WorkflowId::new("diary", version));
        let migration = IdentityMigration::<DiaryV1>::new(from, to);
        expect(&world.checked(world.runner(migration).run().await), 1, &[]);
        assert!(THEN.lock().unwrap()[number].is_none());
        let events = world.all_events(&stream(n)).await;
        assert_eq!(events.len() as u64, entries + 2);
        let baseline = Baseline::from_event(events.last().unwrap()).unwrap();
        let expected = format!(r#"{{"lines":{}}}"#, 1_000_000 + entries);
        assert_eq!(baseline.state.get(), expected);
    }
}

/// A run makes this many attempts at most for each page that the process is part of.
async fn it_is_reported_as_busy(world: &World, attempts: RangeInclusive<usize>) {
    let placed = world.head(&stream(BUSY)).await.sequence;
    // More appends than a run has attempts, but not without limit: a run without a
    // retry bound migrates the process in the end.
    const TIMES: usize = 400;
    let meddle = Meddle::paying(TIMES, world, None);
    let runner = world.runner(meddle.clone());
    let busy = Failure::of(
        BUSY,
        Stage::Committing,
        "the process is busy: gave up after 16 conflicts with concurrent writes; retry later",
    );
    for migrated in [others(world).count(), 0] {
        let report = world.checked(runner.run().await);
        expect(&report, migrated, std::slice::from_ref(&busy));
        the_others_are_at_v2(world).await;
    }
    // What the others wrote is all there, and the process runs as before.
    let written = TIMES - meddle.times.load(Ordering::SeqCst);
    let attempts = 2 * attempts.start()..=2 * attempts.end();
    assert!(attempts.contains(&written), "{written} attempts");
    let head = world.head(&stream(BUSY)).await;
    assert_eq!(head.workflow_id, V1);
    assert_eq!(head.sequence, placed + written as u64);
    let expected = StateV1 {
        euro: EURO,
        paid_euro: written as u64,
        closed: false,
    };
    assert_eq!(world.load::<OrderV1>(BUSY).await.unwrap(), expected);

    meddle.times.store(0, Ordering::SeqCst);
    expect(&runner.run().await, 1, &[]);
    let written = i64::try_from(written).unwrap();
    assert_eq!(world.load::<OrderV2>(BUSY).await.unwrap(), paid(written));
}

async fn a_process_that_others_always_write_to_is_reported_as_busy(world: World) {
    place(&world).await;
    // A page of many processes becomes smaller with each conflict.
    it_is_reported_as_busy(&world, ATTEMPTS..=100).await;
}

async fn a_large_process_that_others_always_write_to_is_reported_as_busy(world: World) {
    place_large(&world).await;
    it_is_reported_as_busy(&world, ATTEMPTS..=ATTEMPTS).await;
}

/// An operator holds the busy order while its conversion is tried for the last time.
async fn it_is_skipped_as_held(world: &World, others: usize) {
    let (events, tries) = (world.events.clone(), AtomicUsize::new(0));
    let meddle = Meddle::new(usize::MAX, async move || {
        if tries.fetch_add(1, Ordering::SeqCst) + 1 == ATTEMPTS {
            let runs = Runs::of(&events).unwrap();
            runs.hold(&stream(BUSY), "ann", "in court").await.unwrap();
            return;
        }
        let paid = NewEvent::of::<OrderV1>(&OrderEvent::Paid { euro: 1 }).unwrap();
        let head = events.head(&stream(BUSY)).await.unwrap().unwrap();
        let expected = ExpectedSequence::Exact(head.sequence);
        events
            .append(&stream(BUSY), expected, vec![paid])
            .await
            .unwrap();
    });
    let report = world.checked(world.runner(meddle.clone()).run().await);
    expect(&report, others, &[]);
    assert_eq!((report.skipped_by.held, report.large), (1, 0), "{report}");
    assert_eq!(usize::MAX - meddle.times.load(Ordering::SeqCst), ATTEMPTS);
    let head = world.head(&stream(BUSY)).await;
    assert!(head.held && head.workflow_id == V1);
}

async fn a_process_that_is_held_in_the_last_attempt_is_skipped(world: World) {
    let placed = NewEvent::of::<OrderV1>(&OrderEvent::Placed { euro: EURO }).unwrap();
    world.append(&stream(BUSY), vec![placed]).await;
    it_is_skipped_as_held(&world, 0).await;
}

async fn a_large_process_that_is_held_in_the_last_attempt_is_skipped(world: World) {
    place_large(&world).await;
    it_is_skipped_as_held(&world, others(&world).count()).await;
}

async fn processes_that_others_come_by_again_and_again_are_migrated_between_two_writes(
    world: World,
) {
    let all = 0..world.crowd();
    for n in all.clone() {
        let euro = EURO + n;
        let placed = NewEvent::of::<OrderV1>(&OrderEvent::Placed { euro }).unwrap();
        world.append(&stream(n), vec![placed]).await;
    }
    let meddle = Meddle::with_the_next(&world);
    let report = world.checked(world.runner(meddle).run().await);
    expect(&report, all.clone().count(), &[]);
    for n in all {
        // Whatever was appended to it is part of its state.
        let events = world.all_events(&stream(n)).await;
        let open = EURO + n + 2 - events.len() as u64;
        let order = world.load::<OrderV2>(n).await.unwrap();
        assert_eq!(order.open_cents, 100 * i64::try_from(open).unwrap(), "{n}");
    }
}

async fn a_key_registered_between_reading_and_committing_moves_with_its_process(world: World) {
    place(&world).await;
    let key = RegistryKey::from_correlation(orders::id::<state_migration::CorrelationId>("late"));
    let (registry, late) = (world.registry.clone(), key.clone());
    let meddle = Meddle::new(1, async move || {
        let entry = identity::<OrderV1>(BUSY);
        registry
            .register(&orders::tenant(), &late, &entry)
            .await
            .unwrap();
    });
    let report = world.runner(meddle.clone()).run().await;
    expect(&report, others(&world).count() + 1, &[]);
    assert_eq!(meddle.times.load(Ordering::SeqCst), 0);
    let entry = world
        .registry
        .lookup(&orders::tenant(), &key)
        .await
        .unwrap();
    assert_eq!(entry, Some(identity::<OrderV2>(BUSY)));
    assert_eq!(world.load::<OrderV2>(BUSY).await.unwrap(), paid(0));
}

async fn of_two_runs_at_once_only_one_migrates_a_process(world: World) {
    place(&world).await;
    let (events, snapshots) = (world.events.clone(), world.snapshots.clone());
    let other = MigrationRunner::new(OrderV1ToV2Migration, events, snapshots);
    let by_the_other = Arc::new(Mutex::new(None));
    let told = by_the_other.clone();
    let meddle = Meddle::new(1, async move || {
        *told.lock().unwrap() = Some(other.run().await);
    });
    let report = world.runner(meddle.clone()).run().await;
    assert_eq!(meddle.times.load(Ordering::SeqCst), 0);
    let all = others(&world).count() + 1;
    let other = by_the_other.lock().unwrap().take().unwrap();
    if world.form == CommitMode::OneTransaction {
        // The store is the first one's.
        assert_eq!((other.migrated, other.error_count), (0, 1), "{other}");
        let holder = report.run.unwrap();
        let refusal = &other.errors[0];
        assert_eq!(refusal.class, FailureClass::Run);
        assert_eq!(
            refusal.message,
            format!(
                "run {holder} claims the store; wait until that run has ended, or take over the store if its program is dead"
            )
        );
        expect(&report, all, &[]);
    } else {
        assert!(other.is_ok() && other.migrated > 0, "{other}");
        expect(&report, all - other.migrated, &[]);
    }
    for n in 0..world.crowd() {
        let events = world.all_events(&stream(n)).await;
        let migrations = events.iter().filter(|e| e.event_type == MIGRATED).count();
        assert_eq!(migrations, 1, "order {n}");
    }
    assert_eq!(world.load::<OrderV2>(BUSY).await.unwrap(), paid(0));
    the_others_are_at_v2(&world).await;
}

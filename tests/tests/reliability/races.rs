//! Appends that race with the migration of their process: ten thousand in the full
//! size, two thousand at the gate.

use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use state_migration::{
    ConversionError, Decoder, ErrorKind, EventStore, MIGRATED, MigrationRunner, Process, RunState,
    SlateDbStore, StateMigration, Workflow, WorkflowId,
};
use state_migration_tests::orders::{
    self, OrderEvent, OrderV1, OrderV2, StateV1, StateV2, identity, load,
};
use state_migration_tests::size::size;
use state_migration_tests::stores::OnDisk;
use tokio::sync::oneshot;

/// Stores that are raced in at one time; a run waits for the disk for half of its time.
const STORES: u64 = 2;
const RUNS: u64 = 5;

/// How many orders a run has.
fn each() -> u64 {
    size(200, 1_000)
}

/// How many races of each kind must be seen, of a hundred.
const AT_LEAST: usize = 10;

/// The first payment of every racing append; no order is paid so much before.
const LATE: u64 = 1_000;

static V1: WorkflowId = WorkflowId::of::<OrderV1>();
static V2: WorkflowId = WorkflowId::of::<OrderV2>();

/// When an append landed, as the migration of its process saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Before the process was read.
    Before,
    /// Between reading and committing: the migration was tried again.
    Between,
    /// After the migration, so that it was refused.
    After,
}

/// An append that is made while the conversion runs for the first time.
struct Held {
    go: oneshot::Sender<()>,
    done: mpsc::Receiver<()>,
}

/// One order, as its race goes.
#[derive(Default)]
struct Race {
    /// Of each call of the conversion, whether the append was part of the state.
    saw: Mutex<Vec<bool>>,
    held: Mutex<Option<Held>>,
}

/// From v1 to v2, with an eye on every order of one run.
#[derive(Clone)]
struct Watched {
    first: u64,
    races: Arc<Vec<Race>>,
}

impl StateMigration for Watched {
    type FromWorkflow = OrderV1;
    type ToWorkflow = OrderV2;

    fn source_workflow_id(&self) -> &WorkflowId {
        &V1
    }

    fn target_workflow_id(&self) -> &WorkflowId {
        &V2
    }

    fn migrate(&self, old: StateV1) -> Result<StateV2, ConversionError> {
        // What an order was placed for says which one it is.
        let race = &self.races[usize::try_from(old.euro - 1 - self.first).unwrap()];
        race.saw.lock().unwrap().push(old.paid_euro >= LATE);
        let held = race.held.lock().unwrap().take();
        if let Some(Held { go, done }) = held {
            go.send(()).unwrap();
            done.recv().unwrap();
        }
        Ok(orders::order_v1_to_v2(old))
    }

    fn decoder(&self) -> Option<Decoder> {
        Some(Decoder::for_state::<StateV2>())
    }
}

/// Numbers that are the same in every run of the test (splitmix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

/// What is known of an order without its store: the events acknowledged, and
/// how many of them under v1.
struct Model {
    n: u64,
    events: Vec<OrderEvent>,
    under_v1: usize,
    kind: Kind,
    free: bool,
}

impl Model {
    /// What was ordered and paid, counted in euro up to the migration and in
    /// cents from there on.
    fn state(&self) -> StateV2 {
        let (mut ordered, mut paid, mut closed) = (0, 0, false);
        for event in &self.events {
            match event {
                OrderEvent::Placed { euro } => ordered += euro * 100,
                OrderEvent::Paid { euro } => paid += euro * 100,
                OrderEvent::Closed => closed = true,
            }
        }
        StateV2 {
            cents: ordered,
            open_cents: i64::try_from(ordered).unwrap() - i64::try_from(paid).unwrap(),
            closed,
        }
    }
}

/// The events with which order `n` starts; it ends up in no other state than this.
fn start(n: u64) -> Vec<OrderEvent> {
    let mut events = vec![OrderEvent::Placed { euro: n + 1 }];
    events.extend((0..n % 4).map(|_| OrderEvent::Paid { euro: 1 }));
    events
}

/// One to three events, of which the last may end the order.
fn late(n: u64) -> Vec<OrderEvent> {
    let mut events = vec![OrderEvent::Paid { euro: LATE + n }];
    events.extend((0..n % 2).map(|_| OrderEvent::Paid { euro: 2 }));
    if n.is_multiple_of(11) {
        events.push(OrderEvent::Closed);
    }
    events
}

async fn open<W>(store: &SlateDbStore, n: u64) -> Process<W>
where
    W: Workflow<State: serde::de::DeserializeOwned>,
{
    let opened = Process::<W>::open(identity::<W>(n), store.clone(), store.clone());
    opened.await.unwrap()
}

/// When a writer appends.
enum When {
    /// So long after the run began.
    At(Instant),
    /// When the conversion runs.
    Told(oneshot::Receiver<()>, mpsc::Sender<()>),
}

/// A writer that has loaded its order under v1, and appends to it; under v2
/// when it is told that the order has moved there. Returns whether it was.
async fn write(store: SlateDbStore, mut order: Process<OrderV1>, n: u64, when: When) -> bool {
    let done = match when {
        When::At(at) => {
            tokio::time::sleep_until(at.into()).await;
            None
        }
        When::Told(go, done) => {
            go.await.unwrap();
            Some(done)
        }
    };
    let sequence = order.sequence();
    let appended = order.append(&late(n)).await;
    if let Some(done) = done {
        done.send(()).unwrap();
    }
    let Err(refused) = appended else { return false };
    assert_eq!(*refused.kind(), ErrorKind::Migrated { to: V2.clone() });
    assert_eq!(order.sequence(), sequence, "it is as it was loaded");
    let mut order = open::<OrderV2>(&store, n).await;
    order.append(&late(n)).await.unwrap();
    true
}

/// One run over the orders from `first` on, with a concurrent append to each order.
/// `length` is the approximate duration of a run.
async fn run(
    store: &SlateDbStore,
    first: u64,
    random: &mut Random,
    length: &mut Duration,
) -> Vec<Model> {
    let numbers = first..first + each();
    let opened = numbers.clone().map(|n| {
        let store = store.clone();
        tokio::spawn(async move {
            let mut order = open::<OrderV1>(&store, n).await;
            order.append(&start(n)).await.unwrap();
            order
        })
    });
    let mut loaded = Vec::new();
    for order in opened.collect::<Vec<_>>() {
        loaded.push(order.await.unwrap());
    }
    let races: Arc<Vec<Race>> = Arc::new(numbers.clone().map(|_| Race::default()).collect());
    // Some more than half of the writers are done when the run is.
    let began = Instant::now() + Duration::from_millis(5);
    let span = u64::try_from(length.as_micros()).unwrap() * 5 / 4;
    let mut writers = Vec::new();
    for (race, (n, order)) in races.iter().zip(numbers.zip(loaded)) {
        let free = random.below(100) < 85;
        let at = began + Duration::from_micros(random.below(span));
        let when = if free {
            When::At(at)
        } else {
            let (go, told) = oneshot::channel();
            let (finished, done) = mpsc::channel();
            *race.held.lock().unwrap() = Some(Held { go, done });
            When::Told(told, finished)
        };
        let written = tokio::spawn(write(store.clone(), order, n, when));
        writers.push((n, free, written));
    }
    tokio::time::sleep_until(began.into()).await;
    let watched = Watched {
        first,
        races: races.clone(),
    };
    let report = MigrationRunner::new(watched, store.clone(), store.clone())
        .chunk_processes(25)
        .run()
        .await;
    *length = began.elapsed();
    assert_eq!((report.error_count, report.warning_count), (0, 0));
    assert_eq!(report.state, Some(RunState::Done));

    let mut models = Vec::new();
    for (race, (n, free, written)) in races.iter().zip(writers) {
        let refused = written.await.unwrap();
        let saw = race.saw.lock().unwrap();
        let kind = match (refused, saw.first().unwrap(), saw.last().unwrap()) {
            (false, true, true) => Kind::Before,
            (false, false, true) => Kind::Between,
            (true, false, false) => Kind::After,
            other => panic!("order {n}: {other:?}, the conversion saw {saw:?}"),
        };
        let (mut events, late) = (start(n), late(n));
        let mut under_v1 = events.len();
        if !refused {
            under_v1 += late.len();
        }
        events.extend(late);
        models.push(Model {
            n,
            events,
            under_v1,
            kind,
            free,
        });
    }
    let models = Arc::new(models);
    let parts = (0..4).map(|part| {
        let (store, models) = (store.clone(), models.clone());
        tokio::spawn(async move {
            for model in models.iter().skip(part).step_by(4) {
                is_as_expected(&store, model).await;
            }
        })
    });
    for part in parts.collect::<Vec<_>>() {
        part.await.unwrap();
    }
    Arc::into_inner(models).unwrap()
}

/// Every event that was acknowledged is there once, in order, and the state is
/// what they add up to.
async fn is_as_expected(store: &SlateDbStore, model: &Model) {
    let n = model.n;
    let stream = identity::<OrderV2>(n).stream_id().clone();
    let found = store.read_all(&stream, 0, 1_000).await.unwrap();
    let mut expected: Vec<_> = model
        .events
        .iter()
        .map(|event| Some(serde_json::to_string(event).unwrap()))
        .collect();
    expected.insert(model.under_v1, None);
    let payload = |event: &state_migration::Event| {
        let payload = String::from_utf8(event.payload.to_vec()).unwrap();
        (event.event_type != MIGRATED).then_some(payload)
    };
    let payloads: Vec<_> = found.iter().map(payload).collect();
    assert_eq!(payloads, expected, "order {n}, {:?}", model.kind);
    for (at, event) in found.iter().enumerate() {
        assert_eq!(event.sequence, at as u64 + 1);
        let version = if at < model.under_v1 { &V1 } else { &V2 };
        assert_eq!(event.workflow_id, *version, "order {n}");
    }
    let state = load::<OrderV2, _>(store, n).await.unwrap();
    assert_eq!(state, model.state(), "order {n}, {:?}", model.kind);
}

/// Several runs in a store of their own, and an append to each order after them.
async fn races(seed: u64) -> (OnDisk, Vec<Model>) {
    let disk = OnDisk::new().await.unwrap();
    let (mut random, mut length) = (Random(seed), Duration::from_millis(300));
    let mut models = Vec::new();
    for round in 0..RUNS {
        models.extend(run(&disk, round * each(), &mut random, &mut length).await);
    }
    for model in models.iter_mut().step_by(100) {
        let event = OrderEvent::Paid { euro: 5 };
        let mut order = open::<OrderV2>(&disk, model.n).await;
        order.append(std::slice::from_ref(&event)).await.unwrap();
        model.events.push(event);
    }
    (disk, models)
}

// Seen to fail with a chunk that begins its transaction when it commits, not
// when it reads: then an event that was appended in between is overwritten.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn races_of_append_against_migrate_lose_nothing() {
    let raced = (0..STORES).map(|store| tokio::spawn(races(42 + store)));
    let (mut disks, mut models) = (Vec::new(), Vec::new());
    for raced in raced.collect::<Vec<_>>() {
        let (disk, of_disk) = raced.await.unwrap();
        disks.push((disk, models.len()));
        models.extend(of_disk);
    }
    let races = STORES * RUNS * each();
    assert_eq!(models.len() as u64, races);
    let count = |kind, free: Option<bool>| {
        let of_kind = models.iter().filter(|model| model.kind == kind);
        of_kind
            .filter(|model| free.is_none_or(|free| model.free == free))
            .count()
    };
    for kind in [Kind::Before, Kind::Between, Kind::After] {
        let (all, free) = (count(kind, None), count(kind, Some(true)));
        eprintln!("{kind:?}: {all}, of which {free} with unforced timing");
        assert!(all * 100 >= models.len() * AT_LEAST, "{kind:?}: {all}");
        assert!(free > 0, "{kind:?}");
    }
    // A held append comes between reading and committing, and nowhere else.
    assert_eq!(count(Kind::Before, Some(false)), 0);
    assert_eq!(count(Kind::After, Some(false)), 0);

    for (disk, first) in disks {
        let disk = disk.reopen().await.unwrap();
        let of_disk = models[first..]
            .iter()
            .take((RUNS * each()).try_into().unwrap());
        for model in of_disk.step_by(20) {
            is_as_expected(&disk, model).await;
        }
    }
}

//! Stores to measure on: the same for the same seed, written row by row in the
//! order in which events would come in, and copied before each measurement.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use fastrand::Rng;
use slatedb::WriteBatch;
use slatedb::admin::Admin;
use slatedb::config::{
    FlushOptions, FlushType, GarbageCollectorDirectoryOptions, GarbageCollectorOptions,
};
use slatedb::object_store::ObjectStore;
use slatedb::object_store::local::LocalFileSystem;
use slatedb::object_store::memory::InMemory;
use slatedb::object_store::throttle::{ThrottleConfig, ThrottledStore};
use state_migration::{
    EventPayload, ExpectedSequence, NewEvent, ProcessId, ProcessIdentity, ProcessRegistry,
    RegistryKey, SlateDbStore, SlateDbStoreBuilder, StreamId, TenantId, Workflow, WorkflowId,
};

use crate::family::{Event, Family, Order, id};
use crate::layout;

const SEED: u64 = 0x5eed;

/// Rows that are written at a time.
const BATCH: usize = 2_000;

/// How processes are made.
#[derive(Clone, Copy)]
pub struct Shape {
    pub processes: usize,
    pub events: u64,
    /// The last event that a snapshot covers, if there is to be one.
    pub snapshot_at: Option<u64>,
    /// Where the process of a number stands.
    pub stands_at: fn(usize) -> (usize, usize),
}

impl Shape {
    pub fn new(processes: usize) -> Self {
        Self {
            processes,
            events: 10,
            snapshot_at: None,
            stands_at: |_| (0, 0),
        }
    }
}

/// Where a store is.
#[derive(Clone)]
pub enum Place {
    Folder(PathBuf),
    /// In memory, with the time that each request takes.
    Memory(InMemory, Duration),
}

impl Place {
    pub fn builder(&self) -> SlateDbStoreBuilder {
        match self {
            Self::Folder(folder) => SlateDbStore::local_builder(folder).expect("a folder"),
            Self::Memory(..) => SlateDbStore::builder("store", self.object_store()),
        }
    }

    pub async fn open(&self) -> SlateDbStore {
        self.builder().open().await.expect("a store")
    }

    /// What is under the store.
    pub fn object_store(&self) -> Arc<dyn ObjectStore> {
        match self {
            Self::Folder(folder) => {
                let files = LocalFileSystem::new_with_prefix(folder).expect("a folder");
                Arc::new(files.with_fsync(true))
            }
            Self::Memory(memory, latency) if latency.is_zero() => Arc::new(memory.clone()),
            Self::Memory(memory, latency) => {
                let config = ThrottleConfig {
                    wait_delete_per_call: *latency,
                    wait_get_per_call: *latency,
                    wait_list_per_call: *latency,
                    wait_list_with_delimiter_per_call: *latency,
                    wait_put_per_call: *latency,
                    ..ThrottleConfig::default()
                };
                Arc::new(ThrottledStore::new(memory.clone(), config))
            }
        }
    }

    pub fn path(&self) -> &'static str {
        match self {
            Self::Folder(_) => "",
            Self::Memory(..) => "store",
        }
    }

    /// The same data at a new place. SlateDB never changes a file that is
    /// written, so the files are linked and not copied.
    pub fn copy(&self) -> Copy {
        match self {
            Self::Folder(folder) => {
                let parent = folder.parent().expect("a parent");
                let copy = tempfile::tempdir_in(parent).expect("a folder");
                link_all(folder, copy.path());
                Copy {
                    place: Self::Folder(copy.path().to_owned()),
                    _folder: Some(copy),
                }
            }
            Self::Memory(memory, latency) => Copy {
                place: Self::Memory(memory.fork(), *latency),
                _folder: None,
            },
        }
    }

    pub fn with_latency(&self, latency: Duration) -> Self {
        match self {
            Self::Folder(_) => self.clone(),
            Self::Memory(memory, _) => Self::Memory(memory.clone(), latency),
        }
    }
}

/// A copy of a store, which goes when this does.
pub struct Copy {
    pub place: Place,
    _folder: Option<tempfile::TempDir>,
}

fn link_all(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            std::fs::create_dir_all(&target).expect("a folder");
            link_all(&entry.path(), &target);
        } else {
            std::fs::hard_link(entry.path(), target).expect("a link");
        }
    }
}

/// One process, as its number says.
pub struct Made {
    pub stream: String,
    pub tenant: String,
    pub process: String,
    pub at: WorkflowId,
}

fn made(rng: &mut Rng, number: usize, shape: &Shape) -> Made {
    let process = uuid::Builder::from_random_bytes(rng.u128(..).to_be_bytes())
        .into_uuid()
        .to_string();
    let tenant = format!("shop-{:02}", number % 20);
    let (family, version) = (shape.stands_at)(number);
    Made {
        stream: format!("process/{tenant}/{process}"),
        tenant,
        process,
        at: id(family, version),
    }
}

/// All processes of a store, by number.
pub fn processes(shape: &Shape) -> Vec<Made> {
    let mut rng = Rng::with_seed(SEED);
    (0..shape.processes)
        .map(|number| made(&mut rng, number, shape))
        .collect()
}

fn letters(rng: &mut Rng, count: usize) -> String {
    (0..count).map(|_| rng.lowercase()).collect()
}

fn time(sequence: u64) -> String {
    format!(
        "2026-{:02}-{:02}T08:{:02}:17.482Z",
        sequence % 12 + 1,
        sequence % 28 + 1,
        sequence % 60
    )
}

/// An event that fits its place in an order.
pub fn event(rng: &mut Rng, sequence: u64, of: u64) -> Event {
    if sequence == 1 {
        Event::Placed {
            order_number: format!("SO-2026-{:07}", rng.u32(0..10_000_000)),
            customer: format!("{} {}", letters(rng, 7), letters(rng, 9)),
            street: format!("{} Street {}", letters(rng, 12), rng.u8(1..200)),
            city: letters(rng, 9),
            country: "Germany".into(),
            currency: "EUR".into(),
            placed_at: time(sequence),
            channel: "web-shop".into(),
            remark: letters(rng, 40),
        }
    } else if sequence == of {
        Event::Paid {
            amount_cents: rng.u64(1_000..900_000),
            method: "bank transfer".into(),
            reference: format!("RF{:018}", rng.u64(0..1_000_000_000)),
            payer: format!("{} {}", letters(rng, 7), letters(rng, 9)),
            iban: format!("DE{:020}", rng.u64(..)),
            paid_at: time(sequence),
            received_at: time(sequence + 1),
            correlation_id: letters(rng, 36),
        }
    } else {
        Event::ItemAdded {
            sku: format!("SKU-{:08}", rng.u32(0..100_000_000)),
            description: letters(rng, 48),
            quantity: rng.u32(1..20),
            unit_price_cents: rng.u64(99..50_000),
            tax_rate: 0.19,
            warehouse: format!("WH-{}", letters(rng, 6)),
            added_by: format!("{}@example.com", letters(rng, 8)),
            added_at: time(sequence),
            correlation_id: letters(rng, 36),
        }
    }
}

/// Writes rows batch by batch.
struct Writer<'a> {
    db: &'a slatedb::Db,
    batch: WriteBatch,
    rows: usize,
}

impl<'a> Writer<'a> {
    fn new(db: &'a slatedb::Db) -> Self {
        Self {
            db,
            batch: WriteBatch::new(),
            rows: 0,
        }
    }

    async fn put(&mut self, key: Vec<u8>, value: Vec<u8>) {
        self.batch.put_bytes(key.into(), value.into());
        self.rows += 1;
        if self.rows == BATCH {
            self.write().await;
        }
    }

    async fn write(&mut self) {
        if self.rows > 0 {
            let batch = std::mem::take(&mut self.batch);
            self.db.write(batch).await.expect("a write");
            self.rows = 0;
        }
    }
}

/// Makes a store.
pub async fn make(place: &Place, shape: &Shape) {
    let began = Instant::now();
    let store = place
        .builder()
        .with_settings(|settings| {
            // Only so that the store is at rest soon after it is made.
            if let Some(compactor) = &mut settings.compactor_options {
                compactor.poll_interval = Duration::from_millis(200);
            }
        })
        .open()
        .await
        .expect("a store");
    write_all(store.db(), shape).await;
    settle(store.db()).await;
    store.close().await.expect("a close");
    remove_garbage(place).await;
    eprintln!(
        "  made {} processes of {} events in {:.1} s",
        shape.processes,
        shape.events,
        began.elapsed().as_secs_f64()
    );
}

async fn write_all(db: &slatedb::Db, shape: &Shape) {
    let all = processes(shape);
    let mut rng = Rng::with_seed(SEED + 1);
    let mut writer = Writer::new(db);
    let mut present = std::collections::BTreeSet::new();
    for sequence in 1..=shape.events {
        for made in &all {
            let Made {
                stream,
                tenant,
                process,
                at,
            } = made;
            if sequence == 1 {
                if present.insert(at.clone()) {
                    let key = layout::presence_key(at);
                    writer.put(key, layout::MARK.to_vec()).await;
                }
                let key = layout::version_key(at, stream);
                writer.put(key, layout::UNDECIDED.to_vec()).await;
                for (kind, with) in [('p', process.clone()), ('r', format!("order-{process}"))] {
                    let key = layout::entry_key(tenant, kind, &with);
                    writer.put(key, layout::entry(tenant, process, at)).await;
                    let key = layout::key_of_key(stream, kind, &with);
                    writer.put(key, layout::MARK.to_vec()).await;
                }
            }
            let event = event(&mut rng, sequence, shape.events);
            let payload = serde_json::to_vec(&event).expect("an event");
            let row = layout::event(rng.u128(..), sequence, at, event.event_type(), &payload);
            writer.put(layout::event_key(stream, sequence), row).await;
            let head = layout::head(sequence, at);
            writer.put(layout::head_key(stream), head).await;
            if shape.snapshot_at == Some(sequence) {
                // The state is of the right layout and size; what it says is not measured.
                let mut state = (1..=12).fold(Order::<0>::default(), |state, sequence| {
                    state.apply(&self::event(&mut rng, sequence, 12))
                });
                state.events = sequence;
                let state = serde_json::to_vec(&state).expect("a state");
                let schema = <Family<0, 0> as Workflow>::STATE_SCHEMA_VERSION;
                let row = layout::snapshot(sequence, schema, at, &state);
                writer.put(layout::snapshot_key(stream), row).await;
            }
        }
    }
    writer.write().await;
}

/// Waits until nothing is compacted any more, so that all measure the same.
async fn settle(db: &slatedb::Db) {
    let flush = FlushOptions {
        flush_type: FlushType::MemTable,
    };
    db.flush_with_options(flush).await.expect("a flush");
    let began = Instant::now();
    let mut last = (0, Instant::now());
    while began.elapsed() < Duration::from_secs(180) {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let manifest = db.manifest();
        if manifest.id() != last.0 || manifest.l0().len() >= 4 || manifest.compacted().len() >= 4 {
            last = (manifest.id(), Instant::now());
        }
        if last.1.elapsed() > Duration::from_millis(1_500) {
            return;
        }
    }
}

/// Removes the files that compactions have left behind, which are several times
/// as large as the store.
async fn remove_garbage(place: &Place) {
    let now = Some(GarbageCollectorDirectoryOptions {
        interval: None,
        min_age: Duration::ZERO,
        dry_run: false,
    });
    let options = GarbageCollectorOptions {
        manifest_options: now,
        wal_options: now,
        compacted_options: now,
        compactions_options: now,
        ..GarbageCollectorOptions::default()
    };
    let admin = Admin::builder(place.path(), place.object_store()).build();
    admin.run_gc_once(options).await.expect("a collection");
}

/// Checks that events and states are as large as they are said to be.
fn check_sizes() {
    const ORDERS: usize = 100;
    let mut rng = Rng::with_seed(SEED);
    let (mut events, mut states) = (0, 0);
    for _ in 0..ORDERS {
        let mut order = Order::<0>::default();
        for sequence in 1..=10 {
            let event = event(&mut rng, sequence, 10);
            events += serde_json::to_vec(&event).expect("an event").len();
            order = order.apply(&event);
        }
        states += serde_json::to_vec(&order).expect("a state").len();
    }
    let (event, state) = (events / ORDERS / 10, states / ORDERS);
    assert!((270..330).contains(&event), "{event} bytes for an event");
    assert!((540..660).contains(&state), "{state} bytes for a state");
}

/// Checks that what is written here is what the store itself writes, but for
/// ids and times of events.
pub async fn check() {
    check_sizes();
    let shape = Shape {
        stands_at: |number| (number % 3, 0),
        ..Shape::new(7)
    };
    let raw = Place::Memory(InMemory::new(), Duration::ZERO).open().await;
    write_all(raw.db(), &shape).await;
    let own = Place::Memory(InMemory::new(), Duration::ZERO).open().await;
    let mut rng = Rng::with_seed(SEED + 1);
    let all = processes(&shape);
    for sequence in 1..=shape.events {
        for made in &all {
            let stream = StreamId::new(&made.stream).expect("an id");
            let event = event(&mut rng, sequence, shape.events);
            rng.u128(..);
            let payload = serde_json::to_vec(&event).expect("an event");
            let event = NewEvent::new(made.at.clone(), event.event_type(), 1, payload);
            let expected = match sequence {
                1 => ExpectedSequence::NoStream,
                _ => ExpectedSequence::Exact(sequence - 1),
            };
            let event = event.expect("an event");
            let appended = own.append_unflushed(&stream, expected, vec![event]).await;
            let _ = appended.expect("an append").value();
            if sequence == 1 {
                let tenant = TenantId::new(&made.tenant).expect("an id");
                let process = ProcessId::new(&made.process).expect("an id");
                let identity =
                    ProcessIdentity::new(process.clone(), tenant.clone(), made.at.clone());
                let reply = format!("order-{}", made.process);
                let reply = state_migration::CorrelationId::new(reply).expect("an id");
                for key in [
                    RegistryKey::from_process(process.clone()),
                    RegistryKey::Correlation(reply),
                ] {
                    let registered = own.register(&tenant, &key, &identity).await;
                    registered.expect("an entry");
                }
            }
        }
    }
    own.flush().await.expect("a flush");
    let (raw, own) = (rows(raw.db()).await, rows(own.db()).await);
    assert_eq!(raw.len(), own.len(), "as many rows as the store writes");
    for ((key, ours), (other_key, stores)) in raw.iter().zip(&own) {
        assert_eq!(key, other_key, "the keys that the store writes");
        let from = if key[0] == b'e' { 2 + 16 + 8 } else { 0 };
        assert_eq!(ours[from..], stores[from..], "{}", key.escape_ascii());
    }
}

async fn rows(db: &slatedb::Db) -> Vec<(bytes::Bytes, bytes::Bytes)> {
    let mut scan = db.scan::<std::ops::RangeFull>(..).await.expect("a scan");
    let mut rows = Vec::new();
    while let Some(row) = scan.next().await.expect("a row") {
        rows.push((row.key, row.value));
    }
    rows
}

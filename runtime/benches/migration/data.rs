//! Stores to measure on.
//!
//! They are the same for the same seed, written row by row in the order in which events
//! would arrive, and copied before each measurement.

use std::time::{Duration, Instant};

use fastrand::Rng;
use slatedb::WriteBatch;
use slatedb::admin::Admin;
use slatedb::config::{
    FlushOptions, FlushType, GarbageCollectorDirectoryOptions, GarbageCollectorOptions,
};
use state_migration::{EventPayload, Workflow, WorkflowId};

use crate::family::{Event, Family, Order, id};
use crate::layout::{self, Row};
use crate::location::Place;

pub const SEED: u64 = 0x5eed;

/// Maximum rows, and maximum bytes, of a batch.
const BATCH: usize = 2_000;
const BATCH_BYTES: usize = 4 << 20;

/// The shape of the generated processes.
#[derive(Clone, Copy)]
pub struct Shape {
    pub processes: usize,
    pub events: u64,
    /// The last event covered by a snapshot, if there is one.
    pub snapshot_at: Option<u64>,
    /// Bytes of the note that each event except the first and the last adds to the
    /// state, if events are notes.
    pub note: Option<usize>,
    /// Family and version of the process with a number.
    pub is_at: fn(usize) -> (usize, usize),
}

impl Shape {
    pub fn new(processes: usize) -> Self {
        Self {
            processes,
            events: 10,
            snapshot_at: None,
            note: None,
            is_at: |_| (0, 0),
        }
    }
}

/// A generated process.
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
    let (family, version) = (shape.is_at)(number);
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

/// A random event for a position in an order.
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

/// The event at a position in a process.
pub fn event_of(rng: &mut Rng, sequence: u64, shape: &Shape) -> Event {
    match shape.note {
        Some(bytes) if sequence > 1 && sequence < shape.events => Event::Noted {
            text: letters(rng, bytes),
        },
        _ => event(rng, sequence, shape.events),
    }
}

/// Writes rows in batches.
struct Writer<'a> {
    db: &'a slatedb::Db,
    batch: WriteBatch,
    rows: usize,
    bytes: usize,
}

impl<'a> Writer<'a> {
    fn new(db: &'a slatedb::Db) -> Self {
        Self {
            db,
            batch: WriteBatch::new(),
            rows: 0,
            bytes: 0,
        }
    }

    async fn put(&mut self, (key, value): Row) {
        self.bytes += value.len();
        self.batch.put_bytes(key.into(), value.into());
        self.rows += 1;
        if self.rows == BATCH || self.bytes > BATCH_BYTES {
            self.write().await;
        }
    }

    async fn write(&mut self) {
        if self.rows > 0 {
            let batch = std::mem::take(&mut self.batch);
            self.db.write(batch).await.expect("a write");
            (self.rows, self.bytes) = (0, 0);
        }
    }
}

/// Creates a store.
pub async fn make(place: &Place, shape: &Shape) {
    let began = Instant::now();
    let store = place
        .builder()
        .with_settings(|settings| {
            // Makes the store idle soon after its creation, and limits its disk space
            // until then.
            if let Some(compactor) = &mut settings.compactor_options {
                compactor.poll_interval = Duration::from_millis(200);
            }
            if let Some(collector) = &mut settings.garbage_collector_options {
                let often = Some(collect(
                    Some(Duration::from_secs(20)),
                    Duration::from_secs(60),
                ));
                collector.wal_options = often;
                collector.compacted_options = often;
            }
        })
        .open()
        .await
        .expect("a store");
    write_all(store.db(), shape).await;
    settle(store.db(), place).await;
    store.close().await.expect("a close");
    remove_garbage(place).await;
    eprintln!(
        "  made {} processes of {} events in {:.1} s",
        shape.processes,
        shape.events,
        began.elapsed().as_secs_f64()
    );
}

/// Writes event by event, so that each head is rewritten after all others.
pub async fn write_all(db: &slatedb::Db, shape: &Shape) {
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
                    writer.put(layout::presence(at)).await;
                }
                for row in layout::registered(stream, tenant, process, at) {
                    writer.put(row).await;
                }
            }
            let event = event_of(&mut rng, sequence, shape);
            let payload = serde_json::to_vec(&event).expect("an event");
            let row = layout::event(rng.u128(..), sequence, at, event.event_type(), &payload);
            writer.put((layout::event_key(stream, sequence), row)).await;
            let head = layout::head(sequence, at);
            writer.put((layout::head_key(stream), head)).await;
            if shape.snapshot_at == Some(sequence) {
                let row = snapshot(&mut rng, sequence, at);
                writer.put((layout::snapshot_key(stream), row)).await;
            }
        }
    }
    writer.write().await;
}

/// A snapshot with a state of the right layout and size; its content is not measured.
fn snapshot(rng: &mut Rng, sequence: u64, at: &WorkflowId) -> Vec<u8> {
    let mut state = order::<0>(rng, 12);
    state.events = sequence;
    let state = serde_json::to_vec(&state).expect("a state");
    let schema = <Family<0, 0> as Workflow>::STATE_SCHEMA_VERSION;
    layout::snapshot(sequence, schema, at, &state)
}

/// The state after a number of events.
pub fn order<const V: usize>(rng: &mut Rng, events: u64) -> Order<V> {
    (1..=events).fold(Order::default(), |state, sequence| {
        state.apply(&event(rng, sequence, events))
    })
}

/// Mean number of bytes of a state.
pub fn state_bytes(events: u64) -> f64 {
    const ORDERS: usize = 2_000;
    let mut rng = Rng::with_seed(SEED);
    let state = |_| serde_json::to_vec(&order::<1>(&mut rng, events)).expect("a state");
    let bytes: usize = (0..ORDERS).map(state).map(|state| state.len()).sum();
    bytes as f64 / ORDERS as f64
}

/// Waits until compactions have finished, so that all cases measure the same state.
async fn settle(db: &slatedb::Db, place: &Place) {
    let flush = FlushOptions {
        flush_type: FlushType::MemTable,
    };
    db.flush_with_options(flush).await.expect("a flush");
    let began = Instant::now();
    let mut last = (0, Instant::now());
    while place.compacts() && began.elapsed() < Duration::from_secs(300) {
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

fn collect(interval: Option<Duration>, min_age: Duration) -> GarbageCollectorDirectoryOptions {
    GarbageCollectorDirectoryOptions {
        interval,
        min_age,
        dry_run: false,
    }
}

/// Removes the files left behind by compactions, which are several times as large as
/// the store.
async fn remove_garbage(place: &Place) {
    let now = Some(collect(None, Duration::ZERO));
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

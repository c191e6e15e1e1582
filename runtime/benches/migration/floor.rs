//! The floors: the same work without any safety.
//!
//! A floor scans heads and the events of due processes with the best options, decodes
//! and folds each event, encodes the new states and reads them back, and writes as many
//! keys and bytes as the migration wrote. Another floor does the same in SlateDB
//! transactions at snapshot isolation, like a run. It measures the cost of safety
//! without this crate.

use std::cmp::Ordering;
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use slatedb::config::ScanOptions;
use slatedb::{Db, DbReadOps, IsolationLevel};
use state_migration::WorkflowId;
use tokio::task::JoinSet;

use crate::data::{Shape, processes};
use crate::family::{Event, Order, id};
use crate::layout;
use crate::location::Place;
use crate::wal_rows::{Written, log_position, written_after};
use crate::write::{State, Write};

/// Number of processes written at a time.
const BATCH: usize = 500;

/// Number of processes per transaction, and number of transactions made durable
/// together, as in a run.
const TRANSACTION: usize = 512;
const TOGETHER: usize = 4;

/// The fastest known options for a scan.
fn options() -> ScanOptions {
    ScanOptions::default()
        .with_read_ahead_bytes(1 << 20)
        .with_max_fetch_tasks(2)
}

/// Configuration of a floor.
#[derive(Clone)]
pub struct Floor {
    /// The pieces of the streams, in order, each with the parts that are read at a
    /// time.
    pieces: Arc<Mutex<VecDeque<Vec<Piece>>>>,
    streams: Arc<Vec<String>>,
    /// The version whose processes are due.
    due: WorkflowId,
    tasks: usize,
    options: ScanOptions,
}

/// The streams from `first` up to `end`, exclusive.
#[derive(Clone)]
struct Piece {
    first: String,
    end: Option<String>,
}

impl Piece {
    /// The key range of these streams in a table.
    fn rows(&self, table: u8) -> Range<Vec<u8>> {
        let start = [&[table], self.first.as_bytes()].concat();
        let end = self.end.as_ref();
        start
            ..end.map_or_else(
                || vec![table + 1],
                |end| [&[table], end.as_bytes()].concat(),
            )
    }
}

impl Floor {
    /// A floor over the processes of the first family, in a store with this shape.
    pub fn new(shape: &Shape, tasks: usize) -> Self {
        let mut streams: Vec<_> = processes(shape).into_iter().map(|m| m.stream).collect();
        streams.sort_unstable();
        let this = Self {
            pieces: Arc::default(),
            streams: Arc::new(streams),
            due: id(0, 0),
            tasks,
            options: options(),
        };
        this.in_parts_of(usize::MAX)
    }

    /// Splits the pieces into parts of this many processes.
    fn in_parts_of(&self, processes: usize) -> Self {
        let streams = &self.streams;
        let pieces = (self.tasks * 8).clamp(1, streams.len());
        let bound = |piece: usize| piece * streams.len() / pieces;
        let piece = |piece| {
            let (first, end) = (bound(piece), bound(piece + 1));
            let part = |at: usize| Piece {
                first: streams[at].clone(),
                end: streams.get(at.saturating_add(processes).min(end)).cloned(),
            };
            (first..end).step_by(processes).map(part).collect()
        };
        Self {
            pieces: Arc::new(Mutex::new((0..pieces).map(piece).collect())),
            ..self.clone()
        }
    }

    /// Uses SlateDB's default options for scans.
    pub fn with_default_options(mut self) -> Self {
        self.options = ScanOptions::default();
        self
    }

    fn fresh(&self) -> Self {
        let pieces = self.pieces.lock().expect("a lock").clone();
        Self {
            pieces: Arc::new(Mutex::new(pieces)),
            ..self.clone()
        }
    }

    fn next(&self) -> Option<Vec<Piece>> {
        self.pieces.lock().expect("a lock").pop_front()
    }

    /// Scans the rows of a table without using them. Returns the duration and the
    /// number of rows.
    pub async fn bare_scan(&self, db: &Db, table: u8) -> (Duration, u64) {
        let this = self.fresh();
        let began = Instant::now();
        let mut tasks = JoinSet::new();
        for _ in 0..self.tasks {
            let (this, db) = (this.clone(), db.clone());
            tasks.spawn(async move {
                let mut rows = 0;
                while let Some(parts) = this.next() {
                    for part in parts {
                        let scan = db.scan_with_options(part.rows(table), &this.options);
                        let mut scan = scan.await.expect("a scan");
                        while let Some(row) = scan.next().await.expect("a row") {
                            std::hint::black_box(&row);
                            rows += 1;
                        }
                    }
                }
                rows
            });
        }
        let rows = tasks.join_all().await.into_iter().sum();
        (began.elapsed(), rows)
    }

    /// Reads, decodes, folds, converts, encodes and reads back; writes nothing.
    pub async fn fold_only(&self, db: &Db) -> Duration {
        let began = Instant::now();
        self.fold(db, &Then::Drop).await;
        began.elapsed()
    }

    /// Folds, and writes as much as a migration did. Returns the shorter time of
    /// writing while folding and writing afterwards.
    pub async fn migrate(&self, place: &Place, written: &Written, processes: usize) -> Duration {
        let mut best = Duration::MAX;
        for form in [Form::AtOnce, Form::OneAfterTheOther] {
            best = best.min(self.timed(place, written, processes, form).await);
        }
        best
    }

    /// Folds and writes each part in a SlateDB transaction.
    pub async fn migrate_in_transactions(
        &self,
        place: &Place,
        written: &Written,
        processes: usize,
    ) -> Duration {
        let this = self.in_parts_of(TRANSACTION);
        this.timed(place, written, processes, Form::InTransactions)
            .await
    }

    async fn timed(
        &self,
        place: &Place,
        written: &Written,
        processes: usize,
        form: Form,
    ) -> Duration {
        let copy = place.copy();
        let store = copy.place.open().await;
        let write = Arc::new(Write::new(written, processes));
        let position = log_position(&copy.place).await;
        let began = Instant::now();
        match form {
            Form::AtOnce => {
                self.fold(store.db(), &Then::Write(write.clone())).await;
            }
            Form::OneAfterTheOther => {
                let states = self.fold(store.db(), &Then::Keep).await;
                for states in states.chunks(BATCH) {
                    write.batch(store.db(), states).await;
                }
            }
            Form::InTransactions => {
                self.fold(store.db(), &Then::Commit(write.clone())).await;
            }
        }
        write.rest(store.db()).await;
        store.db().flush().await.expect("a flush");
        let took = began.elapsed();
        // Read before the close, which writes a row of its own.
        let done = written_after(&copy.place, position).await;
        store.close().await.expect("a close");
        assert_eq!(
            (done.keys(), done.bytes()),
            (written.keys(), written.bytes()),
            "the floor writes what the migration wrote"
        );
        took
    }

    async fn fold(&self, db: &Db, then: &Then) -> Vec<State> {
        let this = self.fresh();
        let mut tasks = JoinSet::new();
        for _ in 0..self.tasks {
            tasks.spawn(fold_pieces(this.clone(), db.clone(), then.clone()));
        }
        tasks.join_all().await.into_iter().flatten().collect()
    }
}

/// How a floor writes.
#[derive(Clone, Copy)]
enum Form {
    AtOnce,
    OneAfterTheOther,
    InTransactions,
}

/// What happens to new states.
#[derive(Clone)]
enum Then {
    Drop,
    Keep,
    Write(Arc<Write>),
    /// Written in the transaction in which they were read.
    Commit(Arc<Write>),
}

async fn fold_pieces(this: Floor, db: Db, then: Then) -> Vec<State> {
    let (mut states, mut commits) = (Vec::new(), 0);
    while let Some(parts) = this.next() {
        for part in parts {
            let Then::Commit(write) = &then else {
                this.fold_part(&db, &db, &part, &then, &mut states).await;
                continue;
            };
            let txn = db.begin(IsolationLevel::Snapshot);
            let txn = txn.expect("a transaction");
            this.fold_part(&txn, &db, &part, &then, &mut states).await;
            write.put(&txn, &states);
            states.clear();
            txn.commit().await.expect("a commit");
            commits += 1;
            if commits % TOGETHER == 0 {
                db.flush().await.expect("a flush");
            }
        }
    }
    if let Then::Write(write) = &then {
        write.batch(&db, &states).await;
        states.clear();
    }
    states
}

impl Floor {
    /// The due streams, in order.
    async fn due(&self, reads: &impl DbReadOps, part: &Piece) -> Vec<Bytes> {
        let scan = reads.scan_with_options(part.rows(b'h'), &self.options);
        let mut scan = scan.await.expect("a scan");
        let mut due = Vec::new();
        while let Some(row) = scan.next().await.expect("a row") {
            if layout::is_due(&row.value, &self.due) {
                due.push(row.key);
            }
        }
        due
    }

    async fn fold_part(
        &self,
        reads: &impl DbReadOps,
        db: &Db,
        part: &Piece,
        then: &Then,
        states: &mut Vec<State>,
    ) {
        let due = self.due(reads, part).await;
        let scan = reads.scan_with_options(part.rows(b'e'), &self.options);
        let mut scan = scan.await.expect("a scan");
        let mut row = scan.next().await.expect("a row");
        for head in due {
            let stream = layout::stream_of_head(&head);
            let mut order = Order::<0>::default();
            while let Some(event) = &row {
                match layout::stream_of_event(&event.key).cmp(stream) {
                    Ordering::Less => {}
                    Ordering::Equal => {
                        let payload = layout::payload(&event.value);
                        let event: Event = serde_json::from_slice(payload).expect("an event");
                        order = order.apply(&event);
                    }
                    Ordering::Greater => break,
                }
                row = scan.next().await.expect("a row");
            }
            let order = order.into_version::<1>();
            let state = serde_json::to_vec(&order).expect("a state");
            let back: Order<1> = serde_json::from_slice(&state).expect("a state");
            std::hint::black_box(&back);
            match then {
                Then::Drop => drop(std::hint::black_box(state)),
                Then::Keep | Then::Commit(_) => states.push((stream.to_vec(), state)),
                Then::Write(write) => {
                    states.push((stream.to_vec(), state));
                    if states.len() >= BATCH {
                        write.batch(db, states).await;
                        states.clear();
                    }
                }
            }
        }
    }
}

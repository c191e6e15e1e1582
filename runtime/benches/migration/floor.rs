//! The floors: the same work without anything that makes it safe. A scan of the
//! key ranges that a run has to read (events; heads, which say where a process
//! stands; for a migration, under which keys it is registered) with the best
//! options; each event decoded and folded; the new states encoded; as many keys
//! and bytes written as the migration wrote. Beside it a floor that reads events
//! only, as if nobody had to know anything else; and one that does what the floor
//! does in SlateDB's serializable transactions, which is what safety costs before
//! this crate has done anything.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use slatedb::config::ScanOptions;
use slatedb::{Db, DbReadOps, DbTransaction, IsolationLevel, WalReader, WriteBatch};
use tokio::task::JoinSet;

use crate::data::{Place, Shape, processes};
use crate::family::{Event, Order, id};
use crate::layout;

/// How many processes are written at a time.
const BATCH: usize = 500;

/// How many processes a transaction is for, and how many of these are made
/// durable together: as in a run.
const TRANSACTION: usize = 512;
const TOGETHER: usize = 4;

/// Rows written in a table.
#[derive(Debug, Clone, Copy, Default)]
pub struct Rows {
    pub keys: u64,
    pub key_bytes: u64,
    pub value_bytes: u64,
}

/// What was written to a store, by table; removals are `b'-'`.
#[derive(Debug, Clone)]
pub struct Written(pub [Rows; 256]);

impl Default for Written {
    fn default() -> Self {
        Self([Rows::default(); 256])
    }
}

impl Written {
    pub fn keys(&self) -> u64 {
        self.0.iter().map(|rows| rows.keys).sum()
    }

    pub fn bytes(&self) -> u64 {
        let bytes = |rows: &Rows| rows.key_bytes + rows.value_bytes;
        self.0.iter().map(bytes).sum()
    }

    fn add(&mut self, key: &[u8], value: Option<&[u8]>) {
        let table = if value.is_some() { key[0] } else { b'-' };
        let rows = &mut self.0[usize::from(table)];
        rows.keys += 1;
        rows.key_bytes += key.len() as u64;
        rows.value_bytes += value.map_or(0, |value| value.len() as u64);
    }

    /// The value of average length in a table, for one of so many processes.
    fn value(&self, table: u8) -> usize {
        let rows = self.0[usize::from(table)];
        rows.value_bytes.checked_div(rows.keys).unwrap_or(0) as usize
    }
}

/// The newest file of the write-ahead log.
pub async fn log_position(place: &Place) -> u64 {
    let log = WalReader::new(place.path(), place.object_store());
    let files = log.list(..).await.expect("a list");
    files.last().map_or(0, |file| file.id)
}

/// What the write-ahead log holds after a position.
pub async fn written_after(place: &Place, position: u64) -> Written {
    let log = WalReader::new(place.path(), place.object_store());
    let mut written = Written::default();
    for file in log.list(position + 1..).await.expect("a list") {
        let mut rows = file.iterator().await.expect("a file");
        while let Some(row) = rows.next().await.expect("a row") {
            let value = match &row.value {
                slatedb::ValueDeletable::Value(value) => Some(&value[..]),
                slatedb::ValueDeletable::Merge(_) => unreachable!("nothing is merged"),
                slatedb::ValueDeletable::Tombstone => None,
            };
            written.add(&row.key, value);
        }
    }
    written
}

/// The best options found for a scan.
fn options() -> ScanOptions {
    ScanOptions::default()
        .with_read_ahead_bytes(1 << 20)
        .with_max_fetch_tasks(2)
}

/// The options of a floor.
#[derive(Clone)]
pub struct Floor {
    /// The streams of each of many pieces, in order, and of each part of one
    /// that is read at a time.
    pieces: Arc<Mutex<VecDeque<Vec<Piece>>>>,
    streams: Arc<Vec<String>>,
    /// The tables that are read beside the events.
    beside: &'static [u8],
    tasks: usize,
    options: ScanOptions,
}

/// The streams from one up to another.
#[derive(Clone)]
struct Piece {
    first: String,
    end: Option<String>,
}

impl Piece {
    /// Their rows in a table.
    fn rows(&self, table: u8) -> std::ops::Range<Vec<u8>> {
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
    /// A floor over the events of the processes of the first family.
    pub fn new(shape: &Shape, tasks: usize) -> Self {
        let mut streams: Vec<_> = processes(shape).into_iter().map(|m| m.stream).collect();
        streams.sort_unstable();
        let this = Self {
            pieces: Arc::default(),
            streams: Arc::new(streams),
            beside: b"",
            tasks,
            options: options(),
        };
        this.in_parts_of(usize::MAX)
    }

    /// Reads so many processes at a time.
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

    /// Reads these tables too.
    pub fn beside(&self, tables: &'static [u8]) -> Self {
        Self {
            beside: tables,
            ..self.clone()
        }
    }

    /// With SlateDB's own options for scans.
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

    /// Only reads the rows.
    pub async fn bare_scan(&self, db: &Db) -> (Duration, u64) {
        let this = self.fresh();
        let began = Instant::now();
        let mut tasks = JoinSet::new();
        for _ in 0..self.tasks {
            let (this, db) = (this.clone(), db.clone());
            tasks.spawn(async move {
                let mut rows = 0;
                while let Some(parts) = this.next() {
                    for part in parts {
                        rows += this.drain(&db, part.rows(b'e')).await;
                    }
                }
                rows
            });
        }
        let rows = tasks.join_all().await.into_iter().sum();
        (began.elapsed(), rows)
    }

    /// Reads rows and does nothing with them; returns how many.
    async fn drain(&self, db: &impl DbReadOps, range: std::ops::Range<Vec<u8>>) -> u64 {
        let scan = db.scan_with_options(range, &self.options).await;
        let mut scan = scan.expect("a scan");
        let mut rows = 0;
        while let Some(row) = scan.next().await.expect("a row") {
            std::hint::black_box(&row);
            rows += 1;
        }
        rows
    }

    /// Reads, decodes, folds, converts and encodes; writes nothing.
    pub async fn fold_only(&self, db: &Db) -> Duration {
        let began = Instant::now();
        self.fold(db, &Then::Drop).await;
        began.elapsed()
    }

    /// The same, and writes as much as a migration did: the faster of doing one
    /// after the other and of both at once.
    pub async fn migrate(&self, place: &Place, written: &Written, processes: usize) -> Duration {
        let mut best = Duration::MAX;
        for form in [Form::AtOnce, Form::OneAfterTheOther] {
            best = best.min(self.timed(place, written, processes, form).await);
        }
        best
    }

    /// The same, each part in a transaction of SlateDB.
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
        // Before the close, which leaves a row of its own.
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

/// How a floor goes.
#[derive(Clone, Copy)]
enum Form {
    AtOnce,
    OneAfterTheOther,
    InTransactions,
}

/// What becomes of new states.
#[derive(Clone)]
enum Then {
    Drop,
    Keep,
    Write(Arc<Write>),
    /// In the transaction in which they were read.
    Commit(Arc<Write>),
}

/// The new state of a stream: the start of the keys of its events, and JSON.
type State = (Vec<u8>, Vec<u8>);

async fn fold_pieces(this: Floor, db: Db, then: Then) -> Vec<State> {
    let (mut states, mut commits) = (Vec::new(), 0);
    while let Some(parts) = this.next() {
        for part in parts {
            let Then::Commit(write) = &then else {
                this.fold_part(&db, &db, &part, &then, &mut states).await;
                continue;
            };
            let txn = db.begin(IsolationLevel::SerializableSnapshot);
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
    async fn fold_part(
        &self,
        reads: &impl DbReadOps,
        db: &Db,
        part: &Piece,
        then: &Then,
        states: &mut Vec<State>,
    ) {
        for table in self.beside {
            self.drain(reads, part.rows(*table)).await;
        }
        let scan = reads
            .scan_with_options(part.rows(b'e'), &self.options)
            .await;
        let mut scan = scan.expect("a scan");
        let (mut stream, mut order) = (Vec::new(), Order::<0>::default());
        loop {
            let row = scan.next().await.expect("a row");
            let next = row.as_ref().map(|row| layout::stream_of(&row.key));
            if next != Some(&stream[..]) {
                if !stream.is_empty() {
                    let order = std::mem::take(&mut order).into_version::<1>();
                    let state = serde_json::to_vec(&order).expect("a state");
                    states.push((std::mem::take(&mut stream), state));
                }
                stream.extend_from_slice(next.unwrap_or_default());
            }
            match then {
                Then::Drop => {
                    std::hint::black_box(&*states);
                    states.clear();
                }
                Then::Write(write) if states.len() >= BATCH => {
                    write.batch(db, states).await;
                    states.clear();
                }
                Then::Keep | Then::Write(_) | Then::Commit(_) => {}
            }
            let Some(row) = row else { break };
            let event: Event =
                serde_json::from_slice(layout::payload(&row.value)).expect("an event");
            order = order.apply(&event);
        }
    }
}

/// Writes for each process the rows that a migration writes, of the same size
/// on average, and in the end what is missing.
struct Write {
    target: Written,
    processes: u64,
    done: Mutex<(u64, u64)>,
    old: Vec<u8>,
    new: Vec<u8>,
}

impl Write {
    fn new(target: &Written, processes: usize) -> Self {
        let prefix = |version| {
            let key = layout::version_key(&id(0, version), "");
            key[..key.len() - 2].to_vec()
        };
        Self {
            target: target.clone(),
            processes: processes as u64,
            done: Mutex::default(),
            old: prefix(0),
            new: prefix(1),
        }
    }

    async fn batch(&self, db: &Db, states: &[State]) {
        if states.is_empty() {
            return;
        }
        let mut batch = WriteBatch::new();
        self.rows(states, |key, value| match value {
            Some(value) => batch.put_bytes(key.into(), value.into()),
            None => batch.delete(key),
        });
        db.write(batch).await.expect("a write");
    }

    fn put(&self, txn: &DbTransaction, states: &[State]) {
        self.rows(states, |key, value| {
            match value {
                Some(value) => txn.put(key, value),
                None => txn.delete(key),
            }
            .expect("a write");
        });
    }

    /// The rows that come of some states; without a value they are removed.
    fn rows(&self, states: &[State], mut row: impl FnMut(Vec<u8>, Option<Vec<u8>>)) {
        let (mut keys, mut bytes) = (0, 0);
        let all_entries = self.target.0[usize::from(b'r')];
        let entries = all_entries.keys / self.processes;
        let entry_key = all_entries.key_bytes.checked_div(all_entries.keys);
        let entry_id = entry_key.unwrap_or(0).saturating_sub(2) as usize;
        let mut row = |key: Vec<u8>, value: Option<Vec<u8>>| {
            keys += 1;
            bytes += (key.len() + value.as_ref().map_or(0, Vec::len)) as u64;
            row(key, value);
        };
        let mut removed = Vec::new();
        for (stream, state) in states {
            let id = &stream[1..];
            let key = |start: &[u8], end: &[u8]| [start, id, end].concat();
            let mut event = vec![b' '; self.target.value(b'e').saturating_sub(state.len())];
            event.extend_from_slice(state);
            event.truncate(self.target.value(b'e'));
            row(key(b"e", &11u64.to_be_bytes()), Some(event));
            row(key(b"h", b""), Some(vec![1; self.target.value(b'h')]));
            row(key(&self.new, b""), Some(vec![1; self.target.value(b'v')]));
            for entry in 0..entries {
                let id = &id[id.len().saturating_sub(entry_id)..];
                let key = [b"r", id, &[entry as u8]].concat();
                row(key, Some(vec![1; self.target.value(b'r')]));
            }
            removed.push(key(&self.old, b""));
        }
        for key in removed {
            row(key, None);
        }
        let mut done = self.done.lock().expect("a lock");
        done.0 += keys;
        done.1 += bytes;
    }

    async fn rest(&self, db: &Db) {
        let (keys, bytes) = *self.done.lock().expect("a lock");
        let (all_keys, all_bytes) = (self.target.keys(), self.target.bytes());
        assert!(
            keys <= all_keys && bytes <= all_bytes,
            "the floor writes too much: {keys} of {all_keys} keys, {bytes} of {all_bytes} bytes"
        );
        let (keys, mut bytes) = (all_keys - keys, all_bytes - bytes);
        let mut batch = WriteBatch::new();
        for left in (1..=keys).rev() {
            let key = format!("u{left:08}").into_bytes();
            let value = (bytes / left).saturating_sub(key.len() as u64);
            bytes -= key.len() as u64 + value;
            batch.put_bytes(key.into(), vec![b'-'; value as usize].into());
        }
        assert!(keys == 0 || bytes == 0, "{bytes} bytes are left");
        if keys > 0 {
            db.write(batch).await.expect("a write");
        }
    }
}

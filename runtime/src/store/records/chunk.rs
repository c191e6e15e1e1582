//! A chunk: some processes, read and committed in one transaction.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream;

use crate::error::{Error, ErrorKind};
use crate::event::NewEvent;
use crate::id::{StreamId, WorkflowId};
use crate::snapshot::Snapshot;
use crate::store::key::{self, KeyRange, PerStream};
use crate::store::kv::{Kv, KvScan, KvTxn};
use crate::store::records::events::mark_present;
use crate::store::records::rows::ended_early;
use crate::store::records::{ROW, RecordStore, entries, put_migration};
use crate::store::traffic::Activity;
use crate::store::{
    Chunk, ChunkEvent, ChunkProblem, ChunkProcess, ChunkRequest, Decision, Head, record,
};

/// For how many events room is made before they are read.
const MANY: usize = 256;

/// How many rows a cursor steps over before it seeks instead.
const STEPS_BEFORE_SEEK: usize = 16;

/// By how many processes it is told how far apart they are.
const PROBE: usize = 8;

/// Processes are far apart when so many heads stand between two of them: then
/// it costs less to look for each of them than to come by all that is between.
const FAR_APART: usize = 8;

/// How many processes are read at a time where each is read on its own.
const AT_A_TIME: usize = 8;

/// About how many bytes the row of an event is.
const EVENT_ROW: usize = 512;

/// A snapshot is looked for, and used, where it saves reading so many events.
const WORTH_A_SNAPSHOT: u64 = 64;

/// Reads the rows of some keys out of an ordered scan.
struct Cursor<S> {
    rows: S,
    peeked: Option<(Bytes, Bytes)>,
    done: bool,
    /// How many rows it came by that nobody asked for.
    passed: usize,
    /// Whether much stands before the next key, so that stepping is in vain.
    far: bool,
}

impl<S: KvScan> Cursor<S> {
    async fn new<T: KvTxn<Scan = S>>(
        txn: &T,
        range: KeyRange,
        bytes: usize,
    ) -> Result<Self, Error> {
        Ok(Self {
            rows: txn.scan_part(range, bytes).await?,
            peeked: None,
            done: false,
            passed: 0,
            far: false,
        })
    }

    /// The next row, which stays the next one until it is taken.
    async fn peek(&mut self) -> Result<Option<&(Bytes, Bytes)>, Error> {
        if self.peeked.is_none() && !self.done {
            self.peeked = self.rows.next().await?;
            self.done = self.peeked.is_none();
        }
        Ok(self.peeked.as_ref())
    }

    fn take(&mut self) -> Option<(Bytes, Bytes)> {
        self.peeked.take()
    }

    /// Goes on to the first row with a key of at least `key`.
    async fn advance_to(&mut self, key: &[u8]) -> Result<(), Error> {
        let steps = match std::mem::take(&mut self.far) {
            true => 1,
            false => STEPS_BEFORE_SEEK,
        };
        for _ in 0..steps {
            match self.peek().await? {
                Some((at, _)) if at[..] < *key => self.peeked = None,
                _ => return Ok(()),
            }
            self.passed += 1;
        }
        self.rows.seek(key).await?;
        self.peeked = None;
        Ok(())
    }
}

pub(super) struct RecordChunk<K: Kv> {
    kv: K,
    activity: Arc<Activity>,
    txn: K::Txn,
    processes: Vec<ChunkProcess>,
    heads: BTreeMap<StreamId, Head>,
    covered: usize,
    /// Whether its processes are far apart, so that ranges from one to another
    /// hold much that is none of theirs.
    far_apart: bool,
    migrated: BTreeMap<StreamId, (NewEvent, bool)>,
    decisions: Vec<(WorkflowId, StreamId, Decision)>,
    rows: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
}

impl<K: Kv> RecordChunk<K> {
    /// Reads the heads and the events of the requested processes.
    pub(super) async fn read(store: &RecordStore<K>, request: ChunkRequest) -> Result<Self, Error> {
        let (kv, close) = (store.kv().clone(), store.stand_close());
        let ChunkRequest {
            streams,
            max_bytes,
            events_after,
            snapshots,
        } = request;
        if !streams.is_sorted_by(|a, b| a < b) {
            return Err(Error::invalid(
                "the streams of a chunk are not sorted, or not each there once",
            ));
        }
        let txn = kv.begin()?;
        let all = streams.len();
        let how = Reading {
            max_bytes,
            events_after,
            snapshots,
        };
        let mut found = Found {
            processes: Vec::with_capacity(all),
            ..Found::default()
        };
        let mut far_apart =
            all > 1 && !close.load(Ordering::Relaxed) && are_far_apart(&kv, &streams).await?;
        let mut left = streams.into_iter();
        if !far_apart {
            read_together(&txn, &how, &mut left, &mut found).await?;
            far_apart = found.covered < all && !found.is_full(max_bytes);
        }
        if far_apart {
            read_one_by_one(&txn, &how, left, &mut found).await?;
        }
        if all > 1 {
            close.store(!far_apart, Ordering::Relaxed);
        }
        let heads = found.processes.iter().filter_map(|process| {
            let head = process.head.clone()?;
            Some((process.stream.clone(), head))
        });
        Ok(Self {
            heads: heads.collect(),
            activity: store.inner.activity.clone(),
            kv,
            txn,
            processes: found.processes,
            covered: found.covered,
            far_apart,
            migrated: BTreeMap::new(),
            decisions: Vec::new(),
            rows: BTreeMap::new(),
        })
    }
}

/// How processes are to be read.
struct Reading {
    max_bytes: usize,
    events_after: Option<u64>,
    snapshots: Arc<BTreeMap<WorkflowId, u32>>,
}

/// What has been read of a chunk.
#[derive(Default)]
struct Found {
    processes: Vec<ChunkProcess>,
    covered: usize,
    bytes: usize,
}

impl Found {
    fn is_full(&self, max_bytes: usize) -> bool {
        self.bytes >= max_bytes && self.covered > 0
    }

    /// One more stream, at which there may be no process.
    fn add(&mut self, process: Option<ReadProcess>) {
        self.covered += 1;
        if let Some(ReadProcess { process, bytes }) = process {
            self.processes.push(process);
            self.bytes += bytes;
        }
    }
}

/// A process, and how many bytes were read of it.
struct ReadProcess {
    process: ChunkProcess,
    bytes: usize,
}

impl ReadProcess {
    fn unreadable(stream: StreamId, problem: ChunkProblem) -> Self {
        Self {
            process: ChunkProcess {
                stream,
                head: None,
                events: Vec::new(),
                snapshot: None,
                problem: Some(problem),
            },
            bytes: 0,
        }
    }

    fn of(
        stream: StreamId,
        head: Head,
        snapshot: Option<Snapshot>,
        read: Result<Events, ChunkProblem>,
    ) -> Self {
        let (events, bytes, problem) = match read {
            Ok((events, bytes)) => (events, bytes, None),
            Err(problem) => (Vec::new(), 0, Some(problem)),
        };
        let snapshot = snapshot.filter(|_| problem.is_none());
        let bytes = bytes + snapshot.as_ref().map_or(0, |it| it.state.len());
        Self {
            process: ChunkProcess {
                stream,
                head: Some(head),
                events,
                snapshot,
                problem,
            },
            bytes,
        }
    }
}

/// Whether many other heads stand between the first ones of some streams.
///
/// Looks at a view: what a transaction comes by, it conflicts with.
async fn are_far_apart<K: Kv>(kv: &K, streams: &[StreamId]) -> Result<bool, Error> {
    let (Some(first), Some(last)) = (streams.first(), streams.last()) else {
        return Ok(false);
    };
    let probe = streams.len().min(PROBE);
    let most = probe * FAR_APART;
    let between = PerStream::Head.between(first, last);
    let mut rows = kv.view()?.scan_part(between, most * ROW).await?;
    let mut wanted = streams.iter().map(|stream| PerStream::Head.key(stream));
    let mut next = wanted.next();
    let mut met = 0;
    for _ in 0..most {
        let Some((at, _)) = rows.next().await? else {
            return Ok(false);
        };
        while next.as_ref().is_some_and(|key| key[..] < at[..]) {
            next = wanted.next();
        }
        if next.as_ref().is_some_and(|key| key[..] == at[..]) {
            met += 1;
            if met == probe {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

/// Reads processes that stand close together in one pass over the heads and
/// one over the events; stops where they turn out to be far apart.
async fn read_together<T: KvTxn>(
    txn: &T,
    how: &Reading,
    left: &mut std::vec::IntoIter<StreamId>,
    found: &mut Found,
) -> Result<(), Error> {
    let (Some(first), Some(last)) = (left.as_slice().first(), left.as_slice().last()) else {
        return Ok(());
    };
    // The heads first: see `knows_of`.
    let between = PerStream::Head.between(first, last);
    let bytes = left.len().saturating_mul(ROW);
    let mut heads = Cursor::new(txn, between, bytes).await?;
    let mut between = key::events_between(first, last);
    if let Some(after) = how.events_after {
        // Not to come by all that was folded outside of the transaction.
        between.start = key::event(first, after.saturating_add(1));
    }
    let mut events = Cursor::new(txn, between, how.max_bytes).await?;
    let mut passed = 0;
    while !found.is_full(how.max_bytes) {
        if found.covered.is_multiple_of(PROBE) {
            if heads.passed - passed >= PROBE * FAR_APART {
                return Ok(());
            }
            passed = heads.passed;
        }
        let Some(stream) = left.next() else {
            return Ok(());
        };
        let like = found.processes.last().and_then(|last| last.head.as_ref());
        let like = like.map(|head| &head.workflow_id);
        let head = match read_head(&mut heads, &stream, like).await? {
            None => {
                let key = PerStream::Head.key(&stream);
                check_absent(txn, &key).await?;
                found.add(None);
                continue;
            }
            Some(Ok(head)) => head,
            Some(Err(problem)) => {
                found.add(Some(ReadProcess::unreadable(stream, problem)));
                continue;
            }
        };
        let snapshot = read_snapshot(txn, how, &stream, &head).await?;
        let read = match &snapshot {
            Some(snapshot) => {
                // What it saves is much, and the events of the next one are as far.
                heads.passed += STEPS_BEFORE_SEEK;
                events.far = true;
                let after = snapshot.sequence;
                read_events_alone(txn, &stream, &head, after, how.max_bytes).await?
            }
            None => {
                let after = how.events_after.unwrap_or(head.replay_after());
                read_events(txn, &mut events, &stream, &head, after, how.max_bytes).await?
            }
        };
        found.add(Some(ReadProcess::of(stream, head, snapshot, read)));
    }
    Ok(())
}

/// Reads processes each on its own, several at a time: nothing that stands
/// between them is read, and appends to that are no conflicts.
async fn read_one_by_one<T: KvTxn>(
    txn: &T,
    how: &Reading,
    streams: std::vec::IntoIter<StreamId>,
    found: &mut Found,
) -> Result<(), Error> {
    let reads = streams.map(|stream| read_alone(txn, how, stream));
    let mut reads = stream::iter(reads).buffered(AT_A_TIME);
    while !found.is_full(how.max_bytes) {
        let Some(process) = reads.next().await else {
            break;
        };
        found.add(process?);
    }
    // What was begun beyond the end goes with its scans.
    Ok(())
}

async fn read_alone<T: KvTxn>(
    txn: &T,
    how: &Reading,
    stream: StreamId,
) -> Result<Option<ReadProcess>, Error> {
    let Some(row) = txn.get(&PerStream::Head.key(&stream)).await? else {
        return Ok(None);
    };
    let head = match decode_head(row, &stream, None) {
        Ok(head) => head,
        Err(problem) => return Ok(Some(ReadProcess::unreadable(stream, problem))),
    };
    let snapshot = read_snapshot(txn, how, &stream, &head).await?;
    let after = match &snapshot {
        Some(snapshot) => snapshot.sequence,
        None => how.events_after.unwrap_or(head.replay_after()),
    };
    let read = read_events_alone(txn, &stream, &head, after, how.max_bytes).await?;
    Ok(Some(ReadProcess::of(stream, head, snapshot, read)))
}

/// The snapshot of a process, where it fits and saves much.
async fn read_snapshot<T: KvTxn>(
    txn: &T,
    how: &Reading,
    stream: &StreamId,
    head: &Head,
) -> Result<Option<Snapshot>, Error> {
    let Some(schema_version) = how.snapshots.get(&head.workflow_id) else {
        return Ok(None);
    };
    let worth = head.replay_after().saturating_add(WORTH_A_SNAPSHOT);
    if how.events_after.is_some() || head.sequence < worth {
        return Ok(None);
    }
    let row = txn.get(&PerStream::Snapshot.key(stream)).await?;
    // It is a cache: one that cannot be read is one that is not there.
    let snapshot = row.and_then(|row| record::read_snapshot(row, stream).ok());
    Ok(snapshot.filter(|snapshot| {
        snapshot.workflow_id == head.workflow_id
            && snapshot.state_schema_version == *schema_version
            && (worth..=head.sequence).contains(&snapshot.sequence)
            && snapshot.state.len() <= how.max_bytes
    }))
}

/// The same as [`read_events`], by a scan of nothing else.
async fn read_events_alone<T: KvTxn>(
    txn: &T,
    stream: &StreamId,
    head: &Head,
    after: u64,
    max_bytes: usize,
) -> Result<Result<Events, ChunkProblem>, Error> {
    let missing = usize::try_from(head.sequence.saturating_sub(after)).unwrap_or(usize::MAX);
    let bytes = missing.saturating_mul(EVENT_ROW).min(max_bytes);
    let mut rows = Cursor::new(txn, key::events_after(stream, after), bytes).await?;
    read_events(txn, &mut rows, stream, head, after, max_bytes).await
}

async fn read_head<S: KvScan>(
    heads: &mut Cursor<S>,
    stream: &StreamId,
    like: Option<&WorkflowId>,
) -> Result<Option<Result<Head, ChunkProblem>>, Error> {
    let wanted = PerStream::Head.key(stream);
    heads.advance_to(&wanted).await?;
    match heads.peek().await? {
        Some((at, _)) if at[..] == wanted[..] => {}
        _ => return Ok(None),
    }
    let row = heads.take().map(|(_, row)| row).unwrap_or_default();
    Ok(Some(decode_head(row, stream, like)))
}

fn decode_head(
    row: Bytes,
    stream: &StreamId,
    like: Option<&WorkflowId>,
) -> Result<Head, ChunkProblem> {
    record::read_head_like(row, like)
        .map_err(|bad| problem(&bad.of(format_args!("the head of stream {stream}"))))
}

fn problem(error: &Error) -> ChunkProblem {
    match error.kind() {
        ErrorKind::NewerFormat => ChunkProblem::NewerFormat(error.to_string()),
        _ => ChunkProblem::Corrupt(error.to_string()),
    }
}

/// Events, and how many bytes they are.
type Events = (Vec<ChunkEvent>, usize);

/// The events of a stream above `after`.
///
/// The head is the second source that says how many there must be, so that a
/// scan that ends early is noticed and never taken for a shorter stream.
async fn read_events<T: KvTxn>(
    txn: &T,
    rows: &mut Cursor<T::Scan>,
    stream: &StreamId,
    head: &Head,
    after: u64,
    max_bytes: usize,
) -> Result<Result<Events, ChunkProblem>, Error> {
    let corrupt = |error: Error| Ok(Err(problem(&error)));
    let prefix = key::event_prefix(stream);
    if let Some(first) = after.checked_add(1) {
        rows.advance_to(&key::event(stream, first)).await?;
    }
    let missing = usize::try_from(head.sequence.saturating_sub(after)).unwrap_or(usize::MAX);
    let mut events = Vec::with_capacity(missing.min(MANY));
    let mut bytes = 0;
    for expected in after + 1..=head.sequence {
        match rows.peek().await? {
            Some((at, _)) if key::sequence_in(at, &prefix) == Some(expected) => {}
            _ => {
                check_absent(txn, &key::event(stream, expected)).await?;
                return corrupt(Error::missing_event(stream, expected));
            }
        }
        let row = rows.take().map(|(_, row)| row).unwrap_or_default();
        bytes += row.len();
        if bytes > max_bytes {
            return Ok(Err(ChunkProblem::TooLarge));
        }
        match record::read_chunk_event(row, expected, &head.workflow_id) {
            Ok(event) => events.push(event),
            Err(bad) => {
                return corrupt(bad.of(format_args!("event {expected} of stream {stream}")));
            }
        }
    }
    if let Some((at, _)) = rows.peek().await?
        && let Some(beyond) = key::sequence_in(at, &prefix)
        && beyond > head.sequence
        && !knows_of(txn, stream, beyond).await?
    {
        return corrupt(super::events::beyond_head(stream, beyond));
    }
    Ok(Ok((events, bytes)))
}

/// Tells a row that is not there from one that a scan left out.
async fn check_absent<T: KvTxn>(txn: &T, key: &[u8]) -> Result<(), Error> {
    if txn.is_of_one_instant() && txn.get(key).await?.is_some() {
        return Err(ended_early(None, key));
    }
    Ok(())
}

/// Whether the head knows of an event by now.
///
/// Where reads are not of one instant, a writer may have appended after the
/// heads were read and before the events were. Such an event is left out, so
/// that the chunk is of the instant of its heads. As no read is of an earlier
/// instant than the one before it, events can never be behind the heads.
async fn knows_of<T: KvTxn>(txn: &T, stream: &StreamId, sequence: u64) -> Result<bool, Error> {
    let row = txn.get(&PerStream::Head.key(stream)).await?;
    let head = row.map(record::read_head);
    Ok(matches!(head, Some(Ok(head)) if head.sequence >= sequence))
}

#[async_trait]
impl<K: Kv> Chunk for RecordChunk<K> {
    fn take_processes(&mut self) -> Vec<ChunkProcess> {
        std::mem::take(&mut self.processes)
    }

    fn covered(&self) -> usize {
        self.covered
    }

    fn migrate(&mut self, stream: &StreamId, event: NewEvent, remember: bool) -> Result<(), Error> {
        if !self.heads.contains_key(stream) {
            return Err(Error::new(
                ErrorKind::Invalid,
                format!("the process {stream} is not one of this chunk"),
            ));
        }
        self.migrated.insert(stream.clone(), (event, remember));
        Ok(())
    }

    fn decide(&mut self, version: &WorkflowId, stream: &StreamId, decision: Decision) {
        self.decisions
            .push((version.clone(), stream.clone(), decision));
    }

    async fn row(&mut self, key: &[u8]) -> Result<Option<Bytes>, Error> {
        self.txn.get(&key::run_row(key)).await
    }

    fn put_row(&mut self, key: Vec<u8>, row: Option<Vec<u8>>) {
        self.rows.insert(key, row);
    }

    async fn commit(self: Box<Self>) -> Result<(), Error> {
        let kv = self.kv.clone();
        self.commit_unflushed().await?;
        kv.flush().await
    }

    async fn commit_unflushed(mut self: Box<Self>) -> Result<(), Error> {
        if self.migrated.is_empty() && self.decisions.is_empty() && self.rows.is_empty() {
            return Ok(());
        }
        let targets = self.put_migrations().await?;
        self.put_decisions().await?;
        for (key, row) in std::mem::take(&mut self.rows) {
            match row {
                Some(row) => self.txn.put(key::run_row(&key), row)?,
                None => self.txn.delete(key::run_row(&key))?,
            }
        }
        let arrivals: Vec<_> = targets
            .iter()
            .map(|target| self.activity.arrive(target))
            .collect();
        let committed = self.txn.commit().await;
        for arrival in arrivals {
            arrival.over(&committed);
        }
        committed
    }
}

impl<K: Kv> RecordChunk<K> {
    /// Puts what migrations change; returns the versions that they lead to.
    async fn put_migrations(&mut self) -> Result<BTreeSet<WorkflowId>, Error> {
        let (Some(first), Some(last)) = (
            self.migrated.keys().next(),
            self.migrated.keys().next_back(),
        ) else {
            return Ok(BTreeSet::new());
        };
        let mut registry_keys: BTreeMap<StreamId, Vec<_>> = BTreeMap::new();
        let ranges = match self.far_apart {
            false => vec![(first.clone(), last.clone(), self.migrated.len())],
            true => {
                let each = self.migrated.keys();
                each.map(|at| (at.clone(), at.clone(), 1)).collect()
            }
        };
        let txn = &self.txn;
        // By value: a future that borrows from the list would not be `Send`.
        let reads = ranges
            .into_iter()
            .map(|(first, last, processes)| async move {
                entries::keys_of(txn, &first, &last, processes).await
            });
        let mut reads = stream::iter(reads).buffered(AT_A_TIME);
        while let Some(keys) = reads.next().await {
            for (stream, registry_key) in keys? {
                registry_keys.entry(stream).or_default().push(registry_key);
            }
        }
        drop(reads);
        let targets: BTreeSet<WorkflowId> = self
            .migrated
            .values()
            .map(|(event, _)| event.workflow_id().clone())
            .collect();
        for target in &targets {
            mark_present(&mut self.txn, target).await?;
        }
        for (stream, (event, remember)) in &self.migrated {
            let Some(head) = self.heads.get(stream) else {
                continue;
            };
            let keys = registry_keys.get(stream).map_or(&[][..], Vec::as_slice);
            put_migration(&mut self.txn, stream, head, event, keys)?;
            if *remember {
                self.txn
                    .put(PerStream::Remembered.key(stream), record::mark())?;
            }
        }
        Ok(targets)
    }

    async fn put_decisions(&mut self) -> Result<(), Error> {
        for (version, stream, decision) in std::mem::take(&mut self.decisions) {
            let key = key::version(&version, &stream);
            // Read in the transaction: a migration in between removes the row,
            // and must not find it put back.
            if self.txn.get(&key).await?.is_none() {
                continue;
            }
            // The head is what every chunk reads, so it says what keeps runs away.
            let now = super::read_head(&self.txn, &stream).await?;
            let Some(head) = now.filter(|head| head.workflow_id == version) else {
                continue;
            };
            if decision == Decision::Finished && head.held {
                continue;
            }
            let says = Head {
                finished: head.finished || decision == Decision::Finished,
                held: matches!(decision, Decision::Skipped { .. }),
                ..head.clone()
            };
            if says != head {
                let row = record::write_head(&says)?;
                self.txn.put(PerStream::Head.key(&stream), row)?;
            }
            self.txn.put(key, record::write_decision(&decision)?)?;
        }
        Ok(())
    }
}

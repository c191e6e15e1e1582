//! A chunk: some processes, read and committed in one transaction.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use bytes::Bytes;

use crate::error::{Error, ErrorKind};
use crate::event::NewEvent;
use crate::id::{StreamId, WorkflowId};
use crate::store::key::{self, KeyRange, PerStream};
use crate::store::kv::{Kv, KvScan, KvTxn};
use crate::store::records::events::mark_present;
use crate::store::records::{ROW, entries, put_migration};
use crate::store::{
    Chunk, ChunkEvent, ChunkProblem, ChunkProcess, ChunkRequest, Decision, Head, record,
};

/// For how many events room is made before they are read.
const MANY: usize = 256;

/// How many rows a cursor steps over before it seeks instead.
const STEPS_BEFORE_SEEK: usize = 16;

/// Reads the rows of some keys out of an ordered scan.
struct Cursor<S> {
    rows: S,
    peeked: Option<(Bytes, Bytes)>,
    done: bool,
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
        for _ in 0..STEPS_BEFORE_SEEK {
            match self.peek().await? {
                Some((at, _)) if at[..] < *key => self.peeked = None,
                _ => return Ok(()),
            }
        }
        self.rows.seek(key).await?;
        self.peeked = None;
        Ok(())
    }
}

pub(super) struct RecordChunk<K: Kv> {
    kv: K,
    txn: K::Txn,
    processes: Vec<ChunkProcess>,
    heads: BTreeMap<StreamId, Head>,
    covered: usize,
    migrated: BTreeMap<StreamId, (NewEvent, bool)>,
    decisions: Vec<(WorkflowId, StreamId, Decision)>,
    rows: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
}

impl<K: Kv> RecordChunk<K> {
    /// Reads the heads and the events of the requested processes.
    pub(super) async fn read(kv: K, request: ChunkRequest) -> Result<Self, Error> {
        let txn = kv.begin()?;
        let mut chunk = Self {
            kv,
            txn,
            processes: Vec::with_capacity(request.streams.len()),
            heads: BTreeMap::new(),
            covered: 0,
            migrated: BTreeMap::new(),
            decisions: Vec::new(),
            rows: BTreeMap::new(),
        };
        let (Some(first), Some(last)) = (request.streams.first(), request.streams.last()) else {
            return Ok(chunk);
        };
        if !request.streams.is_sorted_by(|a, b| a < b) {
            return Err(Error::invalid(
                "the streams of a chunk are not sorted, or not each there once",
            ));
        }
        // The heads first: see `knows_of`.
        let between = PerStream::Head.between(first, last);
        let bytes = request.streams.len().saturating_mul(ROW);
        let mut heads = Cursor::new(&chunk.txn, between, bytes).await?;
        let mut between = key::events_between(first, last);
        if let Some(after) = request.events_after {
            // Not to come by all that was folded outside of the transaction.
            between.start = key::event(first, after.saturating_add(1));
        }
        let mut events = Cursor::new(&chunk.txn, between, request.max_bytes).await?;
        let mut bytes = 0;
        for stream in request.streams {
            if bytes >= request.max_bytes && chunk.covered > 0 {
                break;
            }
            chunk.covered += 1;
            let like = chunk.processes.last().and_then(|last| last.head.as_ref());
            let like = like.map(|head| &head.workflow_id);
            let head = match read_head(&mut heads, &stream, like).await? {
                None => continue,
                Some(Ok(head)) => head,
                Some(Err(problem)) => {
                    chunk.processes.push(ChunkProcess {
                        stream,
                        head: None,
                        events: Vec::new(),
                        problem: Some(problem),
                    });
                    continue;
                }
            };
            let after = request.events_after.unwrap_or(head.replay_after());
            let (txn, max_bytes) = (&chunk.txn, request.max_bytes);
            let read = read_events(txn, &mut events, &stream, &head, after, max_bytes).await?;
            let (read, problem) = match read {
                Ok((read, size)) => {
                    bytes += size;
                    (read, None)
                }
                Err(problem) => (Vec::new(), Some(problem)),
            };
            chunk.heads.insert(stream.clone(), head.clone());
            chunk.processes.push(ChunkProcess {
                stream,
                head: Some(head),
                events: read,
                problem,
            });
        }
        Ok(chunk)
    }
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
    let head = record::read_head_like(row, like);
    Ok(Some(head.map_err(|bad| {
        problem(&bad.of(format_args!("the head of stream {stream}")))
    })))
}

fn problem(error: &Error) -> ChunkProblem {
    match error.kind() {
        ErrorKind::NewerFormat => ChunkProblem::NewerFormat(error.to_string()),
        _ => ChunkProblem::Corrupt(error.to_string()),
    }
}

/// The events of a stream above `after`, and how many bytes they are.
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
) -> Result<Result<(Vec<ChunkEvent>, usize), ChunkProblem>, Error> {
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
            _ => return corrupt(Error::missing_event(stream, expected)),
        }
        let row = rows.take().map(|(_, row)| row).unwrap_or_default();
        bytes += row.len();
        if bytes > max_bytes {
            return Ok(Err(ChunkProblem::TooLarge));
        }
        match record::read_chunk_event(row, expected) {
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
        self.put_migrations().await?;
        self.put_decisions().await?;
        for (key, row) in std::mem::take(&mut self.rows) {
            match row {
                Some(row) => self.txn.put(key::run_row(&key), row)?,
                None => self.txn.delete(key::run_row(&key))?,
            }
        }
        self.txn.commit().await
    }
}

impl<K: Kv> RecordChunk<K> {
    async fn put_migrations(&mut self) -> Result<(), Error> {
        let (Some(first), Some(last)) = (
            self.migrated.keys().next(),
            self.migrated.keys().next_back(),
        ) else {
            return Ok(());
        };
        let mut registry_keys: BTreeMap<StreamId, Vec<_>> = BTreeMap::new();
        for (stream, registry_key) in
            entries::keys_of(&self.txn, first, last, self.migrated.len()).await?
        {
            registry_keys.entry(stream).or_default().push(registry_key);
        }
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
        Ok(())
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

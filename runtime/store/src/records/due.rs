//! Pages of due processes: a scan of the heads of a range, joined with the
//! events of the processes that are due, as of one instant.

use std::sync::atomic::Ordering;
use std::time::Instant;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use state_migration_core::{
    ChunkEvent, ChunkProblem, DueFilter, DueOf, DuePage, DueProcess, DueRequest, Error, ErrorKind,
    Head, Passed, ReadPoint, Snapshot, StreamId, Verdict, WorkflowId,
};

use crate::key::{self, KeyRange, PerStream};
use crate::kv::{Kv, KvScan, KvTxn};
use crate::record;
use crate::records::rows::{Rows, ended_early};
use crate::records::{ROW, RecordStore};

/// Maximum capacity reserved for events before they are read.
const MANY: usize = 256;

/// The number of rows that a cursor steps over before it seeks instead.
const STEPS_BEFORE_SEEK: usize = 16;

/// Due processes are sparse when there are this many heads for each of them. It
/// is then cheaper to look up the events of each than to scan everything in
/// between.
const FAR_APART: usize = 8;

/// The number of processes read concurrently when each is read separately.
const AT_A_TIME: usize = 8;

/// Expected size of an event row, in bytes.
const EVENT_ROW: usize = 512;

/// A snapshot is read and used if it saves reading this many events.
const WORTH_A_SNAPSHOT: u64 = 64;

/// The transaction that read a page, and when it began.
pub(crate) struct OpenRead<T> {
    pub(crate) txn: T,
    pub(crate) began: Instant,
    /// The heads that it read, sorted by stream, with their revisions.
    heads: Vec<(StreamId, u64)>,
}

impl<T> OpenRead<T> {
    /// Whether it has read these heads: any change of one of them since
    /// conflicts with its transaction.
    pub(crate) fn has_read<'a>(
        &self,
        heads: impl Iterator<Item = (&'a StreamId, &'a Head)>,
    ) -> bool {
        let has_read = |(stream, head): (&StreamId, &Head)| {
            let at = self.heads.binary_search_by(|(read, _)| read.cmp(stream));
            at.is_ok_and(|at| self.heads[at].1 == head.revision)
        };
        let mut heads = heads;
        heads.all(has_read)
    }
}

/// A process as its head describes it.
struct FoundProcess {
    stream: StreamId,
    head: Result<Head, ChunkProblem>,
    /// Whether to read its events too.
    is_due: bool,
    /// The heads passed before it, including its own.
    passed: Passed,
}

/// The result of reading the heads for a page.
#[derive(Default)]
struct Heads {
    found: Vec<FoundProcess>,
    passed: Passed,
    up_to: Option<StreamId>,
    at_end: bool,
}

impl Heads {
    fn add(&mut self, stream: StreamId, head: Result<Head, ChunkProblem>, filter: &dyn DueFilter) {
        let is_due = match &head {
            Ok(head) => match filter.verdict(&stream, head) {
                Verdict::Due => true,
                Verdict::Head => false,
                Verdict::Pass(skipped) => {
                    return self.passed.count(&head.workflow_id, &skipped);
                }
            },
            Err(_) if filter.wants_unreadable(&stream) => false,
            Err(_) => return,
        };
        let passed = std::mem::take(&mut self.passed);
        self.found.push(FoundProcess {
            stream,
            head,
            is_due,
            passed,
        });
    }
}

/// Reads a page.
pub(crate) async fn read<K: Kv>(
    store: &RecordStore<K>,
    request: DueRequest,
) -> Result<DuePage, Error> {
    let began = Instant::now();
    let txn = store.kv().begin()?;
    let mut heads = match &request.of {
        DueOf::Range(range) => {
            let range = PerStream::Head.within(range);
            scan_heads(store, &txn, range, &request).await?
        }
        DueOf::Streams(streams) => {
            if !streams.is_sorted_by(|a, b| a < b) {
                return Err(Error::invalid(
                    "the streams of a page must be sorted and unique",
                ));
            }
            get_heads(&txn, streams, &request).await?
        }
    };
    let found = std::mem::take(&mut heads.found);
    let (all, due) = (found.len(), found.iter().filter(|one| one.is_due).count());
    let between: u64 = found.iter().skip(1).map(|one| one.passed.heads).sum();
    let far_apart = due > 1 && between > (due * FAR_APART) as u64;
    let of_streams = matches!(request.of, DueOf::Streams(_));
    let (processes, cut) = match due > 1 && !far_apart && !of_streams {
        true => read_together(&txn, &request, found).await?,
        false => read_one_by_one(&txn, &request, found).await?,
    };
    let read = processes.iter().filter_map(|process| {
        let head = process.head.as_ref()?;
        Some((process.stream.clone(), head.revision))
    });
    let open = OpenRead {
        heads: read.collect(),
        txn,
        began,
    };
    let mut page = DuePage {
        passed: heads.passed,
        up_to: heads.up_to,
        at_end: heads.at_end,
        processes,
        read_point: ReadPoint::of(open),
    };
    // Everything after a process that did not fit belongs to the next page.
    if cut || page.processes.len() < all {
        page.passed = Passed::default();
        page.up_to = page.processes.last().map(|last| last.stream.clone());
        page.at_end = false;
    }
    Ok(page)
}

/// Scans the heads of a range for due processes.
async fn scan_heads<K: Kv>(
    store: &RecordStore<K>,
    txn: &K::Txn,
    range: KeyRange,
    request: &DueRequest,
) -> Result<Heads, Error> {
    let filter = &*request.filter;
    let versions: Option<Vec<WorkflowId>> =
        filter.versions().map(|all| all.iter().cloned().collect());
    let (mut like, mut newest) = (record::LastVersions::default(), None);
    let spread = &store.inner.spread;
    let looks = request
        .max_processes
        .saturating_mul(spread.load(Ordering::Relaxed))
        .min(request.max_heads);
    let mut rows = Rows::scan(txn, range, looks.saturating_mul(ROW)).await?;
    let (mut last, mut seen) = (None, 0);
    let mut heads = Heads {
        found: Vec::with_capacity(request.max_processes.min(MANY)),
        ..Heads::default()
    };
    while heads.found.len() < request.max_processes && seen < request.max_heads {
        let Some((row_key, row)) = rows.next().await? else {
            heads.at_end = true;
            break;
        };
        seen += 1;
        heads.passed.heads += 1;
        let at = match &versions {
            Some(versions) => record::head_is_of(&row, versions, &mut like),
            None => Some(newest.as_ref()),
        };
        let Some(at) = at else {
            last = Some(row_key);
            continue;
        };
        let stream = PerStream::Head.stream(&row_key)?;
        let head = decode_head(row, &stream, at);
        if versions.is_none()
            && let Ok(head) = &head
            && newest.as_ref() != Some(&head.workflow_id)
        {
            newest = Some(head.workflow_id.clone());
        }
        heads.add(stream, head, filter);
        last = Some(row_key);
    }
    let per_process = seen / heads.found.len().max(1);
    spread.store(per_process.max(1), Ordering::Relaxed);
    heads.up_to = last.map(|key| PerStream::Head.stream(&key)).transpose()?;
    Ok(heads)
}

/// Gets the heads of the given streams, several concurrently.
async fn get_heads<T: KvTxn>(
    txn: &T,
    streams: &[StreamId],
    request: &DueRequest,
) -> Result<Heads, Error> {
    let most = request.max_processes.min(request.max_heads);
    let wanted = streams.iter().take(most);
    let reads = wanted.cloned().map(|stream| async move {
        let row = txn.get(&PerStream::Head.key(&stream)).await;
        (stream, row)
    });
    let mut reads = stream::iter(reads).buffered(AT_A_TIME);
    let mut heads = Heads {
        found: Vec::with_capacity(streams.len().min(most)),
        at_end: streams.len() <= most,
        ..Heads::default()
    };
    while let Some((stream, row)) = reads.next().await {
        heads.passed.heads += 1;
        heads.up_to = Some(stream.clone());
        if let Some(row) = row? {
            let head = decode_head(row, &stream, None);
            heads.add(stream, head, &*request.filter);
        }
    }
    Ok(heads)
}

impl FoundProcess {
    /// The process with its snapshot and its events.
    fn with(self, snapshot: Option<Snapshot>, read: Result<Events, ChunkProblem>) -> DueProcess {
        let (head, mut problem) = match self.head {
            Ok(head) => (Some(head), None),
            Err(problem) => (None, Some(problem)),
        };
        let events = read.map(|(events, _)| events).unwrap_or_else(|bad| {
            problem = Some(bad);
            Vec::new()
        });
        DueProcess {
            stream: self.stream,
            head,
            events,
            snapshot: snapshot.filter(|_| problem.is_none()),
            problem,
            passed: self.passed,
        }
    }
}

/// The processes of a page that have been read.
struct Read {
    processes: Vec<DueProcess>,
    bytes: usize,
}

impl Read {
    fn of(found: usize) -> Self {
        Self {
            processes: Vec::with_capacity(found),
            bytes: 0,
        }
    }

    /// Adds a process; returns whether it fits, and whether more may follow.
    fn add(&mut self, found: FoundProcess, more: ProcessParts, request: &DueRequest) -> Fit {
        let (snapshot, read) = more;
        if matches!(read, Err(ChunkProblem::TooLarge)) && !self.processes.is_empty() {
            return Fit::Not;
        }
        let is_too_large = matches!(read, Err(ChunkProblem::TooLarge));
        self.bytes += read.as_ref().map_or(0, |(_, bytes)| *bytes)
            + snapshot.as_ref().map_or(0, |it| it.state.len());
        self.processes.push(found.with(snapshot, read));
        match is_too_large || self.bytes >= request.max_bytes {
            true => Fit::Last,
            false => Fit::More,
        }
    }
}

/// Whether a process fits on a page.
#[derive(PartialEq)]
enum Fit {
    More,
    Last,
    Not,
}

/// The parts of a process that are read in addition to its head.
type ProcessParts = (Option<Snapshot>, Result<Events, ChunkProblem>);

/// No snapshot and no events: only the head was requested, or it is unreadable.
fn no_parts() -> ProcessParts {
    (None, Ok((Vec::new(), 0)))
}

/// Reads the events of dense processes in one scan; also returns whether the
/// page ends before the last process found.
async fn read_together<T: KvTxn>(
    txn: &T,
    request: &DueRequest,
    found: Vec<FoundProcess>,
) -> Result<(Vec<DueProcess>, bool), Error> {
    let is_due = |one: &&FoundProcess| one.is_due;
    let (Some(first), Some(last)) = (found.iter().find(is_due), found.iter().rfind(is_due)) else {
        return Ok((Vec::new(), false));
    };
    let between = key::events_between(&first.stream, &last.stream);
    let mut events = Cursor::new(txn, between, request.max_bytes).await?;
    let mut read = Read::of(found.len());
    for mut one in found {
        let more = match &one.head {
            Ok(head) if one.is_due => {
                let snapshot = read_snapshot(txn, request, &one.stream, head).await?;
                let limit = request.max_process_bytes;
                let events = match &snapshot {
                    Some(snapshot) if !request.all_events => {
                        // The snapshot skips many events, so the next process's
                        // events are far ahead in the scan.
                        events.far = true;
                        let after = snapshot.sequence;
                        read_events_alone(txn, &one.stream, head, after, limit).await?
                    }
                    _ => {
                        let after = request.start_of(head);
                        read_events(txn, &mut events, &one.stream, head, after, limit).await?
                    }
                };
                (snapshot, events)
            }
            _ => no_parts(),
        };
        let more = not_erased(txn, request, &mut one, more).await?;
        match read.add(one, more, request) {
            Fit::More => {}
            Fit::Last | Fit::Not => return Ok((read.processes, true)),
        }
    }
    Ok((read.processes, false))
}

/// Reads the events of each process separately, several concurrently, without
/// reading anything in between.
async fn read_one_by_one<T: KvTxn>(
    txn: &T,
    request: &DueRequest,
    found: Vec<FoundProcess>,
) -> Result<(Vec<DueProcess>, bool), Error> {
    let mut read = Read::of(found.len());
    let reads = found.into_iter().map(|mut one| async move {
        let more = match &one.head {
            Ok(head) if one.is_due => read_alone(txn, request, &one.stream, head).await,
            _ => Ok(no_parts()),
        };
        let more = match more {
            Ok(more) => not_erased(txn, request, &mut one, more).await,
            Err(error) => Err(error),
        };
        (one, more)
    });
    let mut reads = stream::iter(reads).buffered(AT_A_TIME);
    while let Some((one, more)) = reads.next().await {
        if read.add(one, more?, request) != Fit::More {
            // Reads that were started beyond the end of the page are dropped
            // with their scans.
            return Ok((read.processes, true));
        }
    }
    drop(reads);
    Ok((read.processes, false))
}

/// Reads a process again whose events could not be read, if its head has changed since: its
/// events may have been erased after a migration.
async fn not_erased<T: KvTxn>(
    txn: &T,
    request: &DueRequest,
    one: &mut FoundProcess,
    parts: ProcessParts,
) -> Result<ProcessParts, Error> {
    let (Ok(head), (_, Err(ChunkProblem::Corrupt(_)))) = (&one.head, &parts) else {
        return Ok(parts);
    };
    if txn.is_of_one_instant() {
        return Ok(parts);
    }
    match crate::records::read_head(txn, &one.stream).await {
        Ok(Some(now)) if now.revision != head.revision => {
            let parts = read_alone(txn, request, &one.stream, &now).await;
            one.head = Ok(now);
            parts
        }
        _ => Ok(parts),
    }
}

async fn read_alone<T: KvTxn>(
    txn: &T,
    request: &DueRequest,
    stream: &StreamId,
    head: &Head,
) -> Result<ProcessParts, Error> {
    let snapshot = read_snapshot(txn, request, stream, head).await?;
    let after = match &snapshot {
        Some(snapshot) if !request.all_events => snapshot.sequence,
        _ => request.start_of(head),
    };
    let limit = request.max_process_bytes;
    let events = read_events_alone(txn, stream, head, after, limit).await?;
    Ok((snapshot, events))
}

/// Reads the rows of given keys from an ordered scan.
struct Cursor<S> {
    rows: S,
    peeked: Option<(Bytes, Bytes)>,
    done: bool,
    /// Whether many rows precede the next key, so that seeking is better than
    /// stepping.
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
            far: false,
        })
    }

    /// The next row, without consuming it.
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

    /// Advances to the first row with a key of at least `key`.
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
        }
        self.rows.seek(key).await?;
        self.peeked = None;
        Ok(())
    }
}

/// The snapshot of a process, if it is valid and saves enough reading.
async fn read_snapshot<T: KvTxn>(
    txn: &T,
    request: &DueRequest,
    stream: &StreamId,
    head: &Head,
) -> Result<Option<Snapshot>, Error> {
    let Some(schema_version) = request.snapshots.get(&head.workflow_id) else {
        return Ok(None);
    };
    let saves = if request.all_events {
        1
    } else {
        WORTH_A_SNAPSHOT
    };
    let worth = head.replay_after().saturating_add(saves);
    if request.events_after.is_some() || head.sequence < worth {
        return Ok(None);
    }
    let row = txn.get(&PerStream::Snapshot.key(stream)).await?;
    // A snapshot is a cache: an unreadable one counts as missing.
    let snapshot = row.and_then(|row| record::read_snapshot(row, stream).ok());
    Ok(snapshot.filter(|snapshot| {
        snapshot.workflow_id == head.workflow_id
            && snapshot.state_schema_version == *schema_version
            && (worth..=head.sequence).contains(&snapshot.sequence)
            && snapshot.state.len() <= request.max_bytes
    }))
}

/// Like [`read_events`], with a scan of this stream only.
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

/// Events, and their size in bytes.
type Events = (Vec<ChunkEvent>, usize);

/// The events of a stream above `after`.
///
/// Their number is checked against the head, so that a scan that ends early is
/// detected and never taken for a shorter stream.
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
        let at = (expected > head.replay_after()).then_some(&head.workflow_id);
        match record::read_chunk_event(row, expected, at) {
            Ok(event) => events.push(event),
            Err(bad) => {
                return corrupt(bad.of(format_args!("event {expected} of stream {stream}")));
            }
        }
    }
    if let Some((at, _)) = rows.peek().await?
        && let Some(beyond) = key::sequence_in(at, &prefix)
        && beyond > head.sequence
        && !head_covers(txn, stream, beyond).await?
    {
        return corrupt(crate::records::events::event_after_head(stream, beyond));
    }
    Ok(Ok((events, bytes)))
}

/// Distinguishes a row that does not exist from one that a scan omitted.
async fn check_absent<T: KvTxn>(txn: &T, key: &[u8]) -> Result<(), Error> {
    if txn.is_of_one_instant() && txn.get(key).await?.is_some() {
        return Err(ended_early(None, key));
    }
    Ok(())
}

/// Whether the head by now includes an event.
///
/// If reads are not as of one instant, a writer may append after the heads were
/// read and before the events are. Such an event is omitted, so that the page
/// is as of the instant of its heads. Because no read is of an earlier instant
/// than a previous one, events are never behind the heads.
async fn head_covers<T: KvTxn>(txn: &T, stream: &StreamId, sequence: u64) -> Result<bool, Error> {
    let row = txn.get(&PerStream::Head.key(stream)).await?;
    let head = row.map(record::read_head);
    Ok(matches!(head, Some(Ok(head)) if head.sequence >= sequence))
}

//! The transactional store: one transaction over events, heads and the rows of
//! runs, which makes a migration atomic.
//!
//! A run reads a page of processes as of one instant ([`read_due`]), processes
//! it without holding a transaction or lock that others wait for, and commits
//! the result as a value ([`Batch`]). The revision of a head is the only point
//! of conflict.
//!
//! [`read_due`]: TransactionalStore::read_due

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use bytestring::ByteString;

use crate::SkippedBy;
use crate::error::{Error, ErrorKind};
use crate::event::NewEvent;
use crate::fingerprint::Fingerprint;
use crate::id::{RunId, StreamId, WorkflowId};
use crate::store_api::{
    EventStore, Head, Rehearsal, RehearsalNeeds, Snapshot, StoreId, WriteActivity,
};
use crate::time::Timestamp;

/// A contiguous part of the streams, in order of their ids.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StreamRange {
    /// The range starts after this stream; `None`: at the first stream.
    pub after: Option<StreamId>,
    /// The range ends with this stream; `None`: with the last stream.
    pub through: Option<StreamId>,
}

/// The operator's record of a hold, which excludes a process from all runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// The actor, as given by the operator.
    pub actor: ByteString,
    /// The reason, as given by the operator.
    pub reason: ByteString,
    /// The time, by the clock of the program that wrote it.
    pub time: Timestamp,
}

/// A version of a workflow at which processes may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Presence {
    /// The version.
    pub version: WorkflowId,
    /// The run that is closing it, for which each birth at this version is
    /// recorded.
    pub closing: Option<RunId>,
}

/// The result of splitting the work into ranges.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Partitioning {
    /// The ranges, in order; together they cover what was split.
    pub ranges: Vec<StreamRange>,
    /// The approximate number of heads in them. A store may count a head again
    /// for each file that still has an older revision of it.
    pub heads: u64,
    /// The number of due processes at each version, if the store has few heads
    /// and read all of them.
    pub due: Option<BTreeMap<WorkflowId, u64>>,
}

/// The parts of a process to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The head and the events.
    Due,
    /// The head only.
    Head,
    /// Nothing; the process is added to these counts.
    Pass(SkippedBy),
}

/// The processes that a reader is interested in.
pub trait DueFilter: Send + Sync {
    /// The versions at which a process may be due; `None`: all versions. A
    /// process at another version is passed without a call of
    /// [`verdict`](Self::verdict).
    fn versions(&self) -> Option<&BTreeSet<WorkflowId>>;

    /// The parts to read of a process at one of these versions.
    fn verdict(&self, stream: &StreamId, head: &Head) -> Verdict;

    /// Whether to return a process whose head cannot be read.
    fn wants_unreadable(&self, stream: &StreamId) -> bool {
        let _ = stream;
        true
    }
}

/// Where to look for processes.
#[derive(Debug, Clone)]
pub enum DueOf {
    /// A range of streams; the versions of the filter apply.
    Range(StreamRange),
    /// These streams, whatever their versions. A store rejects streams that are not
    /// sorted, or not unique, with [`ErrorKind::Invalid`].
    Streams(Vec<StreamId>),
}

/// The request for one page.
#[derive(Clone)]
pub struct DueRequest {
    /// Where to look for processes.
    pub of: DueOf,
    /// Which of those processes to read.
    pub filter: Arc<dyn DueFilter>,
    /// The maximum number of processes on the page.
    pub max_processes: usize,
    /// The maximum number of heads that the page reads.
    pub max_heads: usize,
    /// The page ends once it has read this many bytes of events, counted as the
    /// store likes, but at least their payloads.
    pub max_bytes: usize,
    /// A process with more bytes of events than this is returned as too large,
    /// without its events, and as the only process of its page.
    pub max_process_bytes: usize,
    /// Read only events after this sequence number, and none before the
    /// baseline, unless the [whole history](Self::whole_history) is requested.
    /// For a page of one process.
    pub events_after: Option<u64>,
    /// The versions at which a process may be read from its snapshot, each with
    /// the `STATE_SCHEMA_VERSION` that the snapshot must have. A store may
    /// ignore this.
    pub snapshots: Arc<BTreeMap<WorkflowId, u32>>,
    /// Whether to return the events before a snapshot, too, and a snapshot that
    /// saves little, so that the two can be compared. A store may ignore this.
    pub all_events: bool,
    /// Whether to read all events that still exist, also those before the
    /// baseline.
    pub whole_history: bool,
}

impl DueRequest {
    /// The sequence number after which the events of a process are read.
    #[must_use]
    pub fn start_of(&self, head: &Head) -> u64 {
        let first = match self.whole_history {
            true => head.first_kept.saturating_sub(1),
            false => head.replay_after(),
        };
        self.events_after.map_or(first, |after| after.max(first))
    }
}

/// An event on a page, with only what a fold needs.
#[derive(Clone)]
pub struct ChunkEvent {
    /// Its sequence number in the stream.
    pub sequence: u64,
    /// The stable type.
    pub event_type: ByteString,
    /// The version of the payload's layout.
    pub schema_version: u32,
    /// The payload, raw JSON.
    pub payload: Bytes,
}

impl fmt::Debug for ChunkEvent {
    // The payload may hold personal data, which must not reach logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChunkEvent")
            .field("sequence", &self.sequence)
            .field("event_type", &self.event_type)
            .field("schema_version", &self.schema_version)
            .field("payload_len", &self.payload.len())
            .finish()
    }
}

/// The heads that a page passed between two of its processes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Passed {
    /// The number of heads, at any version.
    pub heads: u64,
    /// The counts from the filter, by version.
    pub counted: Vec<(WorkflowId, SkippedBy)>,
}

impl Passed {
    /// Counts a head that the filter passed.
    pub fn count(&mut self, version: &WorkflowId, skipped: &SkippedBy) {
        match self.counted.iter_mut().find(|(at, _)| at == version) {
            Some((_, sum)) => sum.add(skipped),
            None => self.counted.push((version.clone(), *skipped)),
        }
    }

    /// Adds the heads passed in another part of a page.
    pub fn add(&mut self, other: &Self) {
        self.heads += other.heads;
        for (version, skipped) in &other.counted {
            self.count(version, skipped);
        }
    }
}

/// One process of a page.
#[derive(Debug, Clone)]
pub struct DueProcess {
    /// Its stream.
    pub stream: StreamId,
    /// Its head; `None` if that cannot be read.
    pub head: Option<Head>,
    /// Its events from the baseline on (or after
    /// [`events_after`](DueRequest::events_after), or after the snapshot if
    /// there is one), in order; empty if only the head was requested.
    pub events: Vec<ChunkEvent>,
    /// The snapshot after which the events start, if one was requested in
    /// [`snapshots`](DueRequest::snapshots) and saves reading events.
    ///
    /// It must have the version of the head and the requested schema version,
    /// and its sequence number must be after the baseline and not after the
    /// head. A store may always return `None`.
    pub snapshot: Option<Snapshot>,
    /// The reason why the process cannot be read, or that it is too large for a
    /// page.
    pub problem: Option<ChunkProblem>,
    /// The heads passed since the previous process, including this one's own.
    pub passed: Passed,
}

/// The reason why a page returns a process without its events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChunkProblem {
    /// Its events exceed [`max_process_bytes`](DueRequest::max_process_bytes).
    TooLarge,
    /// One of its records cannot be read; the text names the record.
    Corrupt(String),
    /// One of its records was written by a newer version of this crate; the
    /// text names the record.
    NewerFormat(String),
}

/// Processes read as of one instant.
#[derive(Debug, Default)]
pub struct DuePage {
    /// The processes, in order of their streams. Streams without events are
    /// left out.
    pub processes: Vec<DueProcess>,
    /// The heads passed after the last process.
    pub passed: Passed,
    /// The last stream that the page passed; `None` if it passed none.
    pub up_to: Option<StreamId>,
    /// Whether nothing is left to read after this page.
    pub at_end: bool,
    /// Allows a commit soon afterwards to skip reading the heads again.
    pub read_point: ReadPoint,
}

/// A store's own token for the instant at which it read a page.
///
/// It is only an optimization: a commit without a read point, or with one that
/// is too old, reads the heads again.
#[derive(Default)]
pub struct ReadPoint(Option<Box<dyn Any + Send + Sync>>);

impl ReadPoint {
    /// No read point.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// A read point from any value that identifies the instant in the store.
    #[must_use]
    pub fn of(instant: impl Any + Send + Sync) -> Self {
        Self(Some(Box::new(instant)))
    }

    /// The store's value, if it has this type.
    #[must_use]
    pub fn into<T: Any>(self) -> Option<T> {
        self.0?.downcast().ok().map(|instant| *instant)
    }
}

impl fmt::Debug for ReadPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ReadPoint").field(&self.0.is_some()).finish()
    }
}

/// The migration of one process in a batch.
#[derive(Debug, Clone)]
pub struct Move {
    /// Its stream.
    pub stream: StreamId,
    /// The head as it was read: the process is migrated only if the head still
    /// has this revision.
    pub head: Head,
    /// The `$migrated` event.
    pub event: NewEvent,
    /// Whether to leave a note that a separate process registry must still be
    /// updated.
    pub update_registry: bool,
}

/// The finding of a version's code that a process is finished. A held process may
/// be marked, too, and stays held.
#[derive(Debug, Clone)]
pub struct Finished {
    /// Its stream.
    pub stream: StreamId,
    /// The head as it was read, as in a [`Move`].
    pub head: Head,
    /// The fingerprint of that code.
    pub by: Fingerprint,
}

/// The removal of a process's first events, all of them below its baseline.
#[derive(Debug, Clone)]
pub struct Erasure {
    /// Its stream.
    pub stream: StreamId,
    /// The head as it was read, as in a [`Move`].
    pub head: Head,
    /// The events with smaller sequence numbers are removed, and a snapshot that was taken
    /// before this event. At most the sequence number of the baseline.
    pub before: u64,
}

/// The required value of a row when a batch is committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expected {
    /// Any value.
    Anything,
    /// This value; `None`: the row must not exist.
    Exactly(Option<Bytes>),
}

/// A write to a bookkeeping row of runs.
#[derive(Debug, Clone)]
pub struct RowWrite {
    /// Its key.
    pub key: Vec<u8>,
    /// The required value before the write.
    pub expected: Expected,
    /// The value after the write; `None` removes the row.
    pub value: Option<Bytes>,
}

impl RowWrite {
    /// A write without a condition.
    #[must_use]
    pub fn put(key: Vec<u8>, value: impl Into<Bytes>) -> Self {
        Self {
            key,
            expected: Expected::Anything,
            value: Some(value.into()),
        }
    }

    /// A removal without a condition.
    #[must_use]
    pub fn remove(key: Vec<u8>) -> Self {
        Self {
            key,
            expected: Expected::Anything,
            value: None,
        }
    }

    /// The same write, on the condition that the row has this value.
    #[must_use]
    pub fn expecting(mut self, held: Option<Bytes>) -> Self {
        self.expected = Expected::Exactly(held);
        self
    }
}

/// The writes of one transaction, committed atomically.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    /// Rows that must have these values and are not written, such as the claim.
    pub guards: Vec<(Vec<u8>, Option<Bytes>)>,
    /// Processes to migrate; each stream at most once.
    pub moves: Vec<Move>,
    /// Processes to mark as finished, none of which is also migrated.
    pub finished: Vec<Finished>,
    /// Processes of which events are removed, none of which is also migrated or marked as
    /// finished.
    pub erased: Vec<Erasure>,
    /// Writes to bookkeeping rows of runs.
    pub rows: Vec<RowWrite>,
    /// Births to remove because they were handled.
    pub births: Vec<(WorkflowId, StreamId)>,
    /// Versions to record as present, where processes may be from now on.
    pub present: Vec<WorkflowId>,
    /// Whether the target versions are known to be present and not closing
    /// while the guards hold, so that the store need not check.
    pub arrivals_are_known: bool,
    /// Versions to mark as closing for this run, so that every birth there is
    /// recorded from now on.
    pub closing: Option<(RunId, Vec<WorkflowId>)>,
}

impl Batch {
    /// Whether the batch changes nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.moves.is_empty()
            && self.finished.is_empty()
            && self.erased.is_empty()
            && self.rows.is_empty()
            && self.births.is_empty()
            && self.present.is_empty()
            && self.closing.is_none()
    }
}

/// The outcome of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "a batch whose outcome is `Stale` was not written"]
pub enum Commit {
    /// The whole batch was written.
    Written,
    /// Nothing was written.
    Stale(Stale),
}

/// The expectations of a batch that were not met.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stale {
    /// Streams whose heads have another revision or are held.
    pub streams: Vec<StreamId>,
    /// Rows that have another value.
    pub rows: Vec<Vec<u8>>,
}

/// A store that holds events, snapshots and process registry together, and can
/// change them in one transaction.
///
/// A user's own store that implements this gets atomic migrations; the runner
/// knows stores only through this trait and the three others.
#[async_trait]
pub trait TransactionalStore: EventStore {
    /// The id of the store, which is the same for every handle.
    fn store_id(&self) -> StoreId;

    /// The versions of a workflow at which processes may be, sorted. No process
    /// is at a version that is missing here; a version without processes may be
    /// missing unless it is closing.
    ///
    /// # Errors
    /// The store could not be read.
    async fn versions(&self, name: &str) -> Result<Vec<Presence>, Error>;

    /// Splits ranges of streams, which are sorted and disjoint, into at most
    /// `parts` ranges with similar numbers of heads, which cover the same
    /// streams. The result has at least as many ranges as were given, and
    /// otherwise no ranges that are estimated at fewer than `at_least` heads.
    ///
    /// The store reads all heads only if they are few; it then also counts
    /// those that the filter says are due.
    ///
    /// # Errors
    /// The store could not be read.
    async fn split(
        &self,
        within: &[StreamRange],
        filter: &dyn DueFilter,
        parts: usize,
        at_least: usize,
    ) -> Result<Partitioning, Error>;

    /// Reads due processes. The head and the events of a process are of one
    /// instant, and if the store can do that, so are all processes of a page.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`]: the requested streams are not sorted or not unique; or
    /// the store could not be read.
    async fn read_due(&self, request: DueRequest) -> Result<DuePage, Error>;

    /// Commits a batch if all its expectations hold. This may return before the
    /// batch is durable: [`EventStore::flush`] makes it durable, for many
    /// commits at once. Commits become durable in the order in which they were
    /// made.
    ///
    /// An erasure removes events and raises the first sequence number that the head keeps, in
    /// the same transaction: a reader finds all of the events, or a head that says that they
    /// are gone.
    ///
    /// A move appends its event at the end of the stream and sets the head to
    /// the version of the event; no other row of the process changes. The
    /// arrival of a process at a version counts as a birth there.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] after repeated conflicts with other writers:
    /// nothing was written. [`ErrorKind::OutcomeUnknown`] if only a read can
    /// show whether the batch was written.
    async fn commit_unflushed(&self, batch: &Batch, read: ReadPoint) -> Result<Commit, Error>;

    /// Commits a batch, and returns when it is durable.
    ///
    /// # Errors
    /// Those of [`commit_unflushed`](Self::commit_unflushed).
    async fn commit(&self, batch: &Batch) -> Result<Commit, Error> {
        let commit = self.commit_unflushed(batch, ReadPoint::none()).await?;
        if commit == Commit::Written {
            self.flush().await?;
        }
        Ok(commit)
    }

    /// At most `limit` streams that were born at a version while it was
    /// closing, and whose births are not removed yet, sorted. Fewer than
    /// `limit` means the end.
    ///
    /// # Errors
    /// The store could not be read.
    async fn births(&self, version: &WorkflowId, limit: usize) -> Result<Vec<StreamId>, Error>;

    /// Ends what [`Batch::closing`] began, unless births are left. If `empty`
    /// says that no process is at the version any more, the version is removed;
    /// otherwise births are no longer recorded. If the version is not closing
    /// for this run, there is nothing to end. Returns whether the closing has
    /// ended.
    ///
    /// # Errors
    /// The store could not be read or written.
    async fn end_closing(
        &self,
        version: &WorkflowId,
        run: RunId,
        empty: bool,
    ) -> Result<bool, Error>;

    /// Holds a process, so that no `$migrated` event can be appended to it, or
    /// releases it, and writes the record of that in the same transaction. Returns
    /// its new head; `None` if the stream has no events, and then nothing is
    /// written.
    ///
    /// # Errors
    /// The store could not be written.
    async fn hold(
        &self,
        stream: &StreamId,
        hold: Option<Hold>,
        record: RowWrite,
    ) -> Result<Option<Head>, Error>;

    /// The record of a process's hold; `None` if the process is not held.
    ///
    /// # Errors
    /// The store could not be read.
    async fn held(&self, stream: &StreamId) -> Result<Option<Hold>, Error>;

    /// At most `limit` streams after `after` whose version must still be
    /// written to a separate process registry.
    ///
    /// # Errors
    /// The store could not be read.
    async fn pending_registry_updates(
        &self,
        after: Option<&StreamId>,
        limit: usize,
    ) -> Result<Vec<StreamId>, Error>;

    /// Deletes notes that were left by [`Move::update_registry`].
    ///
    /// # Errors
    /// The store could not be written.
    async fn forget(&self, streams: &[StreamId]) -> Result<(), Error>;

    /// At most `limit` bookkeeping rows of runs whose keys start with `prefix`
    /// and are above `after`, in order of their keys. Fewer than `limit` means
    /// the end.
    ///
    /// # Errors
    /// The store could not be read.
    async fn rows(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, Error>;

    /// Copies the store as of this instant, for a rehearsal. The original stays as it is,
    /// and no writer of it is fenced. A store that cannot be copied refuses this, as the
    /// provided implementation does.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`]: the store does not support this, or has too little space. Or
    /// the copy could not be made.
    async fn rehearsal(&self, needs: RehearsalNeeds) -> Result<Box<dyn Rehearsal>, Error> {
        let _ = needs;
        Err(cannot_rehearse())
    }

    /// Whether this handle is the only possible writer for as long as it can
    /// write. If so, a run of another program has ended or is fenced, and no
    /// worker of a run takes over the range of another worker.
    fn is_single_writer(&self) -> bool {
        false
    }

    /// A folder on the local disk for files of this store's programs, which need not
    /// survive a power failure. It may not exist yet. `None`: the store has none, and the
    /// folder for temporary files is used.
    #[doc(hidden)]
    fn scratch_folder(&self) -> Option<PathBuf> {
        None
    }

    /// What is wrong with the storage below the store, as a sentence; `None` if the last
    /// requests were answered.
    #[doc(hidden)]
    fn trouble(&self) -> Option<String> {
        None
    }

    /// The writes to this store by anything but a run, through all handles in
    /// this program, so that a run can yield to them. A store that does not
    /// count them reports none.
    fn write_activity(&self) -> WriteActivity {
        WriteActivity::default()
    }
}

/// The error of a store that cannot be copied.
#[must_use]
pub fn cannot_rehearse() -> Error {
    Error::invalid(
        "this store makes no copies of itself, so a run cannot be rehearsed; use a dry run, or a copy of the store",
    )
}

/// The error for a batch whose expectations were not met, for callers that do
/// not handle the details.
pub fn stale(what: &str) -> Error {
    Error::new(
        ErrorKind::Conflict,
        format!("{what} conflicted with another write; read again and retry"),
    )
}

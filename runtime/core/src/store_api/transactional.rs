//! The capability that makes a migration all or nothing: one transaction over
//! events, heads and the rows of runs.
//!
//! A run reads a page of processes of one instant ([`read_due`]), works on it
//! with nothing open that others have to wait for, and commits the result as a
//! value ([`Batch`]). The revision of a head is the only point of conflict.
//!
//! [`read_due`]: TransactionalStore::read_due

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use bytestring::ByteString;

use crate::SkippedBy;
use crate::error::{Error, ErrorKind};
use crate::event::NewEvent;
use crate::fingerprint::Fingerprint;
use crate::id::{RunId, StreamId, WorkflowId};
use crate::store_api::{EventStore, Head, Snapshot, StoreId, Traffic};
use crate::time::Timestamp;

/// A contiguous part of the streams, in order of their ids.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StreamRange {
    /// The range starts after this stream; `None`: at the first.
    pub after: Option<StreamId>,
    /// The range ends with this stream; `None`: with the last.
    pub through: Option<StreamId>,
}

/// What an operator said about a process that no run may touch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// Who, in the operator's words.
    pub who: ByteString,
    /// Why, in the operator's words.
    pub why: ByteString,
    /// When, by the clock of the program that wrote it.
    pub time: Timestamp,
}

/// A version of a workflow at which processes may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Presence {
    /// The version.
    pub version: WorkflowId,
    /// The run that closes it, for which each birth there is recorded.
    pub closing: Option<RunId>,
}

/// Ranges to share the work by.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Split {
    /// The ranges, in order; together they cover what was to be split.
    pub ranges: Vec<StreamRange>,
    /// About how many heads there are in them.
    pub heads: u64,
    /// How many processes of each version are due, where all heads were read
    /// because they are few.
    pub due: Option<BTreeMap<WorkflowId, u64>>,
}

/// What is to be read of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Its head and its events.
    Due,
    /// Its head only.
    Head,
    /// Nothing; it is counted here.
    Pass(SkippedBy),
}

/// Which processes a reader is interested in.
pub trait DueFilter: Send + Sync {
    /// The versions at which a process may be due; `None`: all of them. A
    /// process at another version is passed without asking further.
    fn versions(&self) -> Option<&BTreeSet<WorkflowId>>;

    /// What is to be read of a process at one of these versions.
    fn verdict(&self, stream: &StreamId, head: &Head) -> Verdict;

    /// Whether a process is to be returned whose head cannot be read.
    fn wants_unreadable(&self, stream: &StreamId) -> bool {
        let _ = stream;
        true
    }
}

/// Where processes are looked for.
#[derive(Debug, Clone)]
pub enum DueOf {
    /// In a range of streams; the versions of the filter apply.
    Range(StreamRange),
    /// In these streams, sorted, each once, whatever their version is.
    Streams(Vec<StreamId>),
}

/// What one page is to read.
#[derive(Clone)]
pub struct DueRequest {
    /// Where processes are looked for.
    pub of: DueOf,
    /// Which of them.
    pub filter: Arc<dyn DueFilter>,
    /// The page ends with this many processes.
    pub max_processes: usize,
    /// The page ends after this many heads.
    pub max_heads: usize,
    /// The page ends once this many bytes of events have been read.
    pub max_bytes: usize,
    /// A process whose events are more bytes than this is returned as too
    /// large, without them, and as the only process of its page.
    pub max_process_bytes: usize,
    /// Read events after this sequence number only, and from the baseline on all
    /// the same. For a page of one process.
    pub events_after: Option<u64>,
    /// The versions at which a process may be read from its snapshot on, each
    /// with the `STATE_SCHEMA_VERSION` that the snapshot must have. A store
    /// need not look for any.
    pub snapshots: Arc<BTreeMap<WorkflowId, u32>>,
}

/// An event as a page holds it: what a fold needs, and no more.
#[derive(Clone)]
pub struct ChunkEvent {
    /// Its place in the stream.
    pub sequence: u64,
    /// The stable type.
    pub event_type: ByteString,
    /// The version of the payload's layout.
    pub schema_version: u32,
    /// The payload, raw JSON.
    pub payload: Bytes,
}

impl fmt::Debug for ChunkEvent {
    // The payload may hold personal data, which does not belong in logs.
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
    /// How many, of whatever version.
    pub heads: u64,
    /// What the filter counted of them, by version.
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

    /// Adds what another part of a page passed.
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
    /// Its head; `None` when that cannot be read.
    pub head: Option<Head>,
    /// Its events from the baseline on (or after
    /// [`events_after`](DueRequest::events_after), or after its snapshot if
    /// there is one here), in order; none where only the head was wanted.
    pub events: Vec<ChunkEvent>,
    /// The snapshot after which the events start, if one was asked for in
    /// [`snapshots`](DueRequest::snapshots) and it saves reading events.
    ///
    /// It must be of the version that the head says, of the schema version
    /// asked for, taken after the baseline and not ahead of the head. A store
    /// that always returns `None` here is as right.
    pub snapshot: Option<Snapshot>,
    /// Why the process cannot be read, or that it is too large for a page.
    pub problem: Option<ChunkProblem>,
    /// What was passed since the process before, this one's own head included.
    pub passed: Passed,
}

/// Why a page returns a process without its events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChunkProblem {
    /// Its events are more than [`max_process_bytes`](DueRequest::max_process_bytes).
    TooLarge,
    /// A record of it cannot be read; the text says which.
    Corrupt(String),
    /// A record of it was written by a newer version of this crate; the text
    /// says which.
    NewerFormat(String),
}

/// Some processes, read at one instant.
#[derive(Debug, Default)]
pub struct DuePage {
    /// The processes, in order of their streams. Streams without events are
    /// left out.
    pub processes: Vec<DueProcess>,
    /// What was passed after the last of them.
    pub passed: Passed,
    /// The last stream that the page passed; `None`: it passed nothing.
    pub up_to: Option<StreamId>,
    /// Whether nothing is left to read after this page.
    pub at_end: bool,
    /// What lets a commit that comes soon do without reading the heads again.
    pub read_point: ReadPoint,
}

/// A store's own mark of the instant at which it read a page.
///
/// It only saves reading: a commit without it, or with one that is too old,
/// reads the heads again.
#[derive(Default)]
pub struct ReadPoint(Option<Box<dyn Any + Send + Sync>>);

impl ReadPoint {
    /// None.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Of whatever a store keeps of an instant.
    #[must_use]
    pub fn of(instant: impl Any + Send + Sync) -> Self {
        Self(Some(Box::new(instant)))
    }

    /// What the store keeps, if it is of this type.
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

/// The migration of one process, to be committed.
#[derive(Debug, Clone)]
pub struct Move {
    /// Its stream.
    pub stream: StreamId,
    /// The head that it was read with: it moves only while the head has this
    /// revision.
    pub head: Head,
    /// The `$migrated` event.
    pub event: NewEvent,
    /// Whether to leave a note that a process registry elsewhere is still to
    /// be told.
    pub remember: bool,
}

/// That the code of a version says that a process is finished.
#[derive(Debug, Clone)]
pub struct Finished {
    /// Its stream.
    pub stream: StreamId,
    /// The head that it was read with, as of a [`Move`].
    pub head: Head,
    /// The fingerprint of the code that said so.
    pub by: Fingerprint,
}

/// What a row has to hold for a batch to be committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expected {
    /// It does not matter.
    Anything,
    /// Just this; `None`: there is no such row.
    Exactly(Option<Bytes>),
}

/// A row of the bookkeeping of runs, to be written.
#[derive(Debug, Clone)]
pub struct RowWrite {
    /// Its key.
    pub key: Vec<u8>,
    /// What it has to hold before.
    pub expected: Expected,
    /// What it holds then; `None` removes it.
    pub value: Option<Bytes>,
}

impl RowWrite {
    /// A row that is written whatever it held.
    #[must_use]
    pub fn put(key: Vec<u8>, value: impl Into<Bytes>) -> Self {
        Self {
            key,
            expected: Expected::Anything,
            value: Some(value.into()),
        }
    }

    /// A row that is removed.
    #[must_use]
    pub fn remove(key: Vec<u8>) -> Self {
        Self {
            key,
            expected: Expected::Anything,
            value: None,
        }
    }

    /// The same write, only while the row holds this.
    #[must_use]
    pub fn expecting(mut self, held: Option<Bytes>) -> Self {
        self.expected = Expected::Exactly(held);
        self
    }
}

/// What is committed together, all of it or nothing.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    /// Rows that have to hold this, and are not written: the claim of a run.
    pub guards: Vec<(Vec<u8>, Option<Bytes>)>,
    /// Processes to be migrated, each stream once.
    pub moves: Vec<Move>,
    /// Processes that were found to be finished, none of which is moved too.
    pub finished: Vec<Finished>,
    /// Rows of the bookkeeping of runs.
    pub rows: Vec<RowWrite>,
    /// Births to be forgotten, since they have been looked at.
    pub births: Vec<(WorkflowId, StreamId)>,
    /// Versions at which processes may be from now on.
    pub present: Vec<WorkflowId>,
    /// Whether the versions that processes are moved to are known to be present
    /// and not closing, as long as the guards hold: then the store need not look.
    pub arrivals_are_known: bool,
    /// Versions at which every birth is recorded from now on, for this run.
    pub closing: Option<(RunId, Vec<WorkflowId>)>,
}

impl Batch {
    /// Whether it changes nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.moves.is_empty()
            && self.finished.is_empty()
            && self.rows.is_empty()
            && self.births.is_empty()
            && self.present.is_empty()
            && self.closing.is_none()
    }
}

/// What became of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "a batch that met stale expectations was not written"]
pub enum Commit {
    /// All of it is written.
    Written,
    /// Nothing of it is.
    Stale(Stale),
}

/// What was not as a batch expected it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stale {
    /// Streams whose heads have another revision, or that are held.
    pub streams: Vec<StreamId>,
    /// Rows that hold something else.
    pub rows: Vec<Vec<u8>>,
}

/// A store that holds events, snapshots and process registry together, and can
/// change them in one transaction.
///
/// A user's own store that implements this gets all-or-nothing migrations; the
/// runner knows stores only through this trait and the three others.
#[async_trait]
pub trait TransactionalStore: EventStore {
    /// Which store this is. Every handle on it says the same.
    fn store_id(&self) -> StoreId;

    /// The versions of a workflow at which processes may be, sorted. Where this
    /// does not name a version, no process is at it.
    ///
    /// # Errors
    /// The store could not be read.
    async fn versions(&self, name: &str) -> Result<Vec<Presence>, Error>;

    /// Splits ranges of streams, in order and apart from each other, into at
    /// most `parts` ranges of about as many heads each, which together cover the
    /// same streams. There are as many as were given at least, and rather fewer
    /// than ones of fewer than `at_least` heads.
    ///
    /// It does not read all heads, unless they are few; then it counts those
    /// that the filter says are due.
    ///
    /// # Errors
    /// The store could not be read.
    async fn split(
        &self,
        within: &[StreamRange],
        filter: &dyn DueFilter,
        parts: usize,
        at_least: usize,
    ) -> Result<Split, Error>;

    /// Reads processes that are due. Heads and events of a process are of one
    /// instant, and so are all processes of a page where the store can do that.
    ///
    /// # Errors
    /// The store could not be read.
    async fn read_due(&self, request: DueRequest) -> Result<DuePage, Error>;

    /// Commits a batch if all that it expects is so. It may return before the
    /// batch is durable: [`EventStore::flush`] makes it so, for many commits at
    /// once. Commits become durable in the order in which they were made.
    ///
    /// A move appends its event at the end of the stream and puts the head at
    /// the version of the event; no other row of the process changes. The
    /// arrival of a process at a version counts as a birth there.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] when others were faster again and again: nothing
    /// was written. [`ErrorKind::OutcomeUnknown`] when only reading can tell
    /// whether it was.
    async fn commit_unflushed(&self, batch: &Batch, read: ReadPoint) -> Result<Commit, Error>;

    /// Commits a batch, and returns when it is durable.
    ///
    /// # Errors
    /// As of [`commit_unflushed`](Self::commit_unflushed).
    async fn commit(&self, batch: &Batch) -> Result<Commit, Error> {
        let commit = self.commit_unflushed(batch, ReadPoint::none()).await?;
        if commit == Commit::Written {
            self.flush().await?;
        }
        Ok(commit)
    }

    /// At most `limit` streams that were born at a version while it was
    /// closing, and are not forgotten yet, sorted. Fewer than `limit` means the
    /// end.
    ///
    /// # Errors
    /// The store could not be read.
    async fn births(&self, version: &WorkflowId, limit: usize) -> Result<Vec<StreamId>, Error>;

    /// Ends what [`Batch::closing`] began, unless births are left: removes the
    /// version when `empty` says that no process is there any more, or else
    /// stops to record births. Where the version is not closing for this run,
    /// nothing is left to end. Returns whether it is ended.
    ///
    /// # Errors
    /// The store could not be read or written.
    async fn end_closing(
        &self,
        version: &WorkflowId,
        run: RunId,
        empty: bool,
    ) -> Result<bool, Error>;

    /// Holds a process, so that no `$migrated` event is appended to it, or
    /// releases it. Returns its head then; `None` if the stream has no events.
    ///
    /// # Errors
    /// The store could not be written.
    async fn hold(&self, stream: &StreamId, hold: Option<Hold>) -> Result<Option<Head>, Error>;

    /// What was said when a process was held; `None` if it is not.
    ///
    /// # Errors
    /// The store could not be read.
    async fn held(&self, stream: &StreamId) -> Result<Option<Hold>, Error>;

    /// At most `limit` streams after `after` for which a process registry
    /// elsewhere is still to be told which version they are at.
    ///
    /// # Errors
    /// The store could not be read.
    async fn remembered(
        &self,
        after: Option<&StreamId>,
        limit: usize,
    ) -> Result<Vec<StreamId>, Error>;

    /// Forgets notes that [`Move::remember`] left.
    ///
    /// # Errors
    /// The store could not be written.
    async fn forget(&self, streams: &[StreamId]) -> Result<(), Error>;

    /// At most `limit` rows of the bookkeeping of runs whose keys start with
    /// `prefix` and are above `after`, in order of their keys. Fewer than
    /// `limit` means the end.
    ///
    /// # Errors
    /// The store could not be read.
    async fn rows(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, Error>;

    /// Whether nobody else can write to the store as long as this handle can.
    /// Then a run that another program began is over, or cannot write; and no worker
    /// of a run takes over what another one has in hand.
    fn is_single_writer(&self) -> bool {
        false
    }

    /// The writes to this store that are not a run's, through any handle in
    /// this program, so that a run can give way to them. A store that does not
    /// count them says that there are none.
    fn traffic(&self) -> Traffic {
        Traffic::default()
    }
}

/// The error of a batch whose expectations were not met, for callers that have
/// no other use for them.
pub fn stale(what: &str) -> Error {
    Error::new(
        ErrorKind::Conflict,
        format!("{what} gave way to another write; read again and decide again"),
    )
}

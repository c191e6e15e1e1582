//! The capability that makes a migration all or nothing: one transaction over
//! events, heads, the index of versions and the process registry.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use bytestring::ByteString;

use crate::error::Error;
use crate::event::NewEvent;
use crate::id::{StreamId, WorkflowId};
use crate::snapshot::Snapshot;
use crate::store::{EventStore, Head, StoreId, Traffic};

/// A contiguous part of the streams, in order of their ids.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StreamRange {
    /// The range starts after this stream; `None`: at the first.
    pub after: Option<StreamId>,
    /// The range ends with this stream; `None`: with the last.
    pub through: Option<StreamId>,
}

/// What was decided about a process that stays at its version. The index of
/// versions keeps it, so that no later run has to find it out again.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Decision {
    /// Nothing: the process is due.
    #[default]
    None,
    /// It is over, and was left alone for that. The next append to it ends this.
    Finished,
    /// An operator took it out of all runs.
    Skipped {
        /// Who, in the operator's words.
        who: ByteString,
        /// Why, in the operator's words.
        why: ByteString,
    },
}

/// A process in the index of versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AtVersion {
    /// Its stream.
    pub stream: StreamId,
    /// What was decided about it.
    pub decision: Decision,
}

/// Ranges to share the work by.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Split {
    /// The ranges, in order; together they cover every stream.
    pub ranges: Vec<StreamRange>,
    /// About how many processes stand at the versions asked for.
    pub processes: u64,
    /// The same of each of these versions, in the order in which they were asked
    /// for; nothing where that is not known.
    pub of_each: Vec<u64>,
}

/// What one chunk is to read.
#[derive(Debug, Clone, Default)]
pub struct ChunkRequest {
    /// The streams of the processes, sorted, each once.
    pub streams: Vec<StreamId>,
    /// Stop when this many bytes of events have been read. A process whose
    /// events alone are more is returned as too large, without them.
    pub max_bytes: usize,
    /// Read events after this sequence number only, instead of from the
    /// baseline on: those up to there were folded outside of the transaction.
    /// For a chunk of one process.
    pub events_after: Option<u64>,
    /// The versions at which a process may be read from its snapshot on, each
    /// with the `STATE_SCHEMA_VERSION` that the snapshot must have. A store
    /// need not look for any.
    pub snapshots: Arc<BTreeMap<WorkflowId, u32>>,
}

impl ChunkRequest {
    /// A chunk without processes: for decisions and rows of bookkeeping only.
    #[must_use]
    pub fn bookkeeping() -> Self {
        Self::default()
    }
}

/// An event as a chunk reads it: what a fold needs, and no more.
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

/// One process of a chunk.
#[derive(Debug, Clone)]
pub struct ChunkProcess {
    /// Its stream.
    pub stream: StreamId,
    /// Where the stream stands; `None` when that cannot be read.
    pub head: Option<Head>,
    /// Its events from the baseline on (or after
    /// [`events_after`](ChunkRequest::events_after), or after its snapshot if
    /// there is one here), in order.
    pub events: Vec<ChunkEvent>,
    /// The snapshot after which the events start, if one was asked for in
    /// [`snapshots`](ChunkRequest::snapshots) and it saves reading events.
    ///
    /// It must be of the version that the head says, of the schema version
    /// asked for, taken after the baseline and not ahead of the head. A store
    /// that always returns `None` here is as right.
    pub snapshot: Option<Snapshot>,
    /// Why the process cannot be read, or that it is too large for a chunk.
    pub problem: Option<ChunkProblem>,
}

/// Why a chunk returns a process without its events.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChunkProblem {
    /// Its events are more than [`max_bytes`](ChunkRequest::max_bytes).
    TooLarge,
    /// A record of it cannot be read; the text says which.
    Corrupt(String),
    /// A record of it was written by a newer version of this crate; the text
    /// says which.
    NewerFormat(String),
}

/// A transaction over some processes: what it read is what was there at one
/// instant, and it commits only if none of that has changed since.
#[async_trait]
pub trait Chunk: Send {
    /// The processes, in order of their streams. Streams without events are
    /// left out.
    fn take_processes(&mut self) -> Vec<ChunkProcess>;

    /// How many of the requested streams the chunk covers, from the first on;
    /// at least one if any was requested. The rest is for the next chunk.
    fn covered(&self) -> usize;

    /// Migrates a process of this chunk, when the chunk commits: appends
    /// `event` at the end of its stream, moves its head, its place in the
    /// index of versions and every entry of the process registry that this
    /// store holds. `remember` also leaves a note that a process registry
    /// elsewhere is still to be told.
    ///
    /// # Errors
    /// The process is not one of this chunk.
    fn migrate(&mut self, stream: &StreamId, event: NewEvent, remember: bool) -> Result<(), Error>;

    /// Keeps a decision about a process in the index of versions, when the
    /// chunk commits and the process still stands at `version` then. The
    /// process need not be one of this chunk. The head of the stream says then
    /// whether it is over, or taken out of all runs; what is taken out stays so
    /// when it is found to be over.
    fn decide(&mut self, version: &WorkflowId, stream: &StreamId, decision: Decision);

    /// Reads a row of the bookkeeping of runs. The chunk does not commit when
    /// the row has changed by then.
    ///
    /// # Errors
    /// The store could not be read.
    async fn row(&mut self, key: &[u8]) -> Result<Option<Bytes>, Error>;

    /// Writes a row of the bookkeeping of runs, or removes it, when the chunk
    /// commits.
    fn put_row(&mut self, key: Vec<u8>, row: Option<Vec<u8>>);

    /// Commits, and returns when all of it is durable.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`](crate::ErrorKind::Conflict) when something that
    /// the chunk read has changed: nothing was written.
    /// [`ErrorKind::OutcomeUnknown`](crate::ErrorKind::OutcomeUnknown) when
    /// only reading can tell whether it was.
    async fn commit(self: Box<Self>) -> Result<(), Error>;

    /// Commits like [`commit`](Self::commit), but may return before it is
    /// durable: [`EventStore::flush`] makes it so, for many commits at once.
    /// Commits become durable in the order in which they were made.
    ///
    /// # Errors
    /// As of [`commit`](Self::commit), which this calls by default.
    async fn commit_unflushed(self: Box<Self>) -> Result<(), Error> {
        self.commit().await
    }
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

    /// The versions of a workflow at which processes may stand.
    ///
    /// # Errors
    /// The store could not be read.
    async fn versions(&self, name: &str) -> Result<Vec<WorkflowId>, Error>;

    /// Splits the processes that stand at any of some versions into at most
    /// `parts` ranges of about the same size, which together cover every
    /// stream. Rather fewer ranges than ones of fewer than `at_least` processes.
    ///
    /// # Errors
    /// The store could not be read.
    async fn split(
        &self,
        versions: &[WorkflowId],
        parts: usize,
        at_least: usize,
    ) -> Result<Split, Error>;

    /// At most `limit` processes of a range that stand at a version, in order
    /// of their streams. Fewer than `limit` means the end.
    ///
    /// # Errors
    /// The store could not be read.
    async fn streams_at(
        &self,
        version: &WorkflowId,
        range: &StreamRange,
        limit: usize,
    ) -> Result<Vec<AtVersion>, Error>;

    /// Begins a chunk and reads it. One without streams is for bookkeeping.
    ///
    /// # Errors
    /// The store could not be read.
    async fn begin(&self, request: ChunkRequest) -> Result<Box<dyn Chunk>, Error>;

    /// Forgets a version at which no process stands any more, so that later
    /// runs need not look. Returns whether none does.
    ///
    /// `left` is what [`arrivals`](Self::arrivals) said before the caller began
    /// to read the index, if all that it found at the version have left since:
    /// then it is empty unless others came, and need not be read once more.
    ///
    /// # Errors
    /// The store could not be read or written.
    async fn retire(&self, version: &WorkflowId, left: Option<u64>) -> Result<bool, Error>;

    /// How often a process was put at a version, through any handle that can
    /// write; every one of them can be read by now. `None` when that is not
    /// known, or one may be under way.
    fn arrivals(&self, version: &WorkflowId) -> Option<u64> {
        let _ = version;
        None
    }

    /// At most `limit` streams after `after` for which a process registry
    /// elsewhere is still to be told where they stand.
    ///
    /// # Errors
    /// The store could not be read.
    async fn remembered(
        &self,
        after: Option<&StreamId>,
        limit: usize,
    ) -> Result<Vec<StreamId>, Error>;

    /// Forgets notes that [`Chunk::migrate`] left.
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

    /// Whether no other process can write to the store as long as this handle
    /// can: then a run that another process began is over, or cannot write.
    fn is_single_writer(&self) -> bool {
        false
    }

    /// Processes are about to be put at these versions, by several chunks at
    /// once. A store whose chunks would get in each other's way when they are
    /// the first ones there can prepare; by default this does nothing.
    ///
    /// # Errors
    /// The store could not be written.
    async fn announce(&self, versions: &[WorkflowId]) -> Result<(), Error> {
        let _ = versions;
        Ok(())
    }

    /// The writes to this store that are no chunks, through any handle in this
    /// program, so that a run can give way to them. A store that does not count
    /// them says that there are none.
    fn traffic(&self) -> Traffic {
        Traffic::default()
    }
}

//! The capability that makes a migration all or nothing: one transaction over
//! events, heads, the index of versions and the process registry.

use async_trait::async_trait;
use bytes::Bytes;
use bytestring::ByteString;

use crate::error::Error;
use crate::event::NewEvent;
use crate::id::{StreamId, WorkflowId};
use crate::store::{EventStore, Head, StoreId};

/// A contiguous part of the streams, in order of their ids.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StreamRange {
    /// The range starts after this stream; `None`: at the first.
    pub after: Option<StreamId>,
    /// The range ends with this stream; `None`: with the last.
    pub through: Option<StreamId>,
}

/// What one chunk is to read.
#[derive(Debug, Clone)]
pub struct ChunkRequest {
    /// Only processes that stand at this version.
    pub standing_at: WorkflowId,
    /// Which of them.
    pub scope: ChunkScope,
    /// Stop when this many bytes of events have been read. A process whose
    /// events alone are more is returned as too large, without them.
    pub max_bytes: usize,
}

/// Which processes a chunk is to read.
#[derive(Debug, Clone)]
pub enum ChunkScope {
    /// The first ones of a range.
    Range {
        /// Only streams of this range.
        range: StreamRange,
        /// At most this many; at least 1.
        max_processes: usize,
    },
    /// One process, with its events after a sequence number only: those up to
    /// there were folded outside of the transaction.
    One {
        /// Its stream.
        stream: StreamId,
        /// The sequence number of the last event that was folded.
        events_after: u64,
    },
}

/// An event as a chunk reads it: what a fold needs, and no more.
#[derive(Debug, Clone)]
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

/// One process of a chunk.
#[derive(Debug, Clone)]
pub struct ChunkProcess {
    /// Its stream.
    pub stream: StreamId,
    /// Where the stream stands.
    pub head: Head,
    /// Its events from the baseline on (or after
    /// [`events_after`](ChunkScope::One::events_after)), in order.
    pub events: Vec<ChunkEvent>,
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
}

/// A transaction over some processes: what it read is what was there at one
/// instant, and it commits only if none of that has changed since.
#[async_trait]
pub trait Chunk: Send {
    /// The processes, in order of their streams. Empty when the range holds none.
    fn take_processes(&mut self) -> Vec<ChunkProcess>;

    /// The last stream that the chunk covers; the next chunk starts after it.
    /// `None` when the chunk reaches the end of its range.
    fn reached(&self) -> Option<StreamId>;

    /// Migrates a process of this chunk, when the chunk commits: appends
    /// `event` at the end of its stream, moves its head, its place in the
    /// index of versions and every entry of the process registry that this
    /// store holds. `remember` also leaves a note that a process registry
    /// elsewhere is still to be told.
    ///
    /// # Errors
    /// The process is not one of this chunk.
    fn migrate(&mut self, stream: &StreamId, event: NewEvent, remember: bool) -> Result<(), Error>;

    /// Commits, and returns when all of it is durable.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`](crate::ErrorKind::Conflict) when something that
    /// the chunk read has changed: nothing was written.
    async fn commit(self: Box<Self>) -> Result<(), Error>;
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

    /// Splits the processes that stand at a version into at most `parts`
    /// ranges of about the same size, which together cover every stream.
    ///
    /// # Errors
    /// The store could not be read.
    async fn split(
        &self,
        standing_at: &WorkflowId,
        parts: usize,
    ) -> Result<Vec<StreamRange>, Error>;

    /// At most `limit` streams after `after` whose processes stand at a
    /// version, sorted.
    ///
    /// # Errors
    /// The store could not be read.
    async fn streams_at(
        &self,
        version: &WorkflowId,
        after: Option<&StreamId>,
        limit: usize,
    ) -> Result<Vec<StreamId>, Error>;

    /// Begins a chunk and reads it.
    ///
    /// # Errors
    /// The store could not be read.
    async fn begin(&self, request: ChunkRequest) -> Result<Box<dyn Chunk>, Error>;

    /// Forgets a version at which no process stands any more, so that later
    /// runs need not look. Returns whether none does.
    ///
    /// # Errors
    /// The store could not be read or written.
    async fn retire(&self, version: &WorkflowId) -> Result<bool, Error>;

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
}

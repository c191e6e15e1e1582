//! Stage one: finds processes that are to be migrated, and reads them.

use std::sync::Arc;

use crate::error::Error;
use crate::id::StreamId;
use crate::registry::Route;
use crate::runner::report::{MigrationError, Stage};
use crate::store::{Chunk, ChunkEvent, ChunkProblem, ChunkRequest, ChunkScope, Head};
use crate::store::{StreamRange, TransactionalStore};

/// The bytes of events that one chunk holds at most.
pub(super) const CHUNK_BYTES: usize = 512 << 10;

/// The processes that one chunk holds at most.
pub(super) const CHUNK_PROCESSES: usize = 512;

/// A process, read.
pub(super) struct Scanned {
    pub(super) stream: StreamId,
    pub(super) head: Head,
    pub(super) events: Vec<ChunkEvent>,
}

/// A chunk, read.
pub(super) struct ScannedChunk {
    pub(super) chunk: Box<dyn Chunk>,
    pub(super) processes: Vec<Scanned>,
    /// Those that do not fit into a chunk.
    pub(super) too_large: Vec<StreamId>,
    /// Those that cannot be read.
    pub(super) failed: Vec<MigrationError>,
    /// The next chunk starts after this stream; `None`: the range is done.
    pub(super) reached: Option<StreamId>,
}

/// Begins a chunk of the processes at the start of a route.
pub(super) async fn chunk(
    store: &Arc<dyn TransactionalStore>,
    route: &Route,
    scope: ChunkScope,
) -> Result<ScannedChunk, Error> {
    let request = ChunkRequest {
        standing_at: route.source().clone(),
        scope,
        max_bytes: CHUNK_BYTES,
    };
    let mut chunk = store.begin(request).await?;
    let mut scanned = ScannedChunk {
        reached: chunk.reached(),
        processes: Vec::new(),
        too_large: Vec::new(),
        failed: Vec::new(),
        chunk,
    };
    chunk = scanned.chunk;
    for process in chunk.take_processes() {
        match process.problem {
            None => scanned.processes.push(Scanned {
                stream: process.stream,
                head: process.head,
                events: process.events,
            }),
            Some(ChunkProblem::TooLarge) => scanned.too_large.push(process.stream),
            Some(ChunkProblem::Corrupt(message)) => scanned.failed.push(MigrationError {
                stream_id: process.stream,
                stage: Stage::Reading,
                sequence: None,
                message,
            }),
        }
    }
    scanned.chunk = chunk;
    Ok(scanned)
}

/// The next processes of a range.
pub(super) fn next_of(range: &StreamRange, max_processes: usize) -> ChunkScope {
    ChunkScope::Range {
        range: range.clone(),
        max_processes,
    }
}

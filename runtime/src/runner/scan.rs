//! Stage one: finds processes that are to be migrated, and reads them.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::error::Error;
use crate::event::Event;
use crate::id::{StreamId, WorkflowId};
use crate::runner::report::{MigrationError, SkippedBy, Stage};
use crate::selection::Selection;
use crate::store::{Chunk, ChunkEvent, ChunkProblem, ChunkRequest, Head};
use crate::store::{StreamRange, TransactionalStore};

/// The bytes of events that one chunk holds at most.
const CHUNK_BYTES: usize = 512 << 10;

/// The processes that one chunk holds at most.
pub(super) const CHUNK_PROCESSES: usize = 512;

/// A process, read.
#[derive(Clone)]
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
    /// How many of the streams it covers.
    pub(super) covered: usize,
}

/// The failure of a process that could not be read.
pub(super) fn unread(stream: &StreamId, error: &Error) -> MigrationError {
    MigrationError {
        stream_id: stream.clone(),
        stage: Stage::Reading,
        sequence: None,
        message: error.to_string(),
    }
}

/// The events of a page that follow each other after `at`, up to `through`; at
/// least one.
pub(super) fn follow<'a>(
    stream: &StreamId,
    page: &'a [Event],
    at: u64,
    through: u64,
) -> Result<&'a [Event], MigrationError> {
    let count = page
        .iter()
        .zip(at + 1..=through)
        .take_while(|(event, expected)| event.sequence == *expected)
        .count();
    if count == 0 {
        return Err(unread(stream, &Error::missing_event(stream, at + 1)));
    }
    Ok(&page[..count])
}

/// Begins a chunk of processes; of one, with its events after a sequence
/// number only.
pub(super) async fn chunk(
    store: &Arc<dyn TransactionalStore>,
    streams: Vec<StreamId>,
    events_after: Option<u64>,
) -> Result<ScannedChunk, Error> {
    let mut chunk = store
        .begin(ChunkRequest {
            streams,
            max_bytes: CHUNK_BYTES,
            events_after,
        })
        .await?;
    let (mut processes, mut too_large, mut failed) = (Vec::new(), Vec::new(), Vec::new());
    for process in chunk.take_processes() {
        match (process.problem, process.head) {
            (None, Some(head)) => processes.push(Scanned {
                stream: process.stream,
                head,
                events: process.events,
            }),
            (Some(ChunkProblem::TooLarge), _) => too_large.push(process.stream),
            (problem, _) => failed.push(MigrationError {
                stream_id: process.stream,
                stage: Stage::Reading,
                sequence: None,
                message: match problem {
                    Some(ChunkProblem::Corrupt(message)) => message,
                    _ => "the store returned the process without saying where it stands".to_owned(),
                },
            }),
        }
    }
    Ok(ScannedChunk {
        covered: chunk.covered(),
        chunk,
        processes,
        too_large,
        failed,
    })
}

/// The processes of a range that stand at any of some versions, in one order:
/// a merge of the index, version by version, read page by page.
pub(super) struct Due {
    store: Arc<dyn TransactionalStore>,
    through: Option<StreamId>,
    versions: Vec<DueAt>,
    /// Taken from the versions, and not yet done.
    taken: VecDeque<StreamId>,
    selection: Arc<Selection>,
    not_selected: usize,
}

/// What is due at one version.
struct DueAt {
    version: WorkflowId,
    page: VecDeque<StreamId>,
    after: Option<StreamId>,
    at_end: bool,
}

impl Due {
    pub(super) fn new(
        store: Arc<dyn TransactionalStore>,
        versions: &[WorkflowId],
        range: StreamRange,
        selection: Arc<Selection>,
    ) -> Self {
        let StreamRange { after, through } = range;
        let versions = versions
            .iter()
            .map(|version| DueAt {
                version: version.clone(),
                page: VecDeque::new(),
                after: after.clone(),
                at_end: false,
            })
            .collect();
        Self {
            store,
            through,
            versions,
            taken: VecDeque::new(),
            selection,
            not_selected: 0,
        }
    }

    /// The streams that were left out since this was last asked.
    pub(super) fn take_skipped(&mut self) -> SkippedBy {
        SkippedBy {
            not_selected: std::mem::take(&mut self.not_selected),
            ..SkippedBy::default()
        }
    }

    /// The next streams, at most `limit`; none at the end. The same ones come
    /// again until they are [`done`](Due::done).
    pub(super) async fn peek(&mut self, limit: usize) -> Result<Vec<StreamId>, Error> {
        while self.taken.len() < limit {
            self.fill().await?;
            let next = self
                .versions
                .iter_mut()
                .filter(|due| !due.page.is_empty())
                .min_by(|a, b| a.page.front().cmp(&b.page.front()));
            let Some(stream) = next.and_then(|due| due.page.pop_front()) else {
                break;
            };
            if !self.selection.selects(&stream) {
                self.not_selected += 1;
            } else if self.taken.back() != Some(&stream) {
                // A process that moved between two pages may stand in both.
                self.taken.push_back(stream);
            }
        }
        Ok(self.taken.iter().take(limit).cloned().collect())
    }

    /// The first streams are done.
    pub(super) fn done(&mut self, count: usize) {
        self.taken.drain(..count.min(self.taken.len()));
    }

    async fn fill(&mut self) -> Result<(), Error> {
        for due in &mut self.versions {
            if due.at_end || !due.page.is_empty() {
                continue;
            }
            let rest = StreamRange {
                after: due.after.clone(),
                through: self.through.clone(),
            };
            let page = self
                .store
                .streams_at(&due.version, &rest, CHUNK_PROCESSES)
                .await?;
            due.at_end = page.len() < CHUNK_PROCESSES;
            due.after = page.last().cloned().or(due.after.take());
            due.page = page.into();
        }
        Ok(())
    }
}

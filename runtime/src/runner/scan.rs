//! Stage one: finds processes that are to be migrated, and reads them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use crate::error::Error;
use crate::event::Event;
use crate::id::{RunId, StreamId, WorkflowId};
use crate::run::{Runs, history};
use crate::runner::report::{FailureClass, MigrationError, SkippedBy, Stage};
use crate::selection::Selection;
use crate::snapshot::Snapshot;
use crate::store::{AtVersion, Chunk, ChunkEvent, ChunkProblem, ChunkRequest, Decision, Head};
use crate::store::{EventStore, StreamRange, TransactionalStore};

/// The bytes of events that one chunk holds at most.
pub(super) const CHUNK_BYTES: usize = 2 << 20;

/// The bytes of events of a process that is too large for a chunk: it would be
/// open for long, and whoever writes to the process would be in its way.
const PROCESS_BYTES: usize = 512 << 10;

/// The processes that one chunk holds at most.
pub(super) const CHUNK_PROCESSES: usize = 512;

/// A process, read.
pub(super) struct Scanned {
    pub(super) stream: StreamId,
    pub(super) head: Head,
    /// The events start after it, if there is one.
    pub(super) snapshot: Option<Snapshot>,
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
        class: FailureClass::of(error),
        sequence: None,
        message: error.to_string(),
    }
}

/// Checks that the streams of a page rise, from where the last page ended: what
/// a store that goes back and forth leaves out, nobody would miss.
pub(super) fn check_order<'a>(
    mut after: Option<&'a StreamId>,
    streams: impl IntoIterator<Item = &'a StreamId>,
) -> Result<(), Error> {
    for stream in streams {
        if let Some(before) = after.filter(|before| *before >= stream) {
            return Err(Error::corrupt(format!(
                "the store listed stream {stream} after {before}, out of order; nothing was concluded from it, check the store"
            )));
        }
        after = Some(stream);
    }
    Ok(())
}

/// What is wrong with a stream that the index has, and that has no head: streams
/// are never removed.
pub(super) fn no_head(stream: &StreamId) -> Error {
    Error::corrupt(format!(
        "the index of versions has stream {stream}, and its head is missing; nothing was changed, restore the head from a backup"
    ))
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

/// The versions whose snapshots may be read, with their schema versions.
pub(super) type Snapshots = Arc<BTreeMap<WorkflowId, u32>>;

/// Begins a chunk of processes; of one, with its events after a sequence
/// number only.
pub(super) async fn chunk(
    store: &Arc<dyn TransactionalStore>,
    streams: Vec<StreamId>,
    events_after: Option<u64>,
    snapshots: Snapshots,
) -> Result<ScannedChunk, Error> {
    let mut chunk = store
        .begin(ChunkRequest {
            streams,
            // What is left of a large process is to be no larger.
            max_bytes: events_after.map_or(CHUNK_BYTES, |_| PROCESS_BYTES),
            events_after,
            snapshots,
        })
        .await?;
    let (mut processes, mut too_large, mut failed) = (Vec::new(), Vec::new(), Vec::new());
    for process in chunk.take_processes() {
        let bytes = process.events.iter().map(|event| event.payload.len());
        let is_large = events_after.is_none() && bytes.sum::<usize>() > PROCESS_BYTES;
        match (process.problem, process.head) {
            (None, Some(_)) if is_large => too_large.push(process.stream),
            (None, Some(head)) => processes.push(Scanned {
                stream: process.stream,
                head,
                snapshot: process.snapshot,
                events: process.events,
            }),
            (Some(ChunkProblem::TooLarge), _) => too_large.push(process.stream),
            (problem, _) => {
                let (class, message) = match problem {
                    Some(ChunkProblem::Corrupt(message)) => (FailureClass::Corrupt, message),
                    Some(ChunkProblem::NewerFormat(message)) => {
                        (FailureClass::NewerFormat, message)
                    }
                    _ => (
                        FailureClass::Corrupt,
                        "the store returned the process without saying where it stands".to_owned(),
                    ),
                };
                failed.push(MigrationError {
                    stream_id: process.stream,
                    stage: Stage::Reading,
                    class,
                    sequence: None,
                    message,
                });
            }
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

/// A process that is due, as the index or an earlier run says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) stream: StreamId,
    /// At which version, if that is known.
    pub(super) at: Option<WorkflowId>,
}

/// Where candidates come from.
#[derive(Debug, Clone)]
pub(super) enum Source {
    /// All that stand at these versions.
    Index(Arc<[WorkflowId]>),
    /// Those that failed in an earlier run; of some classes only, if any are named.
    Failures {
        of: RunId,
        classes: Arc<[FailureClass]>,
    },
}

/// What a range holds, in order.
enum Item {
    Due(Candidate),
    /// Some that are left alone, the last of them here.
    Skipped(LeftAlone, StreamId),
}

/// The processes of a range that are due, in one order: a merge of the index,
/// version by version, read page by page.
pub(super) struct Due {
    store: Arc<dyn TransactionalStore>,
    through: Option<StreamId>,
    pages: Vec<Page>,
    /// Taken from the pages, and not yet done.
    taken: VecDeque<Item>,
    selection: Arc<Selection>,
    /// The run whose failures are left alone.
    failed_in: Option<RunId>,
}

/// What was left alone, by where it stands.
pub(super) type LeftAlone = Vec<(Option<WorkflowId>, SkippedBy)>;

/// What is due from one place.
struct Page {
    from: PageOf,
    rows: VecDeque<Row>,
    after: Option<StreamId>,
    at_end: bool,
}

impl Page {
    fn first(&self) -> Option<&StreamId> {
        self.rows.front().map(|row| &row.candidate.stream)
    }
}

struct Row {
    candidate: Candidate,
    decision: Decision,
    /// Whether it has failed in this run.
    has_failed: bool,
}

enum PageOf {
    Version(WorkflowId),
    Failures(RunId, Arc<[FailureClass]>),
}

impl Due {
    /// What is due in a range, but for what has failed in a run.
    pub(super) fn new(
        store: Arc<dyn TransactionalStore>,
        source: &Source,
        range: StreamRange,
        selection: Arc<Selection>,
        failed_in: Option<RunId>,
    ) -> Self {
        let StreamRange { after, through } = range;
        let page = |from| Page {
            from,
            rows: VecDeque::new(),
            after: after.clone(),
            at_end: false,
        };
        let pages = match source {
            Source::Index(versions) => versions
                .iter()
                .map(|version| page(PageOf::Version(version.clone())))
                .collect(),
            Source::Failures { of, classes } => {
                vec![page(PageOf::Failures(*of, classes.clone()))]
            }
        };
        Self {
            store,
            through,
            pages,
            taken: VecDeque::new(),
            selection,
            failed_in,
        }
    }

    /// The next candidates, at most `limit`; none at the end. The same ones
    /// come again until they are [`done`](Due::done).
    pub(super) async fn peek(&mut self, limit: usize) -> Result<Vec<Candidate>, Error> {
        let mut due = self.due().count();
        while due < limit {
            self.fill().await?;
            let next = self
                .pages
                .iter_mut()
                .filter(|page| !page.rows.is_empty())
                .min_by(|a, b| a.first().cmp(&b.first()));
            let Some(row) = next.and_then(|page| page.rows.pop_front()) else {
                break;
            };
            let left_alone = self.left_alone(&row);
            let candidate = row.candidate;
            // A process that moved between two pages may stand in both.
            if self.due().next_back().map(|last| &last.stream) == Some(&candidate.stream) {
                continue;
            }
            match left_alone {
                None => {
                    self.taken.push_back(Item::Due(candidate));
                    due += 1;
                }
                Some(reason) => self.skip(&reason, candidate),
            }
        }
        Ok(self.due().take(limit).cloned().collect())
    }

    /// Adds one that was found in another way.
    pub(super) fn push(&mut self, candidate: Candidate) {
        self.taken.push_back(Item::Due(candidate));
    }

    /// At which version a candidate stands, if that is known.
    pub(super) fn version_of(&self, stream: &StreamId) -> Option<WorkflowId> {
        self.due()
            .find(|candidate| candidate.stream == *stream)
            .and_then(|candidate| candidate.at.clone())
    }

    fn due(&self) -> impl DoubleEndedIterator<Item = &Candidate> {
        self.taken.iter().filter_map(|item| match item {
            Item::Due(candidate) => Some(candidate),
            Item::Skipped(..) => None,
        })
    }

    /// Why a process is not due, if it is not.
    fn left_alone(&self, row: &Row) -> Option<SkippedBy> {
        let mut skipped = SkippedBy::default();
        if !self.selection.selects(&row.candidate.stream) {
            skipped.not_selected = 1;
        } else if matches!(row.decision, Decision::Skipped { .. }) {
            skipped.held = 1;
        } else if row.decision == Decision::Finished && !self.selection.selects_finished(true) {
            skipped.finished = 1;
        } else if !row.has_failed {
            return None;
        }
        Some(skipped)
    }

    fn skip(&mut self, reason: &SkippedBy, Candidate { stream, at }: Candidate) {
        // One item for all in a row: a selection may leave out nearly everything.
        match self.taken.back_mut() {
            Some(Item::Skipped(left_alone, last)) => {
                match left_alone.iter_mut().find(|(version, _)| *version == at) {
                    Some((_, sum)) => sum.add(reason),
                    None => left_alone.push((at, *reason)),
                }
                *last = stream;
            }
            _ => self
                .taken
                .push_back(Item::Skipped(vec![(at, *reason)], stream)),
        }
    }

    /// What was left alone up to and with the first so many candidates, and
    /// how far that is. With all candidates: to the end of what was looked at.
    pub(super) fn up_to(&self, candidates: usize) -> (LeftAlone, Option<StreamId>) {
        let (mut skipped, mut at) = (LeftAlone::new(), None);
        for item in self.first(candidates) {
            match item {
                Item::Due(candidate) => at = Some(candidate.stream.clone()),
                Item::Skipped(more, last) => {
                    skipped.extend_from_slice(more);
                    at = Some(last.clone());
                }
            }
        }
        (skipped, at)
    }

    /// The items up to and with the first so many candidates, and those that
    /// are left alone right after them.
    fn first(&self, candidates: usize) -> impl Iterator<Item = &Item> {
        let mut left = candidates;
        self.taken.iter().take_while(move |item| match item {
            Item::Skipped(..) => true,
            Item::Due(_) if left > 0 => {
                left -= 1;
                true
            }
            Item::Due(_) => false,
        })
    }

    /// The first so many candidates are done.
    pub(super) fn done(&mut self, candidates: usize) {
        let items = self.first(candidates).count();
        self.taken.drain(..items);
    }

    /// One candidate is done, whatever comes before it.
    pub(super) fn remove(&mut self, stream: &StreamId) {
        self.taken.retain(|item| match item {
            Item::Due(candidate) => candidate.stream != *stream,
            Item::Skipped(..) => true,
        });
    }

    async fn fill(&mut self) -> Result<(), Error> {
        for page in &mut self.pages {
            if page.at_end || !page.rows.is_empty() {
                continue;
            }
            let (rows, last) = match &page.from {
                PageOf::Version(version) => {
                    let rest = StreamRange {
                        after: page.after.clone(),
                        through: self.through.clone(),
                    };
                    let found = self
                        .store
                        .streams_at(version, &rest, CHUNK_PROCESSES)
                        .await?;
                    let streams = found.iter().map(|process| &process.stream);
                    check_order(page.after.as_ref(), streams)?;
                    let last = found.last().map(|process| process.stream.clone());
                    page.at_end = found.len() < CHUNK_PROCESSES;
                    let failed = failed(&self.store, self.failed_in, &page.after, &last).await?;
                    let row = |AtVersion { stream, decision }| Row {
                        decision,
                        has_failed: failed.contains(&stream),
                        candidate: Candidate {
                            stream,
                            at: Some(version.clone()),
                        },
                    };
                    (found.into_iter().map(row).collect(), last)
                }
                PageOf::Failures(of, classes) => {
                    let found = history::failures(
                        &self.store,
                        *of,
                        classes,
                        page.after.as_ref(),
                        self.through.as_ref(),
                        CHUNK_PROCESSES,
                    )
                    .await?;
                    page.at_end = found.len() < CHUNK_PROCESSES;
                    let last = found.last().map(|f| f.error.stream_id.clone());
                    let failed = failed(&self.store, self.failed_in, &page.after, &last).await?;
                    let runs = Runs::of(&self.store as &dyn EventStore);
                    let mut rows = VecDeque::with_capacity(found.len());
                    for failure in found {
                        let stream = failure.error.stream_id;
                        // What an operator has decided since.
                        let decision = match &runs {
                            Some(runs) => runs.decision(&stream).await.unwrap_or_default(),
                            None => Decision::None,
                        };
                        rows.push_back(Row {
                            decision,
                            has_failed: failed.contains(&stream),
                            candidate: Candidate {
                                stream,
                                at: failure.at,
                            },
                        });
                    }
                    (rows, last)
                }
            };
            page.after = last.or(page.after.take());
            page.rows = rows;
        }
        Ok(())
    }
}

/// Which streams of a range have failed in a run, if there is one to ask about.
async fn failed(
    store: &Arc<dyn TransactionalStore>,
    run: Option<RunId>,
    after: &Option<StreamId>,
    through: &Option<StreamId>,
) -> Result<BTreeSet<StreamId>, Error> {
    let (Some(run), Some(through)) = (run, through) else {
        return Ok(BTreeSet::new());
    };
    let failures =
        history::failures(store, run, &[], after.as_ref(), Some(through), usize::MAX).await?;
    Ok(failures
        .into_iter()
        .map(|failure| failure.error.stream_id)
        .collect())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::event::NewEvent;
    use crate::store::{ExpectedSequence, MemoryStore};

    #[tokio::test]
    async fn what_is_left_alone_takes_no_memory_for_each() {
        let store = MemoryStore::new();
        let versions = ["a", "b", "c"].map(|name| WorkflowId::new(name, "v1"));
        for number in 0..1_200 {
            let stream = StreamId::new(format!("s{number:04}")).unwrap();
            let version = versions[number % 3].clone();
            let event = NewEvent::new(version, "Placed", 1, "{}").unwrap();
            let none = ExpectedSequence::NoStream;
            store.append(&stream, none, vec![event]).await.unwrap();
        }
        let few = [StreamId::literal("s0600"), StreamId::literal("s0900")];
        let mut due = Due::new(
            Arc::new(store),
            &Source::Index(versions.to_vec().into()),
            StreamRange::default(),
            Arc::new(Selection::all().streams(few.clone())),
            None,
        );
        let found = due.peek(10).await.unwrap();
        assert!(found.iter().map(|candidate| &candidate.stream).eq(&few));
        assert_eq!(due.taken.len(), 5);
        let sum = |candidates| {
            let (left_alone, at) = due.up_to(candidates);
            let sum = left_alone.iter().map(|(_, by)| by.not_selected);
            (sum.sum::<usize>(), at.unwrap().to_string())
        };
        assert_eq!(sum(0), (600, "s0599".to_owned()));
        assert_eq!(sum(1), (899, "s0899".to_owned()));
        assert_eq!(sum(2), (1_198, "s1199".to_owned()));
        let of_each = due.up_to(0).0;
        let of_each: Vec<_> = of_each.iter().map(|(_, by)| by.not_selected).collect();
        assert_eq!(of_each, [200, 200, 200]);
    }
}

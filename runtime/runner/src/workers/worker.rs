//! A worker: takes ranges of streams from a queue and migrates them chunk by chunk.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use state_migration_core::selection::before;
use state_migration_core::{
    DueOf, DuePage, Error, ErrorKind, FailureClass, MigrationError, ReadPoint, RunId, Stage,
    StreamId, StreamRange, Subject, WorkflowId,
};
use tokio::sync::mpsc;

use crate::chunk::context::ChunkContext;
use crate::chunk::page::{Page, PageResult};
use crate::control::ChunkPermit;
use crate::limits::backpressure;
use crate::limits::in_progress::ChunkGuard;
use crate::retry::{ATTEMPTS, back_off};
use crate::run::history;
use crate::run::run_log::Range;
use crate::stages::commit::{self, ChunkOutcome};
use crate::stages::done::Done;
use crate::stages::scan;
use crate::user_code::threads::EndOfRun;
use crate::workers::queue::Queue;

/// Maximum number of pages, and of bytes, that are made durable together.
const TOGETHER: usize = 4;
const TOGETHER_BYTES: usize = 8 << 20;

/// Time in which chunks were migrated that are then made durable together: code that is
/// slow is not repeated after the program was killed.
const TOGETHER_TIME: Duration = Duration::from_secs(1);

/// A message of a worker to the main task.
pub(crate) enum WorkerMessage {
    Done(Box<Done>),
    /// The worker had to stop; the rest of the range is left to another execution.
    Broken(MigrationError),
}

pub(crate) fn worker_failed(message: &str) -> MigrationError {
    MigrationError::new(
        Stage::Committing,
        FailureClass::Unavailable,
        Subject::Worker,
        message.to_owned(),
    )
}

/// A worker with its queue of results.
pub(crate) struct Worker {
    pub(crate) context: ChunkContext,
    pub(crate) source: Source,
    /// Number of processes left until the limit of the selection, if there is one.
    pub(crate) left: Option<usize>,
    pub(crate) sender: mpsc::Sender<WorkerMessage>,
    /// Results that are committed, but may not be durable yet.
    pub(crate) waiting: Vec<Done>,
    /// Registered while the worker has a chunk to migrate, to flush or to report.
    pub(crate) guard: Option<ChunkGuard>,
}

/// Reason why a worker stops in a range.
enum Stop {
    /// The run was cancelled, or its main task has ended.
    Ended,
    /// There are too many workers.
    SlotCloses,
    /// A failure that concerns more than one process.
    Broken {
        from: Option<StreamId>,
        error: Error,
    },
}

impl Worker {
    pub(crate) async fn run(mut self, queue: Arc<Queue>) -> Vec<Range> {
        let mut ended = Vec::new();
        let concurrency = self.context.concurrency.clone();
        loop {
            let slot = concurrency.enter().await;
            let mut range = match queue.next(&self.context).await {
                Ok(Some(range)) => range,
                Ok(None) => break,
                Err(error) => {
                    let failure = worker_failed(&format!(
                        "cannot take over a range from a worker that does not answer; resume the run: {error}"
                    ));
                    // Fails only if the run was dropped.
                    drop(self.sender.send(WorkerMessage::Broken(failure)).await);
                    break;
                }
            };
            let stop = self.migrate_range(&mut range, &queue).await;
            // Commits count, however the range ended.
            let flushed = self.finish_chunks().await;
            let stop = match (stop, flushed) {
                (Err(Stop::SlotCloses), Ok(())) => {
                    if let Some(slot) = slot {
                        slot.forget();
                    }
                    queue.put_back(range);
                    continue;
                }
                (Err(Stop::SlotCloses), flushed) => flushed,
                (stop, flushed) => stop.and(flushed),
            };
            // The worker that took over the range reports the rest of it.
            match &stop {
                Err(Stop::Broken { error, .. }) if queue.is_taken_over(error) => continue,
                _ if !queue.end(&range) => continue,
                _ => ended.push(range),
            }
            match stop {
                Ok(()) => {}
                Err(Stop::Ended | Stop::SlotCloses) => break,
                Err(Stop::Broken { error, .. }) if let Some(end) = EndOfRun::behind(&error) => {
                    if end != EndOfRun::Cancelled {
                        drop(self.sender.send(WorkerMessage::Broken(end.failure())).await);
                    }
                    break;
                }
                Err(Stop::Broken { from, error }) => {
                    let from = from.map_or_else(String::new, |stream| format!(" from {stream} on"));
                    let mut failure = worker_failed(&format!(
                        "a range of processes{from} was not migrated; resume the run: {error}"
                    ));
                    failure.class = FailureClass::of(&error);
                    let gone = self
                        .sender
                        .send(WorkerMessage::Broken(failure))
                        .await
                        .is_err();
                    // No later write would succeed either.
                    let lost =
                        matches!(error.kind(), ErrorKind::Claimed { .. } | ErrorKind::Fenced);
                    if gone || lost {
                        break;
                    }
                }
            }
        }
        ended
    }

    /// Migrates a range, page by page.
    async fn migrate_range(&mut self, range: &mut Range, queue: &Queue) -> Result<(), Stop> {
        let backpressure = self.context.backpressure.clone();
        let mut size = self.context.chunk_processes;
        let mut conflicts = 0;
        loop {
            let from = range.row.at.clone();
            let broken = |error| Stop::Broken {
                from: from.clone(),
                error,
            };
            if self.left == Some(0) {
                let end = ChunkOutcome {
                    at_end: true,
                    ..ChunkOutcome::default()
                };
                let done = commit::without_processes(&self.context.committer, end, range).await;
                self.waiting.push(done.map_err(broken)?);
                return Ok(());
            }
            let fit = self.context.sizes.fit();
            let yields = backpressure.applies(&self.context.store);
            let limit = size
                .min(if yields {
                    backpressure::limit(fit)
                } else {
                    fit
                })
                .min(self.context.control.chunk_limit())
                .min(self.left.unwrap_or(usize::MAX));
            let (began, busy) = (Instant::now(), self.context.code.busy());
            let turn = backpressure.turn(&self.context.store).await;
            let page = self.source.page(&self.context, range, limit).await;
            drop(turn);
            let mut page = match page {
                Ok(page) => page,
                // A damaged block contains records of some processes: find out which.
                Err(error) if *error.kind() == ErrorKind::Corrupt && size > 1 => {
                    size = 1;
                    continue;
                }
                Err(error) if *error.kind() == ErrorKind::Corrupt => {
                    let done = self.fail_first(range, error).await.map_err(broken)?;
                    self.count(&done);
                    self.waiting.push(done);
                    continue;
                }
                Err(error) => return Err(broken(error)),
            };
            let processes = page.read.processes.len();
            if self.context.control.is_slowed() {
                // The worker may have to wait, and must not hold a read point
                // meanwhile.
                page.read.read_point = ReadPoint::none();
                self.finish_chunks().await?;
            }
            let in_progress = &self.context.in_progress;
            match self
                .context
                .control
                .permit_chunk(processes, in_progress)
                .await
            {
                ChunkPermit::Granted(guard) => self.guard = Some(guard),
                // The processes may have been held or released meanwhile.
                ChunkPermit::AfterPause | ChunkPermit::RateChanged => continue,
                ChunkPermit::Cancelled => return Err(Stop::Ended),
            }
            if self.context.try_reached(&page.read).await.map_err(broken)? {
                page.read.read_point = ReadPoint::none();
            }
            let seen = self.context.observer.chunk(&page.read.processes);
            let worked = self.context.migrate_page(page, range);
            let worked = seen.during(worked).await;
            match &worked {
                Ok(worked) => seen.committed(&worked.done),
                Err(error) if error.is_conflict() => seen.conflicted(),
                Err(_) => {}
            }
            // A worker that yields is idle on purpose.
            if !yields {
                self.context.concurrency.adjust(&self.context.code);
            }
            match worked {
                Ok(PageResult { mut done, large }) => {
                    done.took = began.elapsed();
                    done.in_code = self.context.code.busy().saturating_sub(busy);
                    queue.renew(range);
                    conflicts = 0;
                    // The rest of the page after a large process was read in vain, and
                    // more large processes may follow.
                    size = if large { 1 } else { size * 2 };
                    size = size.min(self.context.chunk_processes);
                    self.count(&done);
                    self.waiting.push(done);
                    let bytes: usize = self.waiting.iter().map(|done| done.bytes).sum();
                    let took: Duration = self.waiting.iter().map(|done| done.took).sum();
                    let is_much = bytes >= TOGETHER_BYTES || took >= TOGETHER_TIME;
                    if self.waiting.len() >= TOGETHER || is_much {
                        self.flush_results().await?;
                    }
                    if range.row.done {
                        return Ok(());
                    }
                    if self.context.concurrency.must_close() {
                        return Err(Stop::SlotCloses);
                    }
                }
                Err(error) if error.is_conflict() && conflicts < ATTEMPTS => {
                    conflicts += 1;
                    back_off(conflicts).await;
                    size = (size / 2).max(1);
                }
                Err(error) => return Err(broken(error)),
            }
        }
    }

    /// Fails the first remaining process of a range, which cannot be read.
    async fn fail_first(&self, range: &mut Range, error: Error) -> Result<Done, Error> {
        let context = &self.context;
        let (store, of) = (&context.store, DueOf::Range(range.row.rest()));
        let filter = Arc::new(scan::HeadsOnly(context.filter.clone()));
        let page = scan::page(store, of, filter, 1, scan::Snapshots::default()).await;
        // The head itself may be damaged, so that the process is unknown.
        let first = page.ok().and_then(|mut page| page.processes.pop());
        let Some(first) = first else {
            return Err(error);
        };
        let at = first.head.map(|head| head.workflow_id);
        let failure = scan::unreadable(&first.stream, &error);
        // The bookkeeping itself may be damaged.
        commit::failure(&context.committer, failure, at, range)
            .await
            .map_err(|_| error)
    }

    /// Counts migrated and failed processes towards the limit.
    fn count(&mut self, done: &Done) {
        if let Some(left) = &mut self.left {
            // A process without a route does not count towards the limit.
            let unroutable = usize::try_from(done.unroutable()).unwrap_or(usize::MAX);
            let failed = done.failed.len().saturating_sub(unroutable);
            *left = left.saturating_sub(done.moved.len() + failed);
        }
    }

    /// Flushes and reports all results, and deregisters the chunk.
    async fn finish_chunks(&mut self) -> Result<(), Stop> {
        let flushed = self.flush_results().await;
        self.guard = None;
        flushed
    }

    /// Makes the commits durable, then reports the results.
    async fn flush_results(&mut self) -> Result<(), Stop> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        let first = self.waiting.iter().find_map(|done| done.moved.first());
        let from = first.map(|moved| moved.stream.clone());
        let flushed = commit::flush(&self.context.committer).await;
        let waiting = std::mem::take(&mut self.waiting);
        flushed.map_err(|error| Stop::Broken { from, error })?;
        for done in waiting {
            // Fails only if the run was dropped.
            let sent = self.sender.send(WorkerMessage::Done(Box::new(done))).await;
            sent.map_err(|_| Stop::Ended)?;
        }
        Ok(())
    }
}

/// The source of the processes of a range.
#[derive(Debug, Clone)]
pub(crate) enum Source {
    /// The heads of a range.
    Heads,
    /// Processes that failed in an earlier run. Non-empty `classes` restrict it to
    /// failures of these classes.
    Failures {
        of: RunId,
        classes: Arc<[FailureClass]>,
        /// Whether these processes were found to be far apart, among many others.
        far_apart: Arc<AtomicBool>,
    },
    /// Processes born at some versions while the run was closing them.
    Births(Arc<[WorkflowId]>),
}

impl Source {
    /// The next processes of a range, at most `limit`.
    pub(crate) async fn page(
        &self,
        context: &ChunkContext,
        range: &Range,
        limit: usize,
    ) -> Result<Page, Error> {
        let (rest, snapshots) = (range.row.rest(), context.snapshots());
        let mut together = None;
        let (streams, births) = match self {
            Self::Heads => {
                let of = DueOf::Range(rest.clone());
                let read = scan::page(&context.store, of, context.filter.clone(), limit, snapshots);
                let read = read.await?;
                scan::check_page(&read, &rest)?;
                return Ok(Page {
                    read,
                    births: Vec::new(),
                });
            }
            Self::Failures {
                of,
                classes,
                far_apart,
            } => {
                let (after, through) = (rest.after.as_ref(), rest.through.as_ref());
                let found =
                    history::failures(&context.store, *of, classes, after, through, limit).await?;
                let streams = found
                    .into_iter()
                    .filter_map(|failure| failure.stream().cloned());
                let streams: Vec<StreamId> = streams.collect();
                if !far_apart.load(Ordering::Relaxed) {
                    together = read_together(context, &streams, limit).await?;
                    far_apart.store(together.is_none(), Ordering::Relaxed);
                }
                (streams, Vec::new())
            }
            Self::Births(versions) => births_page(context, versions, limit).await?,
        };
        let at_end = streams.len() < limit;
        let last: Option<StreamId> = streams.last().cloned();
        let mut read = match together {
            Some(read) => read,
            None => {
                let (of, filter) = (DueOf::Streams(streams), context.filter.clone());
                scan::page(&context.store, of, filter, limit, snapshots).await?
            }
        };
        let whole = read.at_end;
        read.at_end = whole && at_end;
        if whole {
            read.up_to = last;
        }
        let covered = |stream: &StreamId| read.up_to.as_ref().is_some_and(|end| stream <= end);
        let births = births.into_iter().filter(|(_, stream)| covered(stream));
        Ok(Page {
            births: births.collect(),
            read,
        })
    }
}

/// Reads these streams in one scan; `None` if too many others are between them.
async fn read_together(
    context: &ChunkContext,
    streams: &[StreamId],
    limit: usize,
) -> Result<Option<DuePage>, Error> {
    let (Some(first), Some(last)) = (streams.first(), streams.last()) else {
        return Ok(None);
    };
    let range = StreamRange {
        after: before(first.as_str()),
        through: Some(last.clone()),
    };
    let filter = scan::OnlyThese {
        filter: context.filter.clone(),
        streams: streams.iter().cloned().collect(),
    };
    let heads = streams.len().saturating_mul(scan::FAR_APART);
    let snapshots = context.snapshots();
    let page = scan::page_of(
        &context.store,
        range,
        Arc::new(filter),
        limit,
        heads,
        snapshots,
    );
    let page = page.await?;
    let is_dense = page.at_end || page.processes.len() * 2 > streams.len();
    Ok(is_dense.then_some(page))
}

/// Processes born behind a run, at any of the versions.
async fn births_page(
    context: &ChunkContext,
    versions: &[WorkflowId],
    limit: usize,
) -> Result<(Vec<StreamId>, Vec<(WorkflowId, StreamId)>), Error> {
    let mut births = Vec::new();
    for version in versions {
        let streams = context.store.births(version, limit - births.len()).await?;
        births.extend(streams.into_iter().map(|stream| (version.clone(), stream)));
        if births.len() == limit {
            break;
        }
    }
    let mut streams: Vec<StreamId> = births.iter().map(|(_, stream)| stream.clone()).collect();
    streams.sort();
    streams.dedup();
    Ok((streams, births))
}

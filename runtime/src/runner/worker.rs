//! One of several workers, which take ranges of streams from a queue and
//! migrate them chunk by chunk.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::{Either, select};
use tokio::sync::mpsc;

use crate::error::{Error, ErrorKind};
use crate::id::{StreamId, WorkflowId};
use crate::run::ledger::Range;
use crate::runner::at_work::Hand;
use crate::runner::code::never_returned;
use crate::runner::commit::{Done, Outcome};
use crate::runner::control::Go;
use crate::runner::pace::Turn;
use crate::runner::report::{FailureClass, MigrationError, Stage};
use crate::runner::scan::Source;
use crate::runner::work::{ATTEMPTS, Chunked, Work};
use crate::runner::{commit, scan};

/// How many chunks are made durable together.
const TOGETHER: usize = 4;

/// What a worker tells.
pub(super) enum Told {
    Done(Done),
    /// It could not go on; what it leaves is left for another execution.
    Broken(MigrationError),
}

pub(super) fn worker_failed(message: &str) -> MigrationError {
    MigrationError {
        stream_id: StreamId::literal("(worker)"),
        stage: Stage::Committing,
        class: FailureClass::Unavailable,
        sequence: None,
        message: message.to_owned(),
    }
}

/// One of several that take ranges from a queue.
pub(super) struct Worker {
    pub(super) work: Work,
    pub(super) source: Source,
    /// How many more processes the run may look at.
    pub(super) left: Option<usize>,
    pub(super) sender: mpsc::Sender<Told>,
    /// What is committed, and may not be durable yet.
    pub(super) waiting: Vec<Done>,
    /// Held as long as it has something to do, to settle or to tell.
    pub(super) hand: Option<Hand>,
}

/// Why a worker goes no further in a range.
enum Stop {
    /// The run was cancelled, or nobody listens any more.
    Ended,
    /// Something failed that is not one process's.
    Broken {
        from: Option<StreamId>,
        error: Error,
    },
}

impl Worker {
    pub(super) async fn run(mut self, queue: Arc<Mutex<VecDeque<Range>>>) -> Vec<Range> {
        let mut ended = Vec::new();
        let lanes = self.work.lanes.clone();
        loop {
            let _lane = lanes.enter().await;
            let next = queue
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .pop_front();
            let Some(mut range) = next else { break };
            let stop = self.migrate_range(&mut range).await;
            // What was committed counts, however the range ended.
            let settled = self.rest(&range).await;
            let stop = stop.and(settled);
            ended.push(range);
            match stop {
                Ok(()) => {}
                Err(Stop::Ended) => break,
                Err(Stop::Broken { from, error }) => {
                    let from = from.map_or_else(String::new, |stream| format!(" from {stream} on"));
                    let mut failure = worker_failed(&format!(
                        "a range of processes{from} was not looked at; resume the run, or run again: {error}"
                    ));
                    failure.class = FailureClass::of(&error);
                    let gone = self.sender.send(Told::Broken(failure)).await.is_err();
                    // Nothing that comes after would be written either.
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

    /// Migrates a range, chunk by chunk.
    async fn migrate_range(&mut self, range: &mut Range) -> Result<(), Stop> {
        let mut due = scan::Due::new(
            self.work.store.clone(),
            &self.source,
            range.row.rest(),
            self.work.selection.clone(),
            self.work.failed_before(),
        );
        let pace = self.work.pace.clone();
        let mut size = self.work.chunk_processes;
        let mut conflicts = 0;
        loop {
            let broken = |from: Option<&StreamId>, error| Stop::Broken {
                from: from.cloned(),
                error,
            };
            let turn = {
                let turn = pin!(pace.turn(&self.work.store));
                match &self.hand {
                    None => Some(turn.await),
                    // Who has the turn may be made to wait with it.
                    Some(_) => match select(turn, pin!(self.work.control.slowed())).await {
                        Either::Left((turn, _)) => Some(turn),
                        Either::Right(_) => None,
                    },
                }
            };
            let Some(mut turn) = turn else {
                self.rest(range).await?;
                continue;
            };
            let fit = self.work.sizes.fit();
            let limit = size
                .min(turn.as_ref().map_or(fit, |_| Turn::limit(fit)))
                .min(self.work.control.chunk_limit())
                .min(self.left.unwrap_or(usize::MAX));
            // One more shows whether these are the last.
            let looks = limit.saturating_add(1);
            let mut streams = due.peek(looks).await.map_err(|e| broken(None, e))?;
            let last = streams.len() <= limit;
            streams.truncate(limit);
            if self.work.control.is_slowed() {
                self.rest(range).await?;
            }
            let at_work = &self.work.at_work;
            match self.work.control.may_go_on(streams.len(), at_work).await {
                Go::On(hand) => self.hand = Some(hand),
                Go::AtAnotherPace => continue,
                // A dry run keeps no place to go on from.
                Go::AfterAPause if self.work.book.is_dry() => continue,
                Go::AfterAPause => {
                    // An operator may have decided about them meanwhile.
                    due = scan::Due::new(
                        self.work.store.clone(),
                        &self.source,
                        range.row.rest(),
                        self.work.selection.clone(),
                        Some(self.work.run),
                    );
                    continue;
                }
                Go::Nowhere => return Err(Stop::Ended),
            }
            let Some(first) = streams.first().cloned() else {
                let done = self.end_range(&due, range).await;
                self.waiting.push(done.map_err(|e| broken(None, e))?);
                return Ok(());
            };
            let alone = streams.len() == 1;
            if let Some(turn) = &mut turn {
                turn.begin(&self.work.store).await;
            }
            let seen = self.work.observer.chunk(&streams);
            let processes = streams.len();
            let chunked = self.work.migrate_chunk(&due, streams, last, range);
            let chunked = seen.during(chunked).await;
            match &chunked {
                Ok(Chunked::Committed { done, .. }) => seen.committed(done),
                Err(error) if error.is_conflict() => {
                    seen.conflicted();
                    self.work.observer.conflict(&first.stream, processes);
                }
                _ => {}
            }
            // Those that give way are idle on purpose.
            if turn.is_none() {
                self.work.lanes.look(&self.work.code);
            }
            // What comes next is for others to hear, and may take its time.
            drop(turn);
            match chunked {
                Ok(Chunked::Committed {
                    done,
                    covered,
                    large,
                }) => {
                    due.done(covered);
                    conflicts = 0;
                    // What was read beyond a large one was read in vain; more of
                    // them may follow.
                    size = if large { 1 } else { size * 2 };
                    size = size.min(self.work.chunk_processes);
                    self.count(&done);
                    self.waiting.push(done);
                    if self.waiting.len() >= TOGETHER {
                        self.settle(range).await?;
                    }
                    if range.row.done {
                        return Ok(());
                    }
                }
                Ok(Chunked::Stuck(stream)) => {
                    let at = due.version_of(&stream);
                    let done = self
                        .fail(never_returned(stream.clone()), at, range)
                        .await
                        .map_err(|e| broken(Some(&stream), e))?;
                    due.remove(&stream);
                    self.count(&done);
                    self.waiting.push(done);
                }
                Err(error) if error.is_conflict() && alone && conflicts >= ATTEMPTS => {
                    let done = self
                        .fail(commit::busy(&first.stream, ATTEMPTS), first.at, range)
                        .await
                        .map_err(|e| broken(Some(&first.stream), e))?;
                    due.remove(&first.stream);
                    conflicts = 0;
                    self.count(&done);
                    self.waiting.push(done);
                }
                Err(error) if error.is_conflict() => {
                    if alone {
                        conflicts += 1;
                        // Let the other writer finish; it has right of way.
                        tokio::time::sleep(Duration::from_millis(1 << conflicts.min(6))).await;
                    }
                    size = (size / 2).max(1);
                }
                // A damaged block holds records of some processes: find them.
                Err(error) if *error.kind() == ErrorKind::Corrupt && !alone => {
                    size = (processes / 2).max(1);
                }
                Err(error) if *error.kind() == ErrorKind::Corrupt => {
                    let unread = scan::unread(&first.stream, &error);
                    let done = self.fail(unread, first.at, range).await;
                    // It may be the bookkeeping that is damaged.
                    let done = done.map_err(|_| broken(Some(&first.stream), error))?;
                    due.remove(&first.stream);
                    self.count(&done);
                    self.waiting.push(done);
                }
                Err(error) => return Err(broken(Some(&first.stream), error)),
            }
        }
    }

    /// Counts what was done against the limit.
    fn count(&mut self, done: &Done) {
        if let Some(left) = &mut self.left {
            *left = left.saturating_sub(done.moved.len() + done.failed.len());
        }
    }

    /// Has nothing in hand any more.
    async fn rest(&mut self, range: &Range) -> Result<(), Stop> {
        let settled = self.settle(range).await;
        self.hand = None;
        settled
    }

    /// Makes durable what was committed of a range, and passes it on.
    async fn settle(&mut self, range: &Range) -> Result<(), Stop> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        let first = self.waiting.iter().find_map(|done| done.moved.first());
        let from = first.map(|moved| moved.stream.clone());
        let settled = commit::settle(&self.work, range).await;
        let waiting = std::mem::take(&mut self.waiting);
        settled.map_err(|error| Stop::Broken { from, error })?;
        for done in waiting {
            // The receiver is gone only when the run itself is.
            let sent = self.sender.send(Told::Done(done)).await;
            sent.map_err(|_| Stop::Ended)?;
        }
        Ok(())
    }

    async fn fail(
        &self,
        error: MigrationError,
        at: Option<WorkflowId>,
        range: &mut Range,
    ) -> Result<Done, Error> {
        commit::failure(&self.work, error, at, range).await
    }

    /// Commits that a range has come to its end.
    async fn end_range(&self, due: &scan::Due, range: &mut Range) -> Result<Done, Error> {
        let (left_alone, up_to) = due.up_to(0);
        let skips = self.work.counted(left_alone);
        let outcome = || Outcome {
            up_to: up_to.clone(),
            at_end: true,
            ..skips.outcome()
        };
        commit::without_reading(&self.work, outcome, range).await
    }
}

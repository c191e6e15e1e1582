//! A process whose events do not fit into a page.
//!
//! Its events are folded part by part, then together with the events appended
//! meanwhile. The result is committed like that of a page of processes.

use std::sync::Arc;

use state_migration_core::{Finished, Head, SkippedBy, StreamId};

use crate::chunk::context::ChunkContext;
use crate::chunk::page::PREDICATE_DIFFERS;
use crate::restrictions::Selected;
use crate::retry::ATTEMPTS;
use crate::stages::commit;
use crate::stages::convert::{self, Converted};
use crate::stages::fold::{self, FoldProgress};
use crate::stages::history::{self, HistoryEvent, HistoryRun, Outcome, Replay};
use crate::stages::scan::{self, ScanResult, StageError};
use crate::user_code::round_trip;
use crate::user_code::threads::EndOfRun;

/// Outcome of a large process.
pub(crate) enum LargeResult {
    Converted(Box<Converted>),
    Verified(Head),
    Finished(Finished),
    /// The state does not match the predicate of the selection.
    NotMatching(Head),
    /// The run is no longer for this process.
    Gone(SkippedBy),
}

impl LargeResult {
    /// The head that the code was executed for; `None` if none was executed.
    fn head(&self) -> Option<&Head> {
        match self {
            Self::Converted(converted) => Some(&converted.head),
            Self::Finished(finished) => Some(&finished.head),
            Self::NotMatching(head) | Self::Verified(head) => Some(head),
            Self::Gone(_) => None,
        }
    }
}

/// Checks that two executions of user code gave the same result. If the process was changed
/// between them, the first result cannot be committed anyway.
fn compare_results(
    context: &ChunkContext,
    stream: &StreamId,
    first: &LargeResult,
    second: Result<LargeResult, StageError>,
) -> Result<(), StageError> {
    use LargeResult::{Converted, Finished};
    let differ = |what: &str| Err(convert::non_deterministic(stream, what).into());
    let second = match second {
        Ok(second) => second,
        Err(StageError::Process(error)) if error.class.needs_other_code() => {
            return differ(&format!("a state and then an error ({})", error.message));
        }
        Err(error) => return Err(error),
    };
    if first.head().is_none() || first.head() != second.head() {
        return Ok(());
    }
    match (first, &second) {
        (Converted(first), Converted(second)) => {
            let Some(planned) = context.routes.get(&first.head.workflow_id) else {
                return Ok(());
            };
            convert::same(&planned.route, first, second)?;
        }
        (Finished(_), Finished(_)) => {}
        (Finished(_), _) | (_, Finished(_)) => {
            return differ("different answers to `is_finished`");
        }
        (Converted(_), _) | (_, Converted(_)) => return differ(PREDICATE_DIFFERS),
        _ => {}
    }
    Ok(())
}

/// A fold of one process, which continues where it was after concurrent appends.
#[derive(Default)]
pub(crate) struct LargeFold {
    /// The baseline that the fold started from, and the position of the fold.
    progress: Option<(Option<u64>, FoldProgress)>,
    /// The second fold of a run that checks determinism. It continues where it was, too.
    second: Option<Box<LargeFold>>,
}

impl LargeFold {
    /// Converts the process as it is now, twice if the run checks determinism.
    pub(crate) async fn convert(
        &mut self,
        context: &ChunkContext,
        stream: &StreamId,
    ) -> Result<LargeResult, StageError> {
        if let Some(history) = &context.history {
            return replay(context, history, stream).await;
        }
        let first = self.convert_once(context, stream).await?;
        if context.check_determinism {
            let second = self.second.get_or_insert_default();
            let second = second.convert_once(context, stream).await;
            compare_results(context, stream, &first, second)?;
        }
        let LargeResult::Converted(first) = first else {
            return Ok(first);
        };
        let Some(planned) = context.routes.get(&first.head.workflow_id).cloned() else {
            return Ok(LargeResult::Converted(first));
        };
        let checked = context.code.run_on(stream, move |stream| {
            round_trip::check(&planned.route, stream, first.json())?;
            Ok(first)
        });
        Ok(LargeResult::Converted(checked.await?))
    }

    async fn convert_once(
        &mut self,
        context: &ChunkContext,
        stream: &StreamId,
    ) -> Result<LargeResult, StageError> {
        let to_error = |error| StageError::of_read(stream, error);
        for _ in 0..ATTEMPTS {
            let Some(head) = context.store.head(stream).await.map_err(to_error)? else {
                return Err(to_error(scan::no_head(stream)));
            };
            let Some(planned) = context.routes.get(&head.workflow_id) else {
                let skipped = context.without_route(stream, &head.workflow_id)?;
                return Ok(LargeResult::Gone(skipped));
            };
            if let Some(kept) = context.filter.keeps(&head) {
                return Ok(LargeResult::Gone(kept));
            }
            // A migration in between changes the baseline, so that the replay starts
            // again.
            let here = match self.progress.take() {
                Some((baseline, here)) if baseline == head.baseline => here,
                _ => {
                    let at = head.replay_after();
                    FoldProgress::begin(&context.code, &planned.route, stream, at).await?
                }
            };
            let here = match read_on(context, stream, here, head.sequence).await {
                Ok(here) => here,
                Err(error) => {
                    // After a migration elsewhere, the events may have been erased.
                    let now = context.store.head(stream).await.map_err(to_error)?;
                    match now.is_some_and(|now| now.baseline != head.baseline) {
                        true => continue,
                        false => return Err(error),
                    }
                }
            };
            let filter = Arc::new(scan::FoundBefore(context.filter.clone()));
            let tail = scan::tail(&context.store, stream, filter, here.at);
            let tail = tail.await.map_err(to_error)?.processes.pop();
            let tail = match tail.map(ScanResult::of) {
                Some(ScanResult::Scanned(tail)) => Some(tail),
                Some(ScanResult::Failed(error)) => return Err(error.into()),
                Some(ScanResult::TooLarge) | None => None,
            };
            // If the process was migrated, held or released meanwhile, read it again.
            let tail = tail
                .filter(|tail| tail.head.baseline == head.baseline && tail.head.held == head.held);
            let Some(tail) = tail else {
                self.progress = Some((head.baseline, here));
                continue;
            };
            let (planned, restrictions) = (planned.clone(), context.restrictions.clone());
            let by = planned.finished_by();
            let now = tail.head.clone();
            let (converted, here) = context
                .code
                .run_on(stream, move |stream| {
                    let mut fork = fold::fork(&here.fold, stream)?;
                    for event in &tail.events {
                        fold::apply(&mut fork, stream, event.sequence, event.into())?;
                    }
                    let folded = fold::finish(fork, stream.clone(), tail.head, &restrictions)?;
                    let converted = folded.and_then(|folded| convert::process(&planned, folded));
                    Ok((converted?, here))
                })
                .await?;
            self.progress = Some((head.baseline, here));
            return Ok(match converted {
                Selected::Yes(converted) => LargeResult::Converted(Box::new(converted)),
                Selected::Finished => LargeResult::Finished(Finished {
                    stream: stream.clone(),
                    head: now,
                    by,
                }),
                Selected::NotMatching => LargeResult::NotMatching(now),
            });
        }
        Err(commit::busy(stream, ATTEMPTS).into())
    }

    /// Bytes of events read.
    pub(crate) fn bytes(&self) -> u64 {
        self.progress.as_ref().map_or(0, |(_, here)| here.bytes)
    }
}

/// Replays the history of a process, twice if the run checks determinism.
async fn replay(
    context: &ChunkContext,
    history: &Arc<HistoryRun>,
    stream: &StreamId,
) -> Result<LargeResult, StageError> {
    let to_error = |error| StageError::of_read(stream, error);
    let Some(head) = context.store.head(stream).await.map_err(to_error)? else {
        return Err(to_error(scan::no_head(stream)));
    };
    if let Some(skipped) = history.skips(&head) {
        return Ok(LargeResult::Gone(skipped));
    }
    let first = replay_once(context, history, stream, &head).await?;
    let first = match context.check_determinism {
        true => {
            let second = match replay_once(context, history, stream, &head).await {
                Ok(second) => Ok(second),
                Err(StageError::Process(error)) => Err(error),
                Err(error) => return Err(error),
            };
            history::compare(stream, first, second)?
        }
        false => first,
    };
    Ok(match first {
        Outcome::Changed(converted) => LargeResult::Converted(converted),
        Outcome::Verified => LargeResult::Verified(head),
        Outcome::Skipped(skipped) => LargeResult::Gone(skipped),
    })
}

async fn replay_once(
    context: &ChunkContext,
    history: &Arc<HistoryRun>,
    stream: &StreamId,
    head: &Head,
) -> Result<Outcome, StageError> {
    let replay = async |corrects| replay_from_start(context, history, stream, head, corrects).await;
    match replay(history.corrects()).await? {
        Some(outcome) => Ok(outcome),
        None => match replay(true).await? {
            Some(outcome) => Ok(outcome),
            None => Err(StageError::of_read(stream, scan::no_head(stream))),
        },
    }
}

/// `None` if the history has to be replayed with corrections.
async fn replay_from_start(
    context: &ChunkContext,
    history: &Arc<HistoryRun>,
    stream: &StreamId,
    head: &Head,
    corrects: bool,
) -> Result<Option<Outcome>, StageError> {
    let mut at = head.first_kept.saturating_sub(1);
    let (mut replay, mut largest) = (None, 0);
    while at < head.sequence {
        if context.control.is_cancelled() {
            return Err(EndOfRun::Cancelled.failure().into());
        }
        let turn = context.backpressure.turn(&context.store).await;
        let page = context
            .store
            .read_all(stream, at, fold::page(largest))
            .await;
        drop(turn);
        let page = page.map_err(|error| StageError::of_read(stream, error))?;
        let sizes = page.iter().map(|event| event.payload.len());
        largest = sizes.fold(largest, usize::max);
        let (run, through) = (history.clone(), head.sequence);
        let replayed = context.code.run_on(stream, move |stream| {
            let mut replay = replay;
            for event in scan::follow(stream, &page, at, through)? {
                let mut next = match replay.take() {
                    Some(replay) => replay,
                    None => {
                        let (first, is_whole) = (event.workflow_id.clone(), event.sequence == 1);
                        Replay::begin(&run, stream, first, corrects, is_whole)?
                    }
                };
                let read = HistoryEvent::of(event)?;
                if read.is_redo() && !corrects {
                    return Ok(None);
                }
                next.apply(&run, read)?;
                replay = Some(next);
                at = event.sequence;
            }
            Ok(Some((replay, at)))
        });
        let Some(replayed) = replayed.await? else {
            return Ok(None);
        };
        (replay, at) = replayed;
    }
    let Some(replay) = replay else {
        return Err(StageError::of_read(stream, scan::no_head(stream)));
    };
    let (run, head) = (history.clone(), head.clone());
    let outcome = context
        .code
        .run_on(stream, move |_| replay.finish(&run, &head));
    Ok(Some(outcome.await?))
}

/// Folds the events up to sequence number `through`.
async fn read_on(
    context: &ChunkContext,
    stream: &StreamId,
    mut here: FoldProgress,
    through: u64,
) -> Result<FoldProgress, StageError> {
    while here.at < through {
        if context.is_of_run() && context.control.is_cancelled() {
            return Err(EndOfRun::Cancelled.failure().into());
        }
        let turn = context.backpressure.turn(&context.store).await;
        let page = context.store.read_all(stream, here.at, here.page()).await;
        drop(turn);
        let page = page.map_err(|error| StageError::of_read(stream, error))?;
        here = here.fold_page(&context.code, stream, page, through).await?;
    }
    Ok(here)
}

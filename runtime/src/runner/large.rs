//! A process whose events do not fit into a chunk: folded page by page outside
//! of any transaction, then finished in one that reads only what came since.

use crate::error::{Error, ErrorKind};
use crate::id::StreamId;
use crate::runner::commit::Moved;
use crate::runner::convert::Converted;
use crate::runner::one_transaction::{ATTEMPTS, Work};
use crate::runner::report::MigrationError;
use crate::runner::{commit, convert, fold, scan};

/// How many events are read at a time.
const PAGE: usize = 512;

/// A fold that has come to a place in a stream.
struct Progress {
    fold: fold::Running,
    at: u64,
}

/// What became of a process.
pub(super) enum Outcome {
    /// It would be moved, if anything was to be written.
    Ready(Box<Converted>),
    Moved(Moved),
    /// It is over, and the selection leaves such processes alone.
    Finished,
    /// It no longer stands at the start of a route.
    Gone,
}

/// Migrates one process; where nothing is to be written, works on it twice.
pub(super) async fn process(work: &Work, stream: &StreamId) -> Result<Outcome, MigrationError> {
    let first = attempt(work, stream).await?;
    let Outcome::Ready(first) = first else {
        return Ok(first);
    };
    if let Outcome::Ready(second) = attempt(work, stream).await? {
        convert::same(&first, &second)?;
    }
    Ok(Outcome::Moved(Moved::of(&first)))
}

async fn attempt(work: &Work, stream: &StreamId) -> Result<Outcome, MigrationError> {
    let mut progress: Option<(Option<u64>, Progress)> = None;
    for _ in 0..ATTEMPTS {
        let Some(head) = work
            .store
            .head(stream)
            .await
            .map_err(|e| scan::unread(stream, &e))?
        else {
            return Ok(Outcome::Gone);
        };
        let Some(route) = work.routes.get(&head.workflow_id) else {
            return Ok(Outcome::Gone);
        };
        // A migration in between starts the replay anew.
        let here = match progress.take() {
            Some((baseline, here)) if baseline == head.baseline => here,
            _ => Progress {
                fold: fold::start(route, stream)?,
                at: head.replay_after(),
            },
        };
        let here = read_on(work, stream, here, head.sequence).await?;
        let mut scanned = scan::chunk(&work.store, vec![stream.clone()], Some(here.at))
            .await
            .map_err(|e| scan::unread(stream, &e))?;
        if let Some(error) = scanned.failed.pop() {
            return Err(error);
        }
        let tail = scanned.processes.pop();
        if let Some(tail) = tail.filter(|tail| tail.head.baseline == head.baseline) {
            let fork = fold::fork(&here.fold, stream)?;
            let (route, run, id) = (route.clone(), work.run, stream.clone());
            let selection = work.selection.clone();
            let converted = blocking(move || {
                let mut fork = fork;
                for event in &tail.events {
                    fold::apply(&mut fork, &id, event.sequence, event.into())?;
                }
                let Some(folded) = fold::finish(fork, id, tail.head, &selection)? else {
                    return Ok(None);
                };
                convert::process(&route, run, folded).map(Some)
            })
            .await
            .map_err(|e| scan::unread(stream, &e))??;
            let Some(converted) = converted else {
                return Ok(Outcome::Finished);
            };
            if work.dry {
                return Ok(Outcome::Ready(Box::new(converted)));
            }
            match commit::chunk(scanned.chunk, vec![converted], work.remember).await {
                Ok(mut moved) => return Ok(moved.pop().map_or(Outcome::Gone, Outcome::Moved)),
                Err(error) if error.is_conflict() => {}
                Err(error) => return Err(commit::failed(stream, &error)),
            }
        }
        progress = Some((head.baseline, here));
    }
    Err(commit::busy(stream, ATTEMPTS))
}

/// Folds the events up to a sequence number.
async fn read_on(
    work: &Work,
    stream: &StreamId,
    mut here: Progress,
    through: u64,
) -> Result<Progress, MigrationError> {
    while here.at < through {
        let page = work
            .store
            .read_all(stream, here.at, PAGE)
            .await
            .map_err(|e| scan::unread(stream, &e))?;
        let id = stream.clone();
        here = blocking(move || {
            for event in scan::follow(&id, &page, here.at, through)? {
                fold::apply(&mut here.fold, &id, event.sequence, event.into())?;
                here.at = event.sequence;
            }
            Ok(here)
        })
        .await
        .map_err(|e| scan::unread(stream, &e))??;
    }
    Ok(here)
}

/// Runs work that is heavy on the processor off the threads that serve I/O.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.map_err(|error| {
        let what = if error.is_panic() {
            "a panic left user code by a way that is not guarded; report it as a bug of state-migration"
        } else {
            "the runtime is shutting down; run again"
        };
        Error::new(ErrorKind::Unavailable, what).with_source(error)
    })
}

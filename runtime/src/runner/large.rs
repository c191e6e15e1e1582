//! A process whose events do not fit into a chunk: folded page by page outside
//! of any transaction, then finished in one that reads only what came since.

use std::time::Duration;

use tokio::time::Instant;

use crate::error::{Error, ErrorKind};
use crate::id::StreamId;
use crate::run::ledger::Range;
use crate::runner::commit::{Done, Moved, Outcome};
use crate::runner::convert::Converted;
use crate::runner::fold::Progress;
use crate::runner::report::{MigrationError, SkippedBy};
use crate::runner::work::{ATTEMPTS, Book, Skips, Work};
use crate::runner::{commit, convert, decode_back, fold, scan};

/// What a run covers with a process: those that it left alone around it, and
/// how far it is then.
pub(super) struct Covered {
    pub(super) skips: Skips,
    pub(super) up_to: Option<StreamId>,
}

/// What became of a process.
pub(super) enum Large {
    /// It was moved, or found to be over, durably.
    Done(Done),
    /// It is none of this run's any more; nothing was written.
    Gone(SkippedBy),
}

/// Why a process was not moved.
pub(super) enum Trouble {
    /// It failed.
    Process(MigrationError),
    /// The store did; the process may be as it was, or not.
    Store(Error),
}

impl Trouble {
    fn of(stream: &StreamId, error: Error) -> Self {
        match error.kind() {
            ErrorKind::Corrupt | ErrorKind::NewerFormat => {
                Self::Process(scan::unread(stream, &error))
            }
            _ => Self::Store(error),
        }
    }
}

impl From<MigrationError> for Trouble {
    fn from(error: MigrationError) -> Self {
        Self::Process(error)
    }
}

/// What became of it at one attempt.
enum Attempt {
    /// It would be moved, if anything was to be written.
    Ready(Box<Converted>),
    Over(Large),
}

/// Migrates one process; where nothing is to be written, works on it twice.
pub(super) async fn process(
    work: &Work,
    stream: &StreamId,
    range: &mut Range,
    covered: &Covered,
) -> Result<Large, Trouble> {
    let first = match attempt(work, stream, range, covered).await? {
        Attempt::Over(large) => return Ok(large),
        Attempt::Ready(first) => first,
    };
    if work.twice
        && let Attempt::Ready(second) = attempt(work, stream, range, covered).await?
    {
        convert::same(&first, &second)?;
    }
    let mut done = Done {
        moved: vec![Moved::of(&first)],
        tally: covered.skips.tally.clone(),
        ..Done::default()
    };
    let workflow = first.head.workflow_id.name();
    done.tally.of(workflow).migrated += 1;
    if let Some(unchecked) = work.read_back.clone()
        && let Some(planned) = work.routes.get(&first.head.workflow_id).cloned()
    {
        work.code
            .on(stream, move |stream| {
                decode_back::check(&planned.route, stream, first.json(), &unchecked)
            })
            .await?;
    }
    done.counts.skipped_by = covered.skips.by;
    done.counts.migrated = 1;
    done.counts.large = 1;
    Ok(Large::Done(done))
}

async fn attempt(
    work: &Work,
    stream: &StreamId,
    range: &mut Range,
    covered: &Covered,
) -> Result<Attempt, Trouble> {
    let gone = |skipped| Ok(Attempt::Over(Large::Gone(skipped)));
    let unread = |error| Trouble::of(stream, error);
    let mut progress: Option<(Option<u64>, Progress)> = None;
    for attempts in 0..ATTEMPTS {
        let Some(head) = work.store.head(stream).await.map_err(unread)? else {
            return Err(unread(scan::no_head(stream)));
        };
        let Some(planned) = work.routes.get(&head.workflow_id) else {
            return gone(work.without_route(stream, &head.workflow_id)?);
        };
        if head.held {
            return gone(SkippedBy {
                held: 1,
                ..SkippedBy::default()
            });
        }
        // A migration in between starts the replay anew.
        let here = match progress.take() {
            Some((baseline, here)) if baseline == head.baseline => here,
            _ => {
                let at = head.replay_after();
                Progress::begin(&work.code, &planned.route, stream, at).await?
            }
        };
        let here = read_on(work, stream, here, head.sequence).await?;
        let mut scanned = scan::chunk(
            &work.store,
            vec![stream.clone()],
            Some(here.at),
            scan::Snapshots::default(),
        )
        .await
        .map_err(unread)?;
        if let Some(error) = scanned.failed.pop() {
            return Err(error.into());
        }
        let tail = scanned.processes.pop();
        // What an operator decided since is found out by looking again.
        let same = |tail: &scan::Scanned| {
            tail.head.baseline == head.baseline && tail.head.held == head.held
        };
        let mut back = here;
        if let Some(tail) = tail.filter(same) {
            let here = back;
            let (planned, selection) = (planned.clone(), work.selection.clone());
            let (converted, here) = work
                .code
                .on(stream, move |stream| {
                    let mut fork = fold::fork(&here.fold, stream)?;
                    for event in &tail.events {
                        fold::apply(&mut fork, stream, event.sequence, event.into())?;
                    }
                    let folded = fold::finish(fork, stream.clone(), tail.head, &selection)?;
                    let converted = folded.map(|folded| convert::process(&planned, folded));
                    Ok((converted.transpose()?, here))
                })
                .await?;
            let mut outcome = Outcome {
                up_to: covered.up_to.clone(),
                ..covered.skips.outcome()
            };
            outcome.counts.bytes = here.bytes;
            match converted {
                Some(converted) if work.book.is_dry() => {
                    return Ok(Attempt::Ready(Box::new(converted)));
                }
                Some(converted) => {
                    outcome.counts.large = 1;
                    outcome.converted.push(converted);
                }
                None => {
                    outcome.counts.skipped_by.finished += 1;
                    let at = head.workflow_id.clone();
                    outcome.finished.push((stream.clone(), at));
                }
            }
            if work.twice {
                same_again(work, stream, &outcome).await?;
            }
            match commit::durably(work, scanned.chunk, outcome, range).await {
                Ok(done) => return Ok(Attempt::Over(Large::Done(done))),
                // Let the other writer finish; it has right of way.
                Err(error) if error.is_conflict() => {
                    work.observer.conflict(stream, 1);
                    tokio::time::sleep(Duration::from_millis(1 << attempts.min(6))).await;
                }
                // Whether it is done, only the store can tell.
                Err(error) => return Err(Trouble::Store(error)),
            }
            back = here;
        }
        progress = Some((head.baseline, back));
    }
    Err(commit::busy(stream, ATTEMPTS).into())
}

/// Works on a process that is about to be committed once more, to see that its
/// code does the same.
async fn same_again(work: &Work, stream: &StreamId, outcome: &Outcome) -> Result<(), Trouble> {
    let Some(first) = outcome.converted.first() else {
        return Ok(());
    };
    let dry = Work {
        book: Book::DryRun,
        twice: false,
        ..work.clone()
    };
    let mut nowhere = Range::nowhere();
    let covered = Covered {
        skips: Skips::default(),
        up_to: None,
    };
    let second = Box::pin(attempt(&dry, stream, &mut nowhere, &covered)).await?;
    if let Attempt::Ready(second) = second {
        convert::same(first, &second)?;
    }
    Ok(())
}

/// Folds the events up to a sequence number.
async fn read_on(
    work: &Work,
    stream: &StreamId,
    mut here: Progress,
    through: u64,
) -> Result<Progress, Trouble> {
    while here.at < through {
        let began = Instant::now();
        let page = work
            .store
            .read_all(stream, here.at, here.page())
            .await
            .map_err(|error| Trouble::of(stream, error))?;
        here = here.over(&work.code, stream, page, through).await?;
        work.pace.rest(&work.store, began).await;
    }
    Ok(here)
}

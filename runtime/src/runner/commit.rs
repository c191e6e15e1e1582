//! Stage four: makes migrations durable, together with what is written about them.

use crate::error::Error;
use crate::id::{StreamId, WorkflowId};
use crate::run::RunCounts;
use crate::run::ledger::Range;
use crate::run::tally::Tally;
use crate::runner::convert::Converted;
use crate::runner::observe::Clock;
use crate::runner::report::{FailureClass, MigrationError, Stage};
use crate::runner::work::{Book, Work};
use crate::snapshot::{Snapshot, SnapshotStore};
use crate::store::{Chunk, ChunkRequest, Decision, EventStore, ExpectedSequence};

/// A process that was migrated, durably.
pub(super) struct Moved {
    pub(super) stream: StreamId,
    pub(super) to: WorkflowId,
}

impl Moved {
    pub(super) fn of(converted: &Converted) -> Self {
        Self {
            stream: converted.stream.clone(),
            to: converted.event.workflow_id().clone(),
        }
    }
}

/// A process that failed.
pub(super) struct Failed {
    pub(super) error: MigrationError,
    /// The version at which the index has it, if that is known.
    pub(super) at: Option<WorkflowId>,
}

/// What is to be committed of a range at a time.
#[derive(Default)]
pub(super) struct Outcome {
    pub(super) converted: Vec<Converted>,
    pub(super) failed: Vec<Failed>,
    /// Those that are over and were left alone for that.
    pub(super) finished: Vec<(StreamId, WorkflowId)>,
    /// What else was counted.
    pub(super) counts: RunCounts,
    /// Of that, what is known of each workflow.
    pub(super) tally: Tally,
    /// All up to this stream has been looked at then.
    pub(super) up_to: Option<StreamId>,
    /// The range has been looked at to its end then.
    pub(super) at_end: bool,
}

/// What was committed, durably.
#[derive(Default)]
pub(super) struct Done {
    pub(super) moved: Vec<Moved>,
    pub(super) failed: Vec<Failed>,
    pub(super) counts: RunCounts,
    pub(super) tally: Tally,
}

/// Commits a chunk, all or nothing, and returns before it is durable. In a dry
/// run, only says what would have been committed.
pub(super) async fn chunk(
    work: &Work,
    mut chunk: Box<dyn Chunk>,
    outcome: Outcome,
    range: &mut Range,
) -> Result<Done, Error> {
    let (mut counts, mut tally) = (outcome.counts, outcome.tally);
    let moved: Vec<Moved> = outcome.converted.iter().map(Moved::of).collect();
    counts.migrated += moved.len() as u64;
    counts.failed += outcome.failed.len() as u64;
    let outside = moved.iter().filter(|m| m.stream.process().is_none());
    counts.unregistered += outside.count() as u64;
    if work.sweeps {
        counts.swept += moved.len() as u64;
    }
    for moved in &moved {
        tally.of(moved.to.name()).migrated += 1;
    }
    for at in outcome.failed.iter().filter_map(|f| f.at.as_ref()) {
        tally.of(at.name()).failed += 1;
    }
    for (_, at) in &outcome.finished {
        tally.of(at.name()).skipped += 1;
    }
    match &work.book {
        Book::DryRun => {}
        Book::Run(ledger) => {
            ledger.guard(&mut chunk).await?;
            migrate(&mut chunk, outcome.converted, work.remember)?;
            for Failed { error, at } in &outcome.failed {
                ledger.put_failure(&mut chunk, error, at.as_ref()).await?;
            }
            for (stream, version) in &outcome.finished {
                chunk.decide(version, stream, Decision::Finished);
            }
            let mut row = range.row.clone();
            row.counts.add(&counts);
            row.tally.add(&tally);
            row.at = outcome.up_to.or(row.at);
            row.done = outcome.at_end;
            let clock = Clock::now();
            ledger.commit(chunk, range, row).await?;
            work.observer.committed(clock);
        }
        Book::Lazy(book) => {
            let one = moved.iter().map(|moved| &moved.stream);
            let other = outcome.failed.iter().map(|failed| &failed.error.stream_id);
            // One that is over, or has moved on, leaves nothing to write.
            if let Some(stream) = one.chain(other).next().cloned() {
                migrate(&mut chunk, outcome.converted, false)?;
                let failed: Vec<_> = outcome
                    .failed
                    .iter()
                    .map(|Failed { error, at }| (error.clone(), at.clone()))
                    .collect();
                book.commit(chunk, &stream, &counts, &failed).await?;
            }
        }
    }
    Ok(Done {
        moved,
        failed: outcome.failed,
        counts,
        tally,
    })
}

/// Commits a chunk, and returns when it is durable.
pub(super) async fn durably(
    work: &Work,
    begun: Box<dyn Chunk>,
    outcome: Outcome,
    range: &mut Range,
) -> Result<Done, Error> {
    let done = chunk(work, begun, outcome, range).await?;
    settle(work, range).await?;
    Ok(done)
}

/// Makes durable what was committed of a range.
pub(super) async fn settle(work: &Work, range: &Range) -> Result<(), Error> {
    match work.book.ledger() {
        Some(ledger) => {
            let clock = Clock::now();
            ledger.settle(range).await?;
            work.observer.durable(clock);
            Ok(())
        }
        None => Ok(()),
    }
}

fn migrate(
    chunk: &mut Box<dyn Chunk>,
    converted: Vec<Converted>,
    remember: bool,
) -> Result<(), Error> {
    for Converted { stream, event, .. } in converted {
        chunk.migrate(&stream, event, remember && stream.process().is_some())?;
    }
    Ok(())
}

/// Commits what does not depend on what is in the store.
pub(super) async fn without_reading(
    work: &Work,
    mut outcome: impl FnMut() -> Outcome,
    range: &mut Range,
) -> Result<Done, Error> {
    let mut attempts = 0;
    loop {
        let bookkeeping = work.store.begin(ChunkRequest::bookkeeping()).await?;
        match durably(work, bookkeeping, outcome(), range).await {
            Err(error) if error.is_conflict() && attempts < super::work::ATTEMPTS => {
                attempts += 1;
            }
            outcome => return outcome,
        }
    }
}

/// Commits that a process failed whose chunk was not.
pub(super) async fn failure(
    work: &Work,
    error: MigrationError,
    at: Option<WorkflowId>,
    range: &mut Range,
) -> Result<Done, Error> {
    let outcome = || Outcome {
        failed: vec![Failed {
            error: error.clone(),
            at: at.clone(),
        }],
        ..Outcome::default()
    };
    without_reading(work, outcome, range).await
}

/// Commits one process by its event.
pub(super) async fn event(events: &dyn EventStore, converted: &Converted) -> Result<(), Error> {
    let expected = ExpectedSequence::Exact(converted.head.sequence);
    events
        .append(&converted.stream, expected, vec![converted.event.clone()])
        .await
        .map(drop)
}

/// Whether the event of a process is in its stream, durably, whatever the store
/// answered.
pub(super) async fn has_landed(
    events: &dyn EventStore,
    converted: &Converted,
) -> Result<bool, Error> {
    events.flush().await?;
    let next = events
        .read_all(&converted.stream, converted.head.sequence, 1)
        .await?;
    Ok(next
        .first()
        .is_some_and(|event| event.event_id == converted.event.event_id()))
}

/// Keeps the state of a process that was committed by its event.
pub(super) async fn snapshot(
    snapshots: &dyn SnapshotStore,
    converted: Converted,
    state_schema_version: u32,
) -> Result<(), Error> {
    snapshots
        .save(&Snapshot {
            stream_id: converted.stream,
            sequence: converted.head.sequence + 1,
            workflow_id: converted.event.workflow_id().clone(),
            state_schema_version,
            state: converted.state,
        })
        .await
}

/// The failure of a process that could not be written.
pub(super) fn failed(stream: &StreamId, error: &Error) -> MigrationError {
    MigrationError {
        stream_id: stream.clone(),
        stage: Stage::Committing,
        class: FailureClass::of(error),
        sequence: None,
        message: error.to_string(),
    }
}

/// The failure of a process that others write to all the time.
pub(super) fn busy(stream: &StreamId, attempts: usize) -> MigrationError {
    MigrationError {
        stream_id: stream.clone(),
        stage: Stage::Committing,
        class: FailureClass::Busy,
        sequence: None,
        message: format!(
            "the process is busy: others wrote to it in each of {attempts} attempts; run again when it is quieter"
        ),
    }
}

//! Stage four: commits migrations together with their bookkeeping.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use state_migration_core::{
    Baseline, Batch, Error, EventStore, ExpectedSequence, FailureClass, Finished, Head,
    MigrationError, Move, ReadPoint, Snapshot, SnapshotStore, Stage, StreamId, WorkflowId,
};

use crate::limits::backpressure::Backpressure;
use crate::observe::{Clock, Observer};
use crate::run::bookkeeping::Bookkeeping;
use crate::run::counts::CountsByWorkflow;
use crate::run::run_log::{Committed, Range};
use crate::run::totals::RunTotals;
use crate::run::{RunCounts, Store};
use crate::run_context::RunContext;
use crate::stages::convert::Converted;
use crate::stages::done::{Done, Failed, Moved};
use crate::stages::history::Erased;

/// What a commit needs of a run.
#[derive(Clone)]
pub(crate) struct Committer {
    store: Store,
    observer: Observer,
    /// Shared with the workers' reads.
    pub(crate) backpressure: Arc<Backpressure>,
    pub(crate) bookkeeping: Bookkeeping,
    /// Whether a process registry in another store must be updated.
    pub(crate) update_registry: bool,
    /// Whether the target versions of the routes are known to be marked as present.
    pub(crate) targets_are_known: bool,
    /// Whether this is a sweep: a pass over processes that were born behind the run.
    pub(crate) sweeps: bool,
}

impl Committer {
    /// A committer that commits nothing, until it has a run's bookkeeping.
    pub(crate) fn new(run: &RunContext, store: Store) -> Self {
        Self {
            store,
            observer: run.observer.clone(),
            backpressure: Arc::new(Backpressure::new(run.yields)),
            bookkeeping: Bookkeeping::DryRun,
            update_registry: false,
            targets_are_known: false,
            sweeps: false,
        }
    }
}

/// The part of a range that is committed together.
#[derive(Default)]
pub(crate) struct ChunkOutcome {
    pub(crate) converted: Vec<Converted>,
    pub(crate) failed: Vec<Failed>,
    /// Processes of which events are removed.
    pub(crate) erased: Vec<Erased>,
    /// Finished processes, which were skipped.
    pub(crate) finished: Vec<Finished>,
    /// Processes that are up to date, to be compared with a registry in another store.
    pub(crate) up_to_date: Vec<(StreamId, Head)>,
    /// All other counts.
    pub(crate) counts: RunCounts,
    /// `counts` per workflow, as far as known.
    pub(crate) by_workflow: CountsByWorkflow,
    /// Number of heads passed.
    pub(crate) heads: u64,
    /// Number of skipped processes whose heads alone were read.
    pub(crate) passed_over: u64,
    /// Versions at which a process was left.
    pub(crate) stays: BTreeSet<WorkflowId>,
    /// Whether the version of a process that was left is unknown.
    pub(crate) unread: bool,
    /// Births covered by this outcome.
    pub(crate) births: Vec<(WorkflowId, StreamId)>,
    /// Last stream covered by this outcome.
    pub(crate) up_to: Option<StreamId>,
    /// Whether this outcome covers the rest of the range.
    pub(crate) at_end: bool,
}

/// Result of an attempt to commit.
pub(crate) enum AttemptResult {
    Done(Box<Done>),
    /// Nothing was written, because these streams have changed since they were read.
    Stale(Vec<StreamId>),
}

/// Commits the outcome of some processes atomically. The commit is not durable yet when
/// this returns.
///
/// In a dry run, only determines what would be committed.
pub(crate) async fn attempt(
    committer: &Committer,
    outcome: ChunkOutcome,
    read: ReadPoint,
    range: &mut Range,
) -> Result<AttemptResult, Error> {
    let (mut counts, mut by_workflow) = (outcome.counts, outcome.by_workflow);
    let erased = outcome.erased.iter().filter(|it| it.is_complete);
    let erased = erased.map(|it| Moved {
        stream: it.erasure.stream.clone(),
        to: it.erasure.head.workflow_id.clone(),
    });
    let moved: Vec<Moved> = outcome.converted.iter().map(moved).chain(erased).collect();
    counts.erased += outcome.erased.iter().map(Erased::events).sum::<u64>();
    let before = moved_before(committer, &outcome.converted).await?;
    let by_function = outcome.converted.iter().filter(|it| it.by_function);
    counts.by_function += by_function.count() as u64;
    counts.migrated += (moved.len() - before.len()) as u64;
    counts.migrated_further += before.len() as u64;
    counts.failed += outcome.failed.len() as u64;
    counts.large = counts.large.saturating_sub(before.len() as u64);
    let outside = moved.iter().filter(|m| m.stream.process().is_none());
    let outside = outside.filter(|m| !before.contains(&m.stream));
    counts.unregistered += outside.count() as u64;
    if committer.sweeps {
        counts.swept += moved.len() as u64;
    }
    for moved in &moved {
        let count = by_workflow.of(moved.to.name());
        match before.contains(&moved.stream) {
            false => count.migrated += 1,
            true => count.migrated_further += 1,
        }
    }
    for at in outcome.failed.iter().filter_map(|f| f.at.as_ref()) {
        by_workflow.of(at.name()).failed += 1;
    }
    // A sweep reads processes again that the run has already counted.
    for finished in outcome.finished.iter().filter(|_| !committer.sweeps) {
        by_workflow.of(finished.head.workflow_id.name()).skipped += 1;
    }
    let states = outcome.converted.iter().map(|it| it.state.len());
    let done = Done {
        bytes: states.sum(),
        moved,
        failed: outcome.failed,
        up_to_date: outcome.up_to_date,
        counts,
        by_workflow,
        totals: totals(&outcome.converted),
        differences: differences(&outcome.converted),
        heads: outcome.heads,
        passed: range.row.visits(outcome.up_to.as_ref(), outcome.at_end),
        passed_over: outcome.passed_over,
        conflicts: 0,
        took: Duration::ZERO,
        in_code: Duration::ZERO,
    };
    let mut row = range.row.clone();
    row.counts.add(&done.counts);
    row.by_workflow.add(&done.by_workflow);
    row.totals.add(&done.totals);
    row.heads += done.heads;
    row.stays.extend(outcome.stays);
    row.unread |= outcome.unread;
    row.unroutable += done.unroutable();
    row.at = outcome.up_to.or(row.at);
    row.done = outcome.at_end;
    let moves = |update_registry: bool| {
        let each = outcome.converted.into_iter();
        each.map(move |it| Move {
            update_registry: update_registry && it.stream.process().is_some(),
            stream: it.stream,
            head: it.head,
            event: it.event,
        })
        .collect()
    };
    let stale = match &committer.bookkeeping {
        Bookkeeping::DryRun => {
            range.row = row;
            None
        }
        Bookkeeping::Run(run_log) => {
            let mut batch = Batch {
                moves: moves(committer.update_registry),
                // Has no effect where the head says so already.
                finished: outcome.finished,
                births: outcome.births,
                erased: outcome.erased.into_iter().map(|it| it.erasure).collect(),
                arrivals_are_known: committer.targets_are_known,
                ..Batch::default()
            };
            for Failed { error, at } in &done.failed {
                batch.rows.push(run_log.failure(error, at.as_ref()).await?);
            }
            let _turn = committer.backpressure.turn(&committer.store).await;
            let clock = Clock::now();
            match run_log.commit(batch, read, range, row).await? {
                Committed::Written => {
                    committer.observer.committed(clock);
                    None
                }
                Committed::Stale(streams) => Some(streams),
            }
        }
        Bookkeeping::OnOpen(log) => {
            let one = done.moved.iter().map(|moved| &moved.stream);
            let other = done
                .failed
                .iter()
                .filter_map(|failed| failed.error.subject.stream());
            // A process that is finished or was migrated elsewhere needs no write.
            match one.chain(other).next().cloned() {
                None => None,
                Some(stream) => {
                    let batch = Batch {
                        moves: moves(false),
                        ..Batch::default()
                    };
                    let failed: Vec<_> = done
                        .failed
                        .iter()
                        .map(|Failed { error, at }| (error.clone(), at.clone()))
                        .collect();
                    let committed = log.commit(batch, read, &stream, &done.counts, &failed);
                    match committed.await? {
                        Committed::Written => None,
                        Committed::Stale(streams) => Some(streams),
                    }
                }
            }
        }
    };
    Ok(match stale {
        None => AttemptResult::Done(Box::new(done)),
        Some(streams) => AttemptResult::Stale(streams),
    })
}

fn totals(converted: &[Converted]) -> RunTotals {
    let mut totals = RunTotals::default();
    for converted in converted {
        totals.add(&converted.totals);
    }
    totals
}

/// Where the new states differ, with `*` for each position in a list.
fn differences(converted: &[Converted]) -> BTreeMap<String, usize> {
    let mut all = BTreeMap::new();
    for difference in converted.iter().filter_map(|it| it.difference.as_deref()) {
        let parts = difference.split('/').map(|part| {
            let rest = part.trim_start_matches(|c: char| c.is_ascii_digit());
            match rest.len() < part.len() && (rest.is_empty() || rest.starts_with('"')) {
                true => format!("*{rest}"),
                false => part.to_owned(),
            }
        });
        let difference = parts.collect::<Vec<_>>().join("/");
        *all.entry(difference).or_default() += 1;
    }
    all
}

/// The processes that this run has migrated before, with other code.
async fn moved_before(
    committer: &Committer,
    converted: &[Converted],
) -> Result<BTreeSet<StreamId>, Error> {
    let mut moved = BTreeSet::new();
    let Some(run) = committer.bookkeeping.may_move_again() else {
        return Ok(moved);
    };
    for it in converted {
        let Some(baseline) = it.head.baseline else {
            continue;
        };
        let event = committer.store.read_all(&it.stream, baseline - 1, 1);
        let event = event.await?.pop();
        let baseline = event.and_then(|event| Baseline::from_event(&event).ok());
        if baseline.is_some_and(|baseline| baseline.run == run) {
            moved.insert(it.stream.clone());
        }
    }
    Ok(moved)
}

fn moved(converted: &Converted) -> Moved {
    Moved {
        stream: converted.stream.clone(),
        to: converted.event.workflow_id().clone(),
    }
}

/// Makes all commits durable.
pub(crate) async fn flush(committer: &Committer) -> Result<(), Error> {
    match committer.bookkeeping.run_log() {
        Some(run_log) => {
            let clock = Clock::now();
            run_log.flush().await?;
            committer.observer.durable(clock);
            Ok(())
        }
        None => Ok(()),
    }
}

/// Commits an outcome that migrates no process.
pub(crate) async fn without_processes(
    committer: &Committer,
    outcome: ChunkOutcome,
    range: &mut Range,
) -> Result<Done, Error> {
    match attempt(committer, outcome, ReadPoint::none(), range).await? {
        AttemptResult::Done(done) => {
            flush(committer).await?;
            Ok(*done)
        }
        AttemptResult::Stale(streams) => Err(Error::invalid(format!(
            "the store reports {} streams as changed that the batch does not contain; check `commit_unflushed` of the store",
            streams.len()
        ))),
    }
}

/// Commits the failure of a process that cannot be read.
pub(crate) async fn failure(
    committer: &Committer,
    error: MigrationError,
    at: Option<WorkflowId>,
    range: &mut Range,
) -> Result<Done, Error> {
    let outcome = ChunkOutcome {
        up_to: error.subject.stream().cloned(),
        heads: 1,
        stays: at.iter().cloned().collect(),
        unread: at.is_none(),
        failed: vec![Failed { error, at }],
        ..ChunkOutcome::default()
    };
    without_processes(committer, outcome, range).await
}

/// Commits one process by appending its event.
pub(crate) async fn event(events: &dyn EventStore, converted: &Converted) -> Result<(), Error> {
    let expected = ExpectedSequence::Exact(converted.head.sequence);
    events
        .append(&converted.stream, expected, vec![converted.event.clone()])
        .await
        .map(drop)
}

/// Whether the event of a process is in its stream, durably. Used when the outcome of
/// the append is unknown.
pub(crate) async fn is_committed(
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

/// Saves the new state of a process that was committed by its event.
pub(crate) async fn snapshot(
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

/// The failure of a process whose commit failed.
pub(crate) fn failed(stream: &StreamId, error: &Error) -> MigrationError {
    MigrationError::of(Stage::Committing, stream, error)
}

/// The failure of a process that other writers change too often.
pub(crate) fn busy(stream: &StreamId, attempts: usize) -> MigrationError {
    MigrationError::new(
        Stage::Committing,
        FailureClass::Busy,
        stream,
        format!(
            "the process is busy: gave up after {attempts} conflicts with concurrent writes; retry later"
        ),
    )
}

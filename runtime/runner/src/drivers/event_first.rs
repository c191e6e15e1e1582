//! The driver for separate stores, where the event is committed first.
//!
//! Every stream is visited. The `$migrated` event is appended at the expected head;
//! snapshot and process registry follow. A failure to write these is a warning, which
//! the next run repairs; the event alone determines the version of a process.
//!
//! A store of events that does not answer ends the pass, and no process fails because of
//! it. How long an answer is waited for is a setting of the store.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::{Either, select};
use futures_util::{StreamExt, stream};
use state_migration_core::{
    Error, ErrorKind, EventStore, FailureClass, Head, MigrationError, ProcessRegistry, Route,
    SnapshotStore, Stage, StreamId, Subject, VersionStatus, WorkflowId,
};

use crate::chunk::page::compare_results;
use crate::control::ChunkPermit;
use crate::drivers::on_open::{self, OpenOutcome};
use crate::limits::in_progress::InProgress;
use crate::progress::estimate::Meter;
use crate::report::{CommitMode, MigrationReport, ScanKind};
use crate::restrictions::Selected;
use crate::retry::ATTEMPTS;
use crate::run::counts::CountsByWorkflow;
use crate::run::on_open_log::run_in_progress;
use crate::run::run_log;
use crate::run::totals::RunTotals;
use crate::run::{PlannedRoute, RunCounts, RunState, Runs, undone};
use crate::run_context::RunContext;
use crate::stages::due::{listing_failed, no_route};
use crate::stages::fold::{self, FoldProgress};
use crate::stages::scan::{self, StageError};
use crate::stages::{commit, convert};
use crate::user_code::round_trip;
use crate::user_code::threads::{EndOfRun, UserCode};
use crate::{observe, registry_sync};

/// Number of streams processed concurrently.
const AT_A_TIME: usize = 16;

/// Number of streams listed at a time.
const PAGE: usize = 256;

struct Stores<'a> {
    events: &'a dyn EventStore,
    snapshots: &'a dyn SnapshotStore,
    registry: Option<&'a dyn ProcessRegistry>,
    code: UserCode,
}

/// Migrates one process when it is opened.
pub(crate) async fn on_open(
    run: &RunContext,
    events: &dyn EventStore,
    snapshots: &dyn SnapshotStore,
    code: &UserCode,
    stream: &StreamId,
) -> Result<OpenOutcome, Error> {
    if run.selection.limit().is_some() {
        return Ok(OpenOutcome::Unchanged);
    }
    leave_to_the_run(run, events, stream).await?;
    let stores = Stores {
        events,
        snapshots,
        registry: None,
        code: code.clone(),
    };
    let mut at = None;
    let outcome = migrate(run, &stores, stream, &mut at, &mut Vec::new()).await;
    let workflow = at.as_ref().map_or("", WorkflowId::name);
    match outcome {
        StreamOutcome::AlreadyThere { .. } => Ok(OpenOutcome::Moved),
        StreamOutcome::Migrated(_) => {
            run.observer.migrated(workflow, 1);
            Ok(OpenOutcome::Moved)
        }
        StreamOutcome::Failed(error) => {
            run.observer.failed(&error, workflow);
            Err(on_open::refused(&error))
        }
        StreamOutcome::Ended(_, error) => Err(error),
        StreamOutcome::Empty
        | StreamOutcome::OtherWorkflow
        | StreamOutcome::NotSelected
        | StreamOutcome::Finished
        | StreamOutcome::Held
        | StreamOutcome::Undone => Ok(OpenOutcome::Unchanged),
    }
}

/// Refuses to migrate a process that was undone, or that a run in progress is to migrate:
/// the run would neither apply its checks to the process nor count it.
async fn leave_to_the_run(
    run: &RunContext,
    events: &dyn EventStore,
    stream: &StreamId,
) -> Result<(), Error> {
    let (Some(store), Some(runs)) = (events.transactional(), Runs::of(events)) else {
        return Ok(());
    };
    let Some(head) = events.head(stream).await? else {
        return Ok(());
    };
    let (_, active) = run_in_progress(&store, &runs, &head.workflow_id).await?;
    if let Some((run, _)) = active.filter(|(_, plan)| plan.selection.selects(stream)) {
        return Err(run_log::claimed(run));
    }
    let route = match run.migrations.version_status(&head.workflow_id) {
        VersionStatus::Behind(route) => Some(PlannedRoute::of(&route)),
        _ => None,
    };
    undone::check_one(&store, route.as_ref(), &head).await?;
    Ok(())
}

/// Outcome of one stream.
enum StreamOutcome {
    Empty,
    OtherWorkflow,
    NotSelected,
    Finished,
    Held,
    Undone,
    AlreadyThere {
        repaired: bool,
    },
    /// With its totals.
    Migrated(Box<RunTotals>),
    Failed(MigrationError),
    /// The store of events failed in a stage, or the run has to end. This says nothing
    /// about the process.
    Ended(Stage, Error),
}

impl From<StageError> for StreamOutcome {
    fn from(error: StageError) -> Self {
        match error {
            StageError::Process(failure) => match EndOfRun::behind_failure(&failure) {
                Some(end) => Self::Ended(failure.stage, end.error()),
                None => Self::Failed(failure),
            },
            StageError::Store(error) => Self::Ended(Stage::Reading, error),
        }
    }
}

pub(crate) async fn run(
    run: &RunContext,
    events: &dyn EventStore,
    snapshots: &dyn SnapshotStore,
    registry: Option<&dyn ProcessRegistry>,
) -> MigrationReport {
    let stores = Stores {
        events,
        snapshots,
        registry,
        code: run.code(),
    };
    let mut pass = Pass {
        run,
        report: MigrationReport::of(run.id, CommitMode::EventFirst, ScanKind::ByFullScan),
        meter: Meter::new(run.id, run.dry, RunCounts::default()),
        in_progress: InProgress::new(),
        left: run.selection.limit(),
    };
    pass.report.dry_run = run.dry;
    pass.publish(RunState::Running);
    let end = pass.all(&stores).await;
    if matches!(end, PassEnd::AtTheEnd) {
        pass.report.compare_totals();
    }
    let state = match end {
        PassEnd::AtTheEnd if pass.report.is_ok() => RunState::Done,
        PassEnd::AtTheEnd => RunState::DoneWithErrors,
        PassEnd::Cancelled => RunState::Cancelled,
        PassEnd::Broken => RunState::Running,
    };
    // This form keeps no record, so that only the report has the state.
    pass.report.state = Some(state);
    let mut progress = pass.meter.state(state);
    progress.stopped_by = pass.report.stopped_by().cloned();
    run.control.publish(progress);
    pass.report
}

/// Why a pass ended.
enum PassEnd {
    AtTheEnd,
    Cancelled,
    /// The store of events failed, or no more code may be run.
    Broken,
}

/// One pass over all streams.
struct Pass<'a> {
    run: &'a RunContext,
    report: MigrationReport,
    meter: Meter,
    in_progress: InProgress,
    /// Number of processes left until the limit of the selection, if there is one.
    left: Option<usize>,
}

impl Pass<'_> {
    /// Visits all streams.
    async fn all(&mut self, stores: &Stores<'_>) -> PassEnd {
        let run = self.run;
        let prefix = run.selection.list_prefix();
        // A limit selects the first N processes in order, so that streams are visited
        // one at a time.
        let at_a_time = self.left.map_or(AT_A_TIME, |_| 1);
        let (mut changes, mut idle) = (run.control.changes(), self.in_progress.changes());
        let in_progress = self.in_progress.clone();
        let in_progress = &in_progress;
        let (mut after, mut cancelled) = (None, false);
        let is_broken = &AtomicBool::new(false);
        while self.left != Some(0) {
            let page = stores
                .events
                .list_streams(prefix.as_deref(), after.as_ref(), PAGE)
                .await
                .and_then(|page| {
                    scan::check_order(after.as_ref(), &page)?;
                    Ok(page)
                });
            let page = match page {
                Ok(page) => page,
                Err(error) => {
                    self.report.fail(listing_failed(&error));
                    return PassEnd::Broken;
                }
            };
            let at_end = page.len() < PAGE;
            after = page.last().cloned();
            // Owned streams: futures that borrow from the page would prevent the run
            // from being spawned as a task.
            let mut outcomes = stream::iter(page)
                .map(|stream| async move {
                    let _guard = loop {
                        if is_broken.load(Ordering::Relaxed) {
                            return None;
                        }
                        match run.control.permit_chunk(1, in_progress).await {
                            ChunkPermit::Granted(guard) => break guard,
                            ChunkPermit::AfterPause | ChunkPermit::RateChanged => {}
                            ChunkPermit::Cancelled => return None,
                        }
                    };
                    let (mut at, mut warnings) = (None, Vec::new());
                    let outcome = migrate(run, stores, &stream, &mut at, &mut warnings).await;
                    if matches!(outcome, StreamOutcome::Ended(..)) {
                        is_broken.store(true, Ordering::Relaxed);
                    }
                    Some((stream, at, outcome, warnings))
                })
                .buffered(at_a_time);
            let mut broken = None;
            loop {
                let next = {
                    let (change, rest) = (pin!(changes.next()), pin!(idle.changed()));
                    let changed = select(change, rest);
                    match select(pin!(outcomes.next()), changed).await {
                        Either::Left((next, _)) => Some(next),
                        Either::Right(_) => None,
                    }
                };
                match next {
                    Some(None) => break,
                    // Streams in progress are finished and counted.
                    Some(Some(None)) => cancelled |= run.control.is_cancelled(),
                    Some(Some(Some((stream, _, StreamOutcome::Ended(stage, error), _)))) => {
                        match EndOfRun::behind(&error) {
                            Some(EndOfRun::Cancelled) => cancelled = true,
                            Some(end) => broken = broken.or(Some(end.failure())),
                            None => {
                                broken = broken.or(Some(interrupted(&stream, stage, &error)));
                            }
                        }
                    }
                    Some(Some(Some((stream, at, outcome, warnings)))) => {
                        for warning in warnings {
                            self.report.warn(stream.clone(), warning);
                        }
                        let workflow = at.as_ref().map_or("", WorkflowId::name);
                        self.count(&stream, workflow, outcome);
                    }
                    None => {}
                }
                self.record_state(run.control.state(in_progress));
                if self.left == Some(0) {
                    return PassEnd::AtTheEnd;
                }
            }
            let is_broken = broken.is_some();
            if let Some(failure) = broken {
                run.observer.broken(&failure);
                self.report.fail(failure);
            }
            if cancelled {
                return PassEnd::Cancelled;
            }
            if is_broken {
                return PassEnd::Broken;
            }
            if at_end {
                return PassEnd::AtTheEnd;
            }
        }
        PassEnd::AtTheEnd
    }

    /// Publishes that the run was paused or unpaused.
    fn record_state(&mut self, state: Option<RunState>) {
        let Some(state) = state.filter(|state| !self.meter.is(*state)) else {
            return;
        };
        self.run.observer.state(state);
        self.publish(state);
    }

    fn publish(&mut self, state: RunState) {
        self.run.control.publish(self.meter.state(state));
    }

    fn count(&mut self, stream: &StreamId, workflow: &str, outcome: StreamOutcome) {
        let mut counts = RunCounts::default();
        let mut of_the_first = 0;
        match outcome {
            StreamOutcome::Empty => counts.skipped_by.empty = 1,
            StreamOutcome::OtherWorkflow => counts.skipped_by.other_workflow = 1,
            StreamOutcome::AlreadyThere { repaired } => {
                counts.skipped_by.already_there = 1;
                self.report.repaired += usize::from(repaired);
            }
            StreamOutcome::NotSelected => counts.skipped_by.not_selected = 1,
            StreamOutcome::Finished => counts.skipped_by.finished = 1,
            StreamOutcome::Held => counts.skipped_by.held = 1,
            StreamOutcome::Undone => counts.skipped_by.undone = 1,
            StreamOutcome::Migrated(totals) => {
                self.report.totals.add(&totals);
                self.run.observer.migrated(workflow, 1);
                counts.migrated = 1;
                counts.unregistered = u64::from(stream.process().is_none());
                of_the_first = 1;
            }
            StreamOutcome::Failed(error) => {
                self.run.observer.failed(&error, workflow);
                counts.failed = 1;
                // A process without a route does not count towards the limit.
                of_the_first = usize::from(error.stage != Stage::Routing);
                self.report.fail(error);
                let failed = self.report.error_count as u64;
                if self.run.max_failures.is_some_and(|most| failed > most) {
                    self.report.too_many_failures = true;
                    self.run.control.cancel();
                }
            }
            // The next run finds the process as it is.
            StreamOutcome::Ended(..) => return,
        }
        self.left = self.left.map(|left| left.saturating_sub(of_the_first));
        self.run.observer.counted(&counts);
        self.report.count(&counts);
        let progress = self
            .meter
            .add(&counts, &CountsByWorkflow::default(), (0, 0));
        self.run.observer.progress(&progress);
        self.run.control.publish(progress);
    }
}

/// Migrates one stream. Returns failures to write snapshot or registry in `warnings`, and
/// the version of the process in `at`, if known.
async fn migrate(
    run: &RunContext,
    stores: &Stores<'_>,
    stream: &StreamId,
    at: &mut Option<WorkflowId>,
    warnings: &mut Vec<String>,
) -> StreamOutcome {
    let migrated = try_to_migrate(run, stores, stream, at, warnings).await;
    migrated.unwrap_or_else(StreamOutcome::from)
}

async fn try_to_migrate(
    run: &RunContext,
    stores: &Stores<'_>,
    stream: &StreamId,
    at: &mut Option<WorkflowId>,
    warnings: &mut Vec<String>,
) -> Result<StreamOutcome, StageError> {
    if !run.selection.selects(stream) {
        return Ok(StreamOutcome::NotSelected);
    }
    let mut unanswered = None;
    for attempt in 0..=ATTEMPTS {
        let head = stores.events.head(stream).await;
        let head = head.map_err(|error| StageError::of_read(stream, error))?;
        let Some(head) = head else {
            return Ok(StreamOutcome::Empty);
        };
        let version = at.insert(head.workflow_id.clone());
        if !run.selection.selects_workflow(version.name()) {
            return Ok(StreamOutcome::NotSelected);
        }
        let left_out = is_left_out(run, stores, stream, version).await;
        let left_out = left_out.map_err(|error| StageError::of_read(stream, error))?;
        let route = match run.migrations.version_status(&head.workflow_id) {
            VersionStatus::OtherWorkflow => return Ok(StreamOutcome::OtherWorkflow),
            VersionStatus::Newest | VersionStatus::Stays => {
                let repaired = update_registry(stores, stream, &head.workflow_id, warnings).await;
                return Ok(StreamOutcome::AlreadyThere { repaired });
            }
            VersionStatus::NoRoute => {
                let error = no_route(&run.migrations, stream.clone(), &head.workflow_id);
                return Ok(StreamOutcome::Failed(error));
            }
            VersionStatus::Behind(_) if head.held => return Ok(StreamOutcome::Held),
            VersionStatus::Behind(_) if head.undone && run.undone.contains(version) => {
                return Ok(StreamOutcome::Undone);
            }
            VersionStatus::Behind(_) if left_out => return Ok(StreamOutcome::NotSelected),
            // The last change may have been a hold, or a migration elsewhere.
            VersionStatus::Behind(_) if attempt == ATTEMPTS => break,
            VersionStatus::Behind(route) => route,
        };
        let first = read(run, stores, stream, head.clone(), &route);
        let mut converted = observe::process_during(stream, version, first).await?;
        if run.check_determinism {
            let again = match read(run, stores, stream, head, &route).await {
                Ok(again) => Ok(again),
                Err(StageError::Process(failure))
                    if EndOfRun::behind_failure(&failure).is_none() =>
                {
                    Err(failure)
                }
                Err(error) => return Err(error),
            };
            converted = compare_results(&route, stream, converted, again)?;
        }
        let converted = match converted {
            Selected::Yes(converted) => converted,
            Selected::Finished => return Ok(StreamOutcome::Finished),
            Selected::NotMatching => return Ok(StreamOutcome::NotSelected),
        };
        let read_back = route.clone();
        let checked = stores.code.run_on(stream, move |stream| {
            round_trip::check(&read_back, stream, converted.json())?;
            Ok(converted)
        });
        let converted = checked.await?;
        let totals = Box::new(converted.totals.clone());
        if run.dry {
            return Ok(StreamOutcome::Migrated(totals));
        }
        if let Err(error) = commit::event(stores.events, &converted).await {
            // The answer may be lost after the write has happened.
            match commit::is_committed(stores.events, &converted).await {
                Ok(true) => {}
                // The process received an event or was migrated: read it again.
                Ok(false) if moved_on(&error) => continue,
                // The write has not happened.
                Ok(false) if *error.kind() == ErrorKind::OutcomeUnknown => {
                    unanswered = Some(error);
                    continue;
                }
                Ok(false) if is_of_store(&error) => {
                    return Ok(StreamOutcome::Ended(Stage::Committing, error));
                }
                Ok(false) => return Ok(StreamOutcome::Failed(commit::failed(stream, &error))),
                Err(unread) => {
                    return match StageError::of_read(stream, unread) {
                        StageError::Store(_) if !moved_on(&error) => {
                            Ok(StreamOutcome::Ended(Stage::Committing, error))
                        }
                        unread => Err(unread),
                    };
                }
            }
        }
        let moved_to = route.target().clone();
        let schema = route.hops()[route.hops().len() - 1].target_schema_version();
        if let Err(error) = commit::snapshot(stores.snapshots, converted, schema).await {
            warnings.push(format!(
                "migrated, but its snapshot could not be written; loads start at the `$migrated` event: {error}"
            ));
        }
        update_registry(stores, stream, &moved_to, warnings).await;
        return Ok(StreamOutcome::Migrated(totals));
    }
    Ok(match unanswered {
        Some(error) => StreamOutcome::Ended(Stage::Committing, error),
        None => StreamOutcome::Failed(commit::busy(stream, ATTEMPTS)),
    })
}

fn moved_on(error: &Error) -> bool {
    use ErrorKind::{Conflict, Held, Migrated, WrongVersion};
    matches!(
        error.kind(),
        Conflict | Held | Migrated { .. } | WrongVersion { .. }
    )
}

/// Whether the process failed in a run whose failures are left out. The store of the
/// events may have runs of a time when it also had the snapshots.
async fn is_left_out(
    run: &RunContext,
    stores: &Stores<'_>,
    stream: &StreamId,
    version: &WorkflowId,
) -> Result<bool, Error> {
    match (&run.restrictions.left_out, Runs::of(stores.events)) {
        (Some(left_out), Some(runs)) => left_out.has(&runs, stream, version).await,
        _ => Ok(false),
    }
}

/// Whether a failure to write concerns every process of the store.
fn is_of_store(error: &Error) -> bool {
    use ErrorKind::{Claimed, Fenced, InUse, Unavailable};
    matches!(
        error.kind(),
        Unavailable | Fenced | Claimed { .. } | InUse(_)
    )
}

/// The failure of a pass that the store of events ended.
fn interrupted(stream: &StreamId, stage: Stage, error: &Error) -> MigrationError {
    MigrationError::new(
        stage,
        FailureClass::of(error),
        Subject::Run,
        format!("not all processes from {stream} on were visited; run again: {error}"),
    )
}

/// Reads, folds and converts a process.
async fn read(
    run: &RunContext,
    stores: &Stores<'_>,
    stream: &StreamId,
    head: Head,
    route: &Route,
) -> Result<Selected<convert::Converted>, StageError> {
    let code = &stores.code;
    let begun = FoldProgress::begin(code, route, stream, head.replay_after()).await?;
    let FoldProgress { fold, .. } = begun
        .read_on(code, stores.events, stream, head.sequence)
        .await?;
    let restrictions = run.restrictions.clone();
    let planned = convert::Planned::new(route.clone(), run.id);
    let converted = code.run_on(stream, move |stream| {
        let folded = fold::finish(fold, stream.clone(), head, &restrictions)?;
        folded.and_then(|folded| convert::process(&planned, folded))
    });
    Ok(converted.await?)
}

/// Writes the version of the process to the process registry. Returns whether an entry
/// was out of date.
async fn update_registry(
    stores: &Stores<'_>,
    stream: &StreamId,
    version: &WorkflowId,
    warnings: &mut Vec<String>,
) -> bool {
    let Some(registry) = stores.registry else {
        return false;
    };
    match registry_sync::process(registry, stream, version).await {
        Ok(rewritten) => rewritten,
        Err(error) => {
            warnings.push(registry_sync::warning(&error));
            false
        }
    }
}

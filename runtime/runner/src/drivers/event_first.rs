//! The driver for separate stores, where the event is committed first.
//!
//! Every stream is visited. The `$migrated` event is appended at the expected head;
//! snapshot and process registry follow. A failure to write these is a warning, which
//! the next run repairs; the event alone determines the version of a process.

use std::pin::pin;

use futures_util::future::{Either, select};
use futures_util::{StreamExt, stream};
use state_migration_core::{
    Error, EventStore, Head, MigrationError, ProcessRegistry, Route, SnapshotStore, Stage,
    StreamId, VersionStatus, WorkflowId,
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
use crate::run::{RunCounts, RunState, Runs};
use crate::run_context::RunContext;
use crate::stages::due::{listing_failed, no_route};
use crate::stages::fold::{self, FoldProgress};
use crate::stages::{commit, convert, scan};
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
    let stores = Stores {
        events,
        snapshots,
        registry: None,
        code: code.clone(),
    };
    let mut at = None;
    let outcome = migrate(run, &stores, stream, &mut at).await.0;
    let workflow = at.as_ref().map_or("", WorkflowId::name);
    match outcome {
        StreamOutcome::AlreadyThere { .. } => Ok(OpenOutcome::Moved),
        StreamOutcome::Migrated => {
            run.observer.migrated(workflow, 1);
            Ok(OpenOutcome::Moved)
        }
        StreamOutcome::Failed(error) => {
            run.observer.failed(&error, workflow);
            Err(on_open::refused(&error))
        }
        StreamOutcome::Empty
        | StreamOutcome::OtherWorkflow
        | StreamOutcome::NotSelected
        | StreamOutcome::Finished
        | StreamOutcome::Held => Ok(OpenOutcome::Unchanged),
    }
}

/// Outcome of one stream.
enum StreamOutcome {
    Empty,
    OtherWorkflow,
    NotSelected,
    Finished,
    Held,
    AlreadyThere { repaired: bool },
    Migrated,
    Failed(MigrationError),
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
    let state = match pass.all(&stores).await {
        PassEnd::AtTheEnd if pass.report.is_ok() => RunState::Done,
        PassEnd::AtTheEnd => RunState::DoneWithErrors,
        PassEnd::Cancelled => RunState::Cancelled,
        PassEnd::Unread => RunState::Running,
    };
    // This form keeps no record, so that only the report has the state.
    pass.report.state = Some(state);
    pass.publish(state);
    pass.report
}

/// Why a pass ended.
enum PassEnd {
    AtTheEnd,
    Cancelled,
    /// The list of streams could not be read to its end, or no more code may be run.
    Unread,
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
                    return PassEnd::Unread;
                }
            };
            let at_end = page.len() < PAGE;
            after = page.last().cloned();
            // Owned streams: futures that borrow from the page would prevent the run
            // from being spawned as a task.
            let mut outcomes = stream::iter(page)
                .map(|stream| async move {
                    let _guard = loop {
                        match run.control.permit_chunk(1, in_progress).await {
                            ChunkPermit::Granted(guard) => break guard,
                            ChunkPermit::AfterPause | ChunkPermit::RateChanged => {}
                            ChunkPermit::Cancelled => return None,
                        }
                    };
                    let mut at = None;
                    let outcome = migrate(run, stores, &stream, &mut at).await;
                    Some((stream, at, outcome))
                })
                .buffered(at_a_time);
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
                    Some(Some(None)) => cancelled = true,
                    Some(Some(Some((_, _, (StreamOutcome::Failed(error), _)))))
                        if let Some(end) = EndOfRun::behind_failure(&error) =>
                    {
                        if end == EndOfRun::Cancelled {
                            cancelled = true;
                        } else {
                            self.report.fail(error);
                            return PassEnd::Unread;
                        }
                    }
                    Some(Some(Some((stream, at, (outcome, warnings))))) => {
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
            if cancelled {
                return PassEnd::Cancelled;
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
            StreamOutcome::Migrated => {
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
            }
        }
        self.left = self.left.map(|left| left.saturating_sub(of_the_first));
        self.run.observer.counted(&counts);
        self.report.count(&counts);
        let progress = self.meter.add(&counts, &CountsByWorkflow::default(), 0);
        self.run.observer.progress(&progress);
        self.run.control.publish(progress);
    }
}

/// Migrates one stream. Returns failures to write snapshot or registry as warnings, and
/// the version of the process in `at`, if known.
async fn migrate(
    run: &RunContext,
    stores: &Stores<'_>,
    stream: &StreamId,
    at: &mut Option<WorkflowId>,
) -> (StreamOutcome, Vec<String>) {
    let mut warnings = Vec::new();
    if !run.selection.selects(stream) {
        return (StreamOutcome::NotSelected, warnings);
    }
    for attempt in 0..=ATTEMPTS {
        let head = match stores.events.head(stream).await {
            Ok(Some(head)) => head,
            Ok(None) => return (StreamOutcome::Empty, warnings),
            Err(error) => {
                return (
                    StreamOutcome::Failed(scan::unreadable(stream, &error)),
                    warnings,
                );
            }
        };
        let version = at.insert(head.workflow_id.clone());
        if !run.selection.selects_workflow(version.name()) {
            return (StreamOutcome::NotSelected, warnings);
        }
        let left_out = match is_left_out(run, stores, stream, version).await {
            Ok(left_out) => left_out,
            Err(error) => {
                return (
                    StreamOutcome::Failed(scan::unreadable(stream, &error)),
                    warnings,
                );
            }
        };
        let route = match run.migrations.version_status(&head.workflow_id) {
            VersionStatus::OtherWorkflow => return (StreamOutcome::OtherWorkflow, warnings),
            VersionStatus::Newest | VersionStatus::Stays => {
                let repaired =
                    update_registry(stores, stream, &head.workflow_id, &mut warnings).await;
                return (StreamOutcome::AlreadyThere { repaired }, warnings);
            }
            VersionStatus::NoRoute => {
                let error = no_route(&run.migrations, stream.clone(), &head.workflow_id);
                return (StreamOutcome::Failed(error), warnings);
            }
            VersionStatus::Behind(_) if head.held => return (StreamOutcome::Held, warnings),
            VersionStatus::Behind(_) if left_out => return (StreamOutcome::NotSelected, warnings),
            // The last change may have been a hold, or a migration elsewhere.
            VersionStatus::Behind(_) if attempt == ATTEMPTS => break,
            VersionStatus::Behind(route) => route,
        };
        let first = read(run, stores, stream, head.clone(), &route);
        let first = observe::process_during(stream, version, first);
        let mut converted = match first.await {
            Ok(converted) => converted,
            Err(error) => return (StreamOutcome::Failed(error), warnings),
        };
        if run.check_determinism {
            let again = read(run, stores, stream, head, &route).await;
            converted = match compare_results(&route, stream, converted, again) {
                Ok(converted) => converted,
                Err(error) => return (StreamOutcome::Failed(error), warnings),
            };
        }
        let converted = match converted {
            Selected::Yes(converted) => converted,
            Selected::Finished => return (StreamOutcome::Finished, warnings),
            Selected::NotMatching => return (StreamOutcome::NotSelected, warnings),
        };
        let read_back = route.clone();
        let checked = stores.code.run_on(stream, move |stream| {
            round_trip::check(&read_back, stream, converted.json())?;
            Ok(converted)
        });
        let converted = match checked.await {
            Ok(converted) => converted,
            Err(error) => return (StreamOutcome::Failed(error), warnings),
        };
        if run.dry {
            return (StreamOutcome::Migrated, warnings);
        }
        if let Err(error) = commit::event(stores.events, &converted).await {
            // The answer may be lost after the write has happened.
            match commit::is_committed(stores.events, &converted).await {
                Ok(true) => {}
                // The process received an event or was migrated: read it again.
                Ok(false) if moved_on(&error) => continue,
                _ => {
                    return (
                        StreamOutcome::Failed(commit::failed(stream, &error)),
                        warnings,
                    );
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
        update_registry(stores, stream, &moved_to, &mut warnings).await;
        return (StreamOutcome::Migrated, warnings);
    }
    (
        StreamOutcome::Failed(commit::busy(stream, ATTEMPTS)),
        warnings,
    )
}

fn moved_on(error: &Error) -> bool {
    use state_migration_core::ErrorKind::{Conflict, Held, Migrated, WrongVersion};
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

/// Reads, folds and converts a process.
async fn read(
    run: &RunContext,
    stores: &Stores<'_>,
    stream: &StreamId,
    head: Head,
    route: &Route,
) -> Result<Selected<convert::Converted>, MigrationError> {
    let code = &stores.code;
    let begun = FoldProgress::begin(code, route, stream, head.replay_after()).await?;
    let FoldProgress { fold, .. } = begun
        .read_on(code, stores.events, stream, head.sequence)
        .await?;
    let restrictions = run.restrictions.clone();
    let planned = convert::Planned::new(route.clone(), run.id);
    code.run_on(stream, move |stream| {
        let folded = fold::finish(fold, stream.clone(), head, &restrictions)?;
        folded.and_then(|folded| convert::process(&planned, folded))
    })
    .await
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

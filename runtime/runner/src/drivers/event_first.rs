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

use crate::chunk::page::twice;
use crate::control::Go;
use crate::drivers::on_open::{self, Lazy};
use crate::limits::in_progress::InProgress;
use crate::progress::estimate::Meter;
use crate::report::{CommitMode, MigrationReport, ScanKind};
use crate::retry::ATTEMPTS;
use crate::run::counts::CountsByWorkflow;
use crate::run::{RunCounts, RunState};
use crate::run_context::RunContext;
use crate::stages::due::{listing_failed, no_route};
use crate::stages::fold::{self, Progress};
use crate::stages::{commit, convert, scan};
use crate::user_code::round_trip;
use crate::user_code::threads::{Code, EndOfRun};
use crate::{observe, registry_sync};

/// Number of streams processed concurrently.
const AT_A_TIME: usize = 16;

/// Number of streams listed at a time.
const PAGE: usize = 256;

struct Stores<'a> {
    events: &'a dyn EventStore,
    snapshots: &'a dyn SnapshotStore,
    registry: Option<&'a dyn ProcessRegistry>,
    code: Code,
}

/// Migrates one process when it is opened.
pub(crate) async fn lazy(
    run: &RunContext,
    events: &dyn EventStore,
    snapshots: &dyn SnapshotStore,
    code: &Code,
    stream: &StreamId,
) -> Result<Lazy, Error> {
    if run.selection.limit().is_some() {
        return Ok(Lazy::LeftAlone);
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
        Outcome::AlreadyThere { .. } => Ok(Lazy::Moved),
        Outcome::Migrated => {
            run.observer.migrated(workflow, 1);
            Ok(Lazy::Moved)
        }
        Outcome::Failed(error) => {
            run.observer.failed(&error, workflow);
            Err(on_open::refused(&error))
        }
        Outcome::Empty
        | Outcome::OtherWorkflow
        | Outcome::NotSelected
        | Outcome::Finished
        | Outcome::Held => Ok(Lazy::LeftAlone),
    }
}

/// Outcome of one stream.
enum Outcome {
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
        Ended::AtTheEnd if pass.report.is_ok() => RunState::Done,
        Ended::AtTheEnd => RunState::DoneWithErrors,
        Ended::Cancelled => RunState::Cancelled,
        Ended::Unread => RunState::Running,
    };
    // This form keeps no record, so that only the report has the state.
    pass.report.state = Some(state);
    pass.publish(state);
    pass.report
}

/// Why a pass ended.
enum Ended {
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
    async fn all(&mut self, stores: &Stores<'_>) -> Ended {
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
                    return Ended::Unread;
                }
            };
            let at_end = page.len() < PAGE;
            after = page.last().cloned();
            // Owned streams: futures that borrow from the page would prevent the run
            // from being spawned as a task.
            let mut outcomes = stream::iter(page)
                .map(|stream| async move {
                    let _guard = loop {
                        match run.control.may_go_on(1, in_progress).await {
                            Go::On(guard) => break guard,
                            Go::AfterAPause | Go::AtAnotherPace => {}
                            Go::Nowhere => return None,
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
                    Some(Some(Some((_, _, (Outcome::Failed(error), _)))))
                        if let Some(end) = EndOfRun::behind_failure(&error) =>
                    {
                        if end == EndOfRun::Cancelled {
                            cancelled = true;
                        } else {
                            self.report.fail(error);
                            return Ended::Unread;
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
                self.note(run.control.state(in_progress));
                if self.left == Some(0) {
                    return Ended::AtTheEnd;
                }
            }
            if cancelled {
                return Ended::Cancelled;
            }
            if at_end {
                return Ended::AtTheEnd;
            }
        }
        Ended::AtTheEnd
    }

    /// Publishes that the run was paused or unpaused.
    fn note(&mut self, state: Option<RunState>) {
        let Some(state) = state.filter(|state| !self.meter.is(*state)) else {
            return;
        };
        self.run.observer.state(state);
        self.publish(state);
    }

    fn publish(&mut self, state: RunState) {
        self.run.control.publish(self.meter.state(state));
    }

    fn count(&mut self, stream: &StreamId, workflow: &str, outcome: Outcome) {
        let mut counts = RunCounts::default();
        let mut of_the_first = 0;
        match outcome {
            Outcome::Empty => counts.skipped_by.empty = 1,
            Outcome::OtherWorkflow => counts.skipped_by.other_workflow = 1,
            Outcome::AlreadyThere { repaired } => {
                counts.skipped_by.already_there = 1;
                self.report.repaired += usize::from(repaired);
            }
            Outcome::NotSelected => counts.skipped_by.not_selected = 1,
            Outcome::Finished => counts.skipped_by.finished = 1,
            Outcome::Held => counts.skipped_by.held = 1,
            Outcome::Migrated => {
                self.run.observer.migrated(workflow, 1);
                counts.migrated = 1;
                counts.unregistered = u64::from(stream.process().is_none());
                of_the_first = 1;
            }
            Outcome::Failed(error) => {
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
) -> (Outcome, Vec<String>) {
    let mut warnings = Vec::new();
    if !run.selection.selects(stream) {
        return (Outcome::NotSelected, warnings);
    }
    for _ in 0..ATTEMPTS {
        let head = match stores.events.head(stream).await {
            Ok(Some(head)) => head,
            Ok(None) => return (Outcome::Empty, warnings),
            Err(error) => return (Outcome::Failed(scan::unread(stream, &error)), warnings),
        };
        let version = at.insert(head.workflow_id.clone());
        if !run.selection.selects_workflow(version.name()) {
            return (Outcome::NotSelected, warnings);
        }
        let route = match run.migrations.version_status(&head.workflow_id) {
            VersionStatus::OtherWorkflow => return (Outcome::OtherWorkflow, warnings),
            VersionStatus::Newest | VersionStatus::Stays => {
                let repaired = tell(stores, stream, &head.workflow_id, &mut warnings).await;
                return (Outcome::AlreadyThere { repaired }, warnings);
            }
            VersionStatus::NoRoute => {
                let error = no_route(&run.migrations, stream.clone(), &head.workflow_id);
                return (Outcome::Failed(error), warnings);
            }
            VersionStatus::Behind(_) if head.held => return (Outcome::Held, warnings),
            VersionStatus::Behind(route) => route,
        };
        let first = read(run, stores, stream, head.clone(), &route);
        let first = observe::process_during(stream, version, first);
        let mut converted = match first.await {
            Ok(converted) => converted,
            Err(error) => return (Outcome::Failed(error), warnings),
        };
        if run.check_determinism {
            let again = read(run, stores, stream, head, &route).await;
            converted = match twice(stream, converted, again) {
                Ok(converted) => converted,
                Err(error) => return (Outcome::Failed(error), warnings),
            };
        }
        let Some(converted) = converted else {
            return (Outcome::Finished, warnings);
        };
        let read_back = (route.clone(), run.unchecked.clone());
        let checked = stores.code.on(stream, move |stream| {
            let (route, unchecked) = read_back;
            round_trip::check(&route, stream, converted.json(), &unchecked)?;
            Ok(converted)
        });
        let converted = match checked.await {
            Ok(converted) => converted,
            Err(error) => return (Outcome::Failed(error), warnings),
        };
        if run.dry {
            return (Outcome::Migrated, warnings);
        }
        if let Err(error) = commit::event(stores.events, &converted).await {
            // The answer may be lost after the write has happened.
            match commit::has_landed(stores.events, &converted).await {
                Ok(true) => {}
                // The process received an event or was migrated: read it again.
                Ok(false) if moved_on(&error) => continue,
                _ => return (Outcome::Failed(commit::failed(stream, &error)), warnings),
            }
        }
        let moved_to = route.target().clone();
        let schema = route.hops()[route.hops().len() - 1].target_schema_version();
        if let Err(error) = commit::snapshot(stores.snapshots, converted, schema).await {
            warnings.push(format!(
                "migrated, but its snapshot could not be written; loads start at the `$migrated` event: {error}"
            ));
        }
        tell(stores, stream, &moved_to, &mut warnings).await;
        return (Outcome::Migrated, warnings);
    }
    (Outcome::Failed(commit::busy(stream, ATTEMPTS)), warnings)
}

fn moved_on(error: &Error) -> bool {
    use state_migration_core::ErrorKind::{Conflict, Held, Migrated, WrongVersion};
    matches!(
        error.kind(),
        Conflict | Held | Migrated { .. } | WrongVersion { .. }
    )
}

/// Reads, folds and converts a process. Returns `None` if the process is finished and
/// the selection excludes finished processes.
async fn read(
    run: &RunContext,
    stores: &Stores<'_>,
    stream: &StreamId,
    head: Head,
    route: &Route,
) -> Result<Option<convert::Converted>, MigrationError> {
    let code = &stores.code;
    let begun = Progress::begin(code, route, stream, head.replay_after()).await?;
    let Progress { fold, .. } = begun
        .read_on(code, stores.events, stream, head.sequence)
        .await?;
    let selection = run.selection.clone();
    let planned = convert::Planned::new(route.clone(), run.id);
    code.on(stream, move |stream| {
        let folded = fold::finish(fold, stream.clone(), head, &selection)?;
        let converted = folded.map(|folded| convert::process(&planned, folded));
        converted.transpose()
    })
    .await
}

/// Writes the version of the process to the process registry. Returns whether an entry
/// was out of date.
async fn tell(
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

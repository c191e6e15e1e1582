//! The driver for one store: pages of processes, each read at one instant and
//! committed in one transaction, by several workers.
//!
//! This is the main task of a run. It plans, hands out ranges, counts what the workers
//! report as durable, and sweeps at the end. A process may be born at an old version
//! behind the run. The transaction that creates the ranges therefore marks the source
//! versions as closing, and a birth at a closing version also writes a row of its own.
//! Sweeps read those rows and not all heads, until a serializable transaction finds
//! none; that transaction removes the version if the run left no process there, or ends
//! the closing. So a later run without outdated processes reads a constant number of
//! rows. A run that can be resumed leaves its versions closing.

use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::Arc;

use futures_util::future::{Either, select};
use state_migration_core::{
    DueOf, Error, FailureClass, MigrationError, ProcessRegistry, Stage, StreamId, StreamRange,
    Subject, VersionStatus, WorkflowId,
};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::chunk::context::ChunkContext;
use crate::control::ChunkPermit;
use crate::limits::concurrency;
use crate::limits::in_progress::ChunkGuard;
use crate::progress::estimate::Meter;
use crate::progress::failed_before::FailedBefore;
use crate::progress::total::{self, RunTotal, Split};
use crate::registry_sync;
use crate::report::{CommitMode, KEPT, MigrationReport, ScanKind};
use crate::run::bookkeeping::Bookkeeping;
use crate::run::counts::CountsByWorkflow;
use crate::run::rows::{self, Part};
use crate::run::run_log::{Range, RunLog};
use crate::run::suspects::{self, Decided, SuspectRow};
use crate::run::{RunCounts, RunKind, RunState, Store, history};
use crate::run_context::RunContext;
use crate::stages::done::Done;
use crate::stages::{commit, due, scan};
use crate::user_code::threads::EndOfRun;
use crate::workers::queue::Queue;
use crate::workers::worker::{Source, Worker, WorkerMessage, worker_failed};

/// Number of ranges per worker that the heads are split into.
const RANGES_PER_WORKER: usize = 8;

/// Number of milestones per range.
const MILESTONES: usize = 16;

/// Maximum number of chunks that wait to be counted.
const WAITING: usize = 16;

/// Maximum number of sweeps while processes are still born at old versions, and maximum
/// number of sweeps in a row without a flush in between.
const SWEEPS: usize = 100;
const CLOSE_SWEEPS: usize = 16;

/// Result of a pass over ranges.
#[derive(Default)]
struct PassResult {
    broken: bool,
    cancelled: bool,
    ranges: Vec<Range>,
}

/// Minimum number of heads that are split among workers.
pub(crate) const FEWEST: usize = 64;

/// One execution of a run, as the main task sees it.
struct Execution<'a> {
    run: &'a RunContext,
    context: ChunkContext,
    separate_registry: Option<&'a dyn ProcessRegistry>,
    report: MigrationReport,
    meter: Meter,
    /// What was committed when suspects were tried, which counts like opened processes.
    on_open: RunCounts,
    /// Number of processes that failed in this execution.
    failed: u64,
    /// Whether processes are outdated that cannot be: the store is damaged, or was rolled
    /// back.
    is_damaged: bool,
}

/// The report of a run that found no due process and therefore left no record.
pub(crate) fn idle(run: &RunContext) -> MigrationReport {
    let mut progress = Meter::new(run.id, false, RunCounts::default())
        .rehearsing(run.rehearses)
        .state(RunState::Done);
    progress.run = None;
    run.control.publish(progress);
    MigrationReport {
        run: None,
        state: Some(RunState::Done),
        ..MigrationReport::of(run.id, CommitMode::OneTransaction, ScanKind::ByIndex)
    }
}

pub(crate) async fn run(
    run: &RunContext,
    store: Store,
    separate_registry: Option<&dyn ProcessRegistry>,
    run_log: Option<Arc<RunLog>>,
) -> MigrationReport {
    let visited = if run.count_up_to_date {
        ScanKind::ByFullScan
    } else {
        ScanKind::ByIndex
    };
    let mut report = MigrationReport::of(run.id, CommitMode::OneTransaction, visited);
    report.dry_run = run.dry;
    let mut context = ChunkContext::new(run, run.id, store);
    context.committer.update_registry = separate_registry.is_some();
    context.committer.bookkeeping = run_log
        .clone()
        .map_or(Bookkeeping::DryRun, Bookkeeping::Run);
    let mut execution = Execution {
        run,
        context,
        separate_registry,
        report,
        meter: Meter::new(run.id, run.dry, RunCounts::default()).rehearsing(run.rehearses),
        on_open: RunCounts::default(),
        failed: 0,
        is_damaged: false,
    };
    run.control.runs_over(&execution.context.store);
    let _alive = run_log.as_ref().map(|run_log| run_log.alive());
    let state = match execution.name_processes(run_log.as_deref()) {
        Ok(()) => execution.execute().await,
        Err(error) => {
            let failure = due::planning(Subject::Run, &error);
            execution.report.fail(failure);
            RunState::Running
        }
    };
    execution.record_requests().await;
    execution.report_on_open().await;
    let mut report = execution.report;
    if let Some(run_log) = run_log {
        if state.is_done() {
            let migrations = run.migrations.clone();
            let is_behind = move |at: &WorkflowId| {
                matches!(migrations.version_status(at), VersionStatus::Behind(_))
            };
            if let Err(error) = run_log.acquit(is_behind).await {
                let what = "cannot forget which processes were in user code when a program ended";
                report.warn(Subject::Run, format!("{what}: {error}"));
            }
        }
        report.state = Some(state);
        let stopped_by = report.stopped_by().map(ToString::to_string);
        if let Err(error) = run_log.end(state, stopped_by).await {
            report.fail(due::planning(Subject::Run, &error));
            report.state = Some(RunState::Running);
        }
    } else {
        report.state = Some(state);
    }
    let mut progress = execution.meter.state(report.state.unwrap_or(state));
    progress.stopped_by = report.stopped_by().cloned();
    run.control.publish(progress);
    report
}

impl Execution<'_> {
    /// Executes the whole run. Returns its final state.
    async fn execute(&mut self) -> RunState {
        let mut passed = PassResult::default();
        match self.pass_all(&mut passed).await {
            Ok(()) if passed.cancelled => RunState::Cancelled,
            Ok(()) if passed.broken || self.is_damaged => RunState::Running,
            Ok(()) => {
                self.report.compare_totals();
                match self.report.error_count {
                    0 => RunState::Done,
                    _ => RunState::DoneWithErrors,
                }
            }
            Err(error) => {
                self.report.fail(due::listing_failed(&error));
                RunState::Running
            }
        }
    }

    /// Names the processes in user code from now on. Warns of a run without a file.
    fn name_processes(&mut self, run_log: Option<&RunLog>) -> Result<(), Error> {
        let store = &self.context.store;
        // What is recorded on a copy is gone with the copy.
        let run_log = run_log.filter(|_| !self.run.rehearses);
        let in_user_code = match run_log.map(RunLog::in_user_code) {
            None => suspects::file_of_dry_run(store, &self.run.migrations)?,
            Some(Ok(in_user_code)) => Some(in_user_code),
            Some(Err(error)) => {
                let what = "a process that ends the program is not recognized";
                let warning = format!("{what}: {error}");
                self.report.warn(Subject::Run, warning);
                None
            }
        };
        self.context.code.name_processes_in(in_user_code);
        Ok(())
    }

    async fn pass_all(&mut self, passed: &mut PassResult) -> Result<(), Error> {
        let (run, store) = (self.run, self.context.store.clone());
        let mut ranges = match self.context.committer.bookkeeping.run_log() {
            Some(run_log) => run_log.ranges().await?,
            None => Vec::new(),
        };
        let present = due::present(run, &store).await?;
        let mut passes_again = ranges.is_empty();
        if let Some(run_log) = self.context.committer.bookkeeping.run_log().cloned()
            && !ranges.is_empty()
        {
            passes_again = self.resume(&run_log, &present, &mut ranges).await?;
        }
        self.report_earlier(&ranges).await?;
        if !passes_again {
            self.check_passed(&present, &ranges).await?;
        }
        self.publish(RunState::Running).await?;
        self.try_suspects().await?;
        if let Some(registry) = self.separate_registry {
            registry_sync::repair(run, &store, registry, &mut self.report).await;
        }
        let source = self.source();
        // A process of any version may have been migrated.
        let counts_all = self.context.history.is_some()
            || (run.count_up_to_date && matches!(source, Source::Heads));
        let versions = present.all().cloned().collect();
        let compares = counts_all && self.separate_registry.is_some() && !run.dry;
        match !counts_all && self.sweeps(&source) {
            true => self.context.restrict_to_listed(versions),
            false => {
                let versions = (!counts_all).then_some(versions);
                self.context.restrict_to(versions, compares);
            }
        }
        let mut split = None;
        if ranges.is_empty() {
            (ranges, split) = self
                .split_into_ranges(&source, &present, counts_all)
                .await?;
            if ranges.is_empty() && run.check_heads && self.sweeps(&source) {
                let all = self.context.routes.keys().cloned().collect();
                return self.check_versions(all).await;
            }
        }
        // The claim guards every batch, and no other run can change this meanwhile.
        let is_history = self.context.history.is_some();
        self.context.committer.targets_are_known = !present.targets_are_closing && !is_history;
        let (main, sweeps): (Vec<Range>, Vec<Range>) = ranges
            .into_iter()
            .partition(|range| range.row.part == Part::Migrate);
        // A process without a route does not count towards the limit.
        let rows = main.iter().map(|range| &range.row);
        let so_far = rows
            .map(|row| row.counts.migrated + row.counts.failed - row.unroutable)
            .sum();
        let ahead =
            RunTotal::determine(&self.context, &source, &present, &main, split, so_far).await?;
        self.meter.expect(ahead.all, ahead.of_each);
        if let Some(heads) = ahead.heads {
            let before = main.iter().map(|range| range.row.heads).sum();
            self.meter.expect_heads(before, heads, &ahead.over);
        }
        // Publish now: the first page may take long.
        let progress = self.meter.state(RunState::Running);
        self.run.control.publish(progress);
        let (mut over, left): (Vec<Range>, Vec<Range>) =
            main.into_iter().partition(|range| range.row.done);
        *passed = self.pass(&source, left, so_far).await;
        over.append(&mut passed.ranges);
        let is_over = |passed: &PassResult| passed.broken || passed.cancelled;
        if is_over(passed) || self.is_damaged || !self.sweeps(&source) {
            return Ok(());
        }
        if !run.dry {
            self.sweep(present, over, sweeps, passed).await?;
        }
        if is_over(passed) {
            return Ok(());
        }
        self.check_versions(self.context.unlisted()).await
    }

    /// Tries each suspect that this run is for, one after the other, and then knows which
    /// processes fail without a further attempt.
    async fn try_suspects(&mut self) -> Result<(), Error> {
        let mut suspects = self.context.suspects(self.run).await?;
        if self.run.rehearses {
            return Ok(());
        }
        let Some(run_log) = self.context.committer.bookkeeping.run_log().cloned() else {
            return Ok(());
        };
        let first =
            |(stream, row): &&mut (StreamId, SuspectRow)| self.context.is_tried_first(stream, row);
        let first: Vec<_> = suspects.iter_mut().filter(first).collect();
        let many = first.len();
        for (tried, (stream, row)) in first.into_iter().enumerate() {
            let progress = self.meter.suspects(many - tried);
            self.run.control.publish(progress);
            let Some(_chunk) = self.permit_one().await else {
                break;
            };
            let counts = self.context.try_suspect(stream, row, &run_log).await?;
            self.on_open.add(&counts);
            self.meter
                .add(&counts, &CountsByWorkflow::default(), (0, 0));
        }
        let progress = self.meter.suspects(0);
        self.run.control.publish(progress);
        self.context.decided = Decided::of(suspects);
        Ok(())
    }

    /// Waits until the run may work on one more process; `None` if it was cancelled.
    async fn permit_one(&mut self) -> Option<ChunkGuard> {
        let mut changes = self.run.control.changes();
        loop {
            self.record_changes(true).await;
            let in_progress = &self.context.in_progress;
            let permit = pin!(self.run.control.permit_chunk(1, in_progress));
            match select(permit, pin!(changes.next())).await {
                Either::Left((ChunkPermit::Granted(chunk), _)) => return Some(chunk),
                Either::Left((ChunkPermit::Cancelled, _)) => return None,
                // The run was paused or unpaused, or has another limit.
                Either::Left(_) | Either::Right(_) => {}
            }
        }
    }

    /// Checks that no process is at one of these versions, at which processes would be
    /// outdated, unless the store lists the version by now. A process that is created at
    /// a version makes the store list it.
    async fn check_versions(&mut self, versions: BTreeSet<WorkflowId>) -> Result<(), Error> {
        if versions.is_empty() {
            return Ok(());
        }
        let selection = self.context.selection.clone();
        let mut counts = scan::count(&self.context.store, versions, selection, u64::MAX).await?;
        let listed = due::present(self.run, &self.context.store).await?;
        let listed: BTreeSet<&WorkflowId> = listed.all().collect();
        counts.retain(|version, count| *count > 0 && !listed.contains(version));
        let all: u64 = counts.values().sum();
        if let Some(version) = counts.into_keys().next() {
            self.damaged(format!(
                "{all} processes are outdated, at versions that the store does not list (such as {version}); check the store for damage or a rollback, and count up-to-date processes in a new run, which migrates them"
            ));
        }
        Ok(())
    }

    /// Checks that no process is outdated in the parts of the ranges that earlier
    /// executions of this run have passed.
    ///
    /// A process is allowed to be outdated there if it failed, if it was created since, or
    /// if it was ever held. Where the run skips finished processes, a process may have
    /// received events since.
    async fn check_passed(
        &mut self,
        present: &due::Present,
        ranges: &[Range],
    ) -> Result<(), Error> {
        let context = &self.context;
        let filter = Arc::new(scan::HeadsOnly(context.filter.clone()));
        let mut outdated = Vec::new();
        let main = ranges
            .iter()
            .filter(|range| range.row.part == Part::Migrate);
        for mut passed in main.filter_map(|range| range.row.passed()) {
            loop {
                if context.control.is_cancelled() {
                    return Ok(());
                }
                let (of, snapshots) = (DueOf::Range(passed.clone()), scan::Snapshots::default());
                let most = scan::CHUNK_PROCESSES;
                let page = scan::page(&context.store, of, filter.clone(), most, snapshots).await?;
                scan::check_page(&page, &passed)?;
                let failed = scan::failed(&context.store, Some(context.run), &page).await?;
                let found = page.processes.into_iter();
                let found = found.filter(|process| process.head.is_some());
                let found = found.map(|process| process.stream);
                outdated.extend(found.filter(|stream| !failed.contains(stream)));
                if page.at_end {
                    break;
                }
                passed.after = page.up_to;
            }
        }
        if outdated.is_empty() {
            return Ok(());
        }
        for version in present.all() {
            let births = context.store.births(version, usize::MAX).await?;
            let births: BTreeSet<StreamId> = births.into_iter().collect();
            outdated.retain(|stream| !births.contains(stream));
        }
        let mut all = Vec::with_capacity(outdated.len());
        for stream in outdated {
            let key = rows::holds(&stream);
            if context.store.rows(&key, None, 1).await?.is_empty() {
                all.push(stream);
            }
        }
        if let Some(first) = all.first() {
            let message = format!(
                "{} processes are outdated that this run has passed (the first is {first}); check the store for damage or a rollback, and start a new run, which migrates them",
                all.len()
            );
            self.damaged(message);
        }
        Ok(())
    }

    /// Reports that processes are outdated that cannot be. The run is not done then.
    fn damaged(&mut self, message: String) {
        self.is_damaged = true;
        self.report.fail(MigrationError::new(
            Stage::Planning,
            FailureClass::Corrupt,
            Subject::Store,
            message,
        ));
    }

    /// Whether this run sweeps processes that are born behind it.
    fn sweeps(&self, source: &Source) -> bool {
        matches!(source, Source::Heads)
            && self.context.selection.limit().is_none()
            && self.context.history.is_none()
    }

    /// Takes over the ranges of an earlier execution.
    ///
    /// If births were not recorded for this run throughout, some processes may have
    /// been born behind it. The run then passes all heads again, and counts those that
    /// it has migrated as up to date. The same holds if processes failed because they had
    /// no route, and have one in this program. Returns whether the run passes all heads.
    async fn resume(
        &self,
        run_log: &RunLog,
        present: &due::Present,
        ranges: &mut [Range],
    ) -> Result<bool, Error> {
        let sweeps = self.sweeps(&self.source());
        let open: &[WorkflowId] = if sweeps { &present.open } else { &[] };
        run_log
            .add_ranges(0, Vec::new(), &self.targets(present), open)
            .await?;
        let forgotten = match sweeps && run_log.has_other_code() {
            true => {
                let has_route = |at: &WorkflowId| self.context.routes.contains_key(at);
                run_log.forget_failures(ranges, has_route).await?
            }
            false => 0,
        };
        let again = !open.is_empty() || forgotten > 0;
        run_log.take(ranges, again).await?;
        // What is checked of the rest needs all births, and no other reason to be left.
        let selection = &self.run.selection;
        Ok(again || !sweeps || selection.is_in_flight() || selection.reads_more_than_heads())
    }

    /// The target versions of the routes whose source versions are present.
    fn targets(&self, present: &due::Present) -> Vec<WorkflowId> {
        let planned = present
            .sources
            .iter()
            .filter_map(|at| self.context.routes.get(at));
        let targets: BTreeSet<WorkflowId> = planned
            .map(|planned| planned.route.target().clone())
            .collect();
        targets.into_iter().collect()
    }

    /// The source of the processes of this run.
    fn source(&self) -> Source {
        match &self.run.kind {
            RunKind::Retry { of, classes } => Source::Failures {
                of: *of,
                classes: classes.clone().into(),
                far_apart: Arc::default(),
            },
            _ => Source::Heads,
        }
    }

    /// Splits the run into ranges. Also returns what the split found out about the
    /// number of processes and heads.
    async fn split_into_ranges(
        &mut self,
        source: &Source,
        present: &due::Present,
        counts_all: bool,
    ) -> Result<(Vec<Range>, Option<Split>), Error> {
        let nothing = present.is_empty() && !counts_all;
        let pieces = match self.workers() {
            1 => RANGES_PER_WORKER,
            _ => concurrency::first() * RANGES_PER_WORKER,
        };
        let fewest = FEWEST.min(self.context.chunk_processes);
        let (parts, split) = match source {
            Source::Heads if nothing => return Ok((Vec::new(), None)),
            Source::Heads => {
                let within = self.context.selection.within(&[StreamRange::default()]);
                let filter = &*self.context.filter;
                // In more ranges than are handed out: the others tell how far the run is.
                let (many, few) = (pieces * MILESTONES, fewest.div_ceil(MILESTONES));
                let split = self.context.store.split(&within, filter, many, few);
                let split = split.await?;
                let ranges = total::joined(&split, pieces, fewest);
                (ranges, Some(Split::Heads(split)))
            }
            Source::Failures { of, classes, .. } => {
                let (store, selection) = (&self.context.store, &self.context.selection);
                let failed = FailedBefore::read(store, *of, classes, selection).await?;
                (failed.ranges(pieces, fewest), Some(Split::Failed(failed)))
            }
            Source::Births(_) => (vec![StreamRange::default()], None),
        };
        let Some(run_log) = self.context.committer.bookkeeping.run_log() else {
            return Ok((parts.into_iter().map(Range::of).collect(), split));
        };
        let closing = match self.sweeps(source) {
            true => present.all().cloned().collect(),
            false => Vec::new(),
        };
        let parts = parts.into_iter().map(|range| (Part::Migrate, range));
        let targets = self.targets(present);
        let ranges = run_log
            .add_ranges(0, parts.collect(), &targets, &closing)
            .await?;
        Ok((ranges, split))
    }

    /// Reports what the run had done before it was resumed.
    async fn report_earlier(&mut self, ranges: &[Range]) -> Result<(), Error> {
        let Some(run_log) = self
            .context
            .committer
            .bookkeeping
            .run_log()
            .filter(|_| !ranges.is_empty())
        else {
            return Ok(());
        };
        let (mut counts, mut by_workflow) = (RunCounts::default(), CountsByWorkflow::default());
        for range in ranges {
            counts.add(&range.row.counts);
            by_workflow.add(&range.row.by_workflow);
            self.report.totals.add(&range.row.totals);
        }
        self.report.count(&counts);
        let run = run_log.run();
        let failures = history::failures(&self.context.store, run, &[], None, None, KEPT).await?;
        for failure in failures {
            self.report.fail(failure.error);
        }
        let failed = usize::try_from(counts.failed).unwrap_or(usize::MAX);
        self.report.error_count = self.report.error_count.max(failed);
        self.meter = Meter::new(run, false, counts).rehearsing(self.run.rehearses);
        self.meter.count(&by_workflow);
        Ok(())
    }

    /// Adds the processes that were migrated meanwhile when they were opened.
    async fn report_on_open(&mut self) {
        let Some(run_log) = self.context.committer.bookkeeping.run_log() else {
            return;
        };
        match run_log.lazy_counts().await {
            Ok(counts) => {
                self.report.count(&counts);
                let new = counts.without(&self.on_open);
                self.meter.add(&new, &CountsByWorkflow::default(), (0, 0));
            }
            Err(error) => self.report.warn(
                Subject::Run,
                format!(
                    "cannot read how many processes were migrated when they were opened: {error}"
                ),
            ),
        }
    }

    /// Records and publishes the state of the run.
    async fn publish(&mut self, state: RunState) -> Result<(), Error> {
        if let Some(run_log) = self.context.committer.bookkeeping.run_log() {
            let throttle = self.run.control.throttled();
            run_log.set_state(state, throttle).await?;
        }
        self.run.control.publish(self.meter.state(state));
        Ok(())
    }

    /// Cancels the run once too many processes have failed.
    fn stop_at_failures(&mut self) {
        let Some(most) = self.run.max_failures.filter(|most| self.failed > *most) else {
            return;
        };
        if !self.report.too_many_failures {
            self.report.too_many_failures = true;
            let reason = format!("more than {most} processes failed");
            let control = self.run.control.on_behalf_of("the run", reason);
            control.cancel();
        }
    }

    /// Counts what is durable.
    async fn add(&mut self, mut done: Done) {
        // A state that was not computed again was not verified.
        if !matches!(self.run.kind, RunKind::Verify { .. }) {
            for error in done.take_not_tried() {
                self.report.warn(error.subject, error.message);
            }
        }
        self.run.observer.done(&done);
        let Done {
            moved,
            failed,
            up_to_date,
            counts,
            by_workflow,
            heads,
            passed,
            passed_over,
            differences,
            totals,
            ..
        } = done;
        self.report.totals.add(&totals);
        self.report.differ(differences);
        if let Some(passed) = passed {
            self.meter.pass(&passed);
        }
        self.report.count(&counts);
        self.failed += failed.len() as u64;
        for failed in failed {
            self.report.fail(failed.error);
        }
        self.stop_at_failures();
        let progress = self.meter.add(&counts, &by_workflow, (heads, passed_over));
        self.run.observer.progress(&progress);
        self.run.control.publish(progress);
        if let Some(registry) = self.separate_registry.filter(|_| !self.run.dry) {
            let (store, report) = (&self.context.store, &mut self.report);
            registry_sync::update(self.run, store, registry, &moved, report).await;
            for (stream, head) in &up_to_date {
                if self.run.control.is_cancelled() {
                    break;
                }
                registry_sync::compare(registry, stream, head, &mut self.report).await;
            }
        }
    }

    fn workers(&self) -> usize {
        // A limit selects the first N processes in order, which takes a single worker.
        match self.context.selection.limit() {
            Some(_) => 1,
            None => concurrency::MOST,
        }
    }

    /// Passes ranges with several workers; `so_far` processes count towards the limit
    /// already.
    async fn pass(&mut self, source: &Source, ranges: Vec<Range>, so_far: u64) -> PassResult {
        let mut passed = PassResult::default();
        if ranges.is_empty() {
            return passed;
        }
        // One worker more than ranges, to take over a range whose lease has expired.
        let expires = !self.run.dry && !self.context.store.is_single_writer();
        let workers = self.workers().min(ranges.len() + usize::from(expires));
        let queue = Arc::new(Queue::new(ranges, expires));
        let (sender, messages) = mpsc::channel(WAITING);
        let mut tasks = JoinSet::new();
        let limit = self.context.selection.limit();
        let so_far = usize::try_from(so_far).unwrap_or(usize::MAX);
        for _ in 0..workers {
            let worker = Worker {
                context: self.context.clone(),
                source: source.clone(),
                left: limit.map(|limit| limit.saturating_sub(so_far)),
                sender: sender.clone(),
                waiting: Vec::new(),
                guard: None,
            };
            tasks.spawn(self.run.observer.during(worker.run(queue.clone())));
        }
        drop(sender);
        self.listen(messages, &mut passed).await;
        while let Some(ended) = tasks.join_next().await {
            match ended {
                Ok(done) => passed.ranges.extend(done),
                Err(error) => {
                    passed.broken = true;
                    self.report.fail(worker_failed(&format!(
                        "a worker ended early; resume the run: {error}"
                    )));
                }
            }
        }
        passed.cancelled = self.run.control.is_cancelled();
        passed
    }

    /// Receives the messages of the workers and the requests of the control handle.
    async fn listen(
        &mut self,
        mut messages: mpsc::Receiver<WorkerMessage>,
        passed: &mut PassResult,
    ) {
        let mut changes = self.run.control.changes();
        let mut idle = self.context.in_progress.changes();
        loop {
            // A worker sends its results before it deregisters its chunk.
            self.record_changes(messages.is_empty()).await;
            let next = {
                let (change, rest) = (pin!(changes.next()), pin!(idle.changed()));
                let changed = select(change, rest);
                match select(pin!(messages.recv()), changed).await {
                    Either::Left((message, _)) => Some(message),
                    Either::Right(_) => None,
                }
            };
            match next {
                Some(None) => return,
                Some(Some(WorkerMessage::Done(done))) => self.add(*done).await,
                Some(Some(WorkerMessage::Broken(error))) => {
                    // Each worker reports what ends the whole run.
                    if passed.broken && error.subject == Subject::Run {
                        continue;
                    }
                    self.run.observer.broken(&error);
                    passed.broken = true;
                    self.report.fail(error);
                }
                None => {}
            }
        }
    }

    /// Records what was requested of the run, and its state if that has changed and
    /// everything done is counted.
    async fn record_changes(&mut self, is_counted: bool) {
        let state = self.run.control.state(&self.context.in_progress);
        if let Some(state) = state.filter(|state| is_counted && !self.meter.is(*state)) {
            self.record_state(state).await;
        }
        self.record_requests().await;
    }

    /// Records what was requested of the run, and its limit if it has changed.
    async fn record_requests(&mut self) {
        let actions = self.run.control.take_actions();
        let Some(run_log) = self.context.committer.bookkeeping.run_log() else {
            return;
        };
        let (record, throttle) = (run_log.record(), self.run.control.throttled());
        let noted = async {
            if !actions.is_empty() {
                run_log.record_actions(&actions).await?;
            }
            if record.throttle != throttle {
                run_log.set_state(record.state, throttle).await?;
            }
            Ok::<_, Error>(())
        };
        if let Err(error) = noted.await {
            self.report.warn(
                Subject::Run,
                format!("cannot record a request to the run: {error}"),
            );
        }
    }

    /// Records that the run was paused or unpaused.
    async fn record_state(&mut self, state: RunState) {
        self.run.observer.state(state);
        if let Err(error) = self.publish(state).await {
            // The workers encounter the same error and stop.
            self.report.warn(
                Subject::Run,
                format!("cannot record that the run is {state}: {error}"),
            );
        }
    }

    /// Migrates the processes that were born at old versions behind the run, until none
    /// is left. Then removes the versions that no process is at any more.
    async fn sweep(
        &mut self,
        present: due::Present,
        main: Vec<Range>,
        mut sweeps: Vec<Range>,
        passed: &mut PassResult,
    ) -> Result<(), Error> {
        let Some(run_log) = self.context.committer.bookkeeping.run_log().cloned() else {
            return Ok(());
        };
        self.context.committer.sweeps = true;
        let mut known: BTreeSet<WorkflowId> = present.all().cloned().collect();
        // What is up to date was counted and compared by the first pass.
        self.context.restrict_to(Some(known.clone()), false);
        let mut closing: Vec<WorkflowId> = known.iter().cloned().collect();
        for _ in 0..SWEEPS {
            closing = self.end_closing(&run_log, closing, &main, &sweeps).await?;
            closing = self
                .sweep_closely(&run_log, closing, &main, &mut sweeps)
                .await?;
            let mut source = Source::Births(closing.clone().into());
            if closing.is_empty() {
                // Births at a version that was not present at the start were not
                // recorded.
                let now = due::present(self.run, &self.context.store).await?;
                closing = now
                    .all()
                    .filter(|at| !known.contains(at))
                    .cloned()
                    .collect();
                if closing.is_empty() {
                    return Ok(());
                }
                known.extend(closing.iter().cloned());
                run_log
                    .add_ranges(0, Vec::new(), &self.targets(&now), &closing)
                    .await?;
                self.context
                    .restrict_to(Some(closing.iter().cloned().collect()), false);
                source = Source::Heads;
            }
            if sweeps.is_empty() {
                let first = u32::try_from(main.len()).unwrap_or(u32::MAX);
                let parts = self.context.selection.within(&[StreamRange::default()]);
                let parts = parts.into_iter().map(|range| (Part::Sweep, range));
                sweeps = run_log.add_ranges(first, parts.collect(), &[], &[]).await?;
            }
            for range in &mut sweeps {
                range.row.at = None;
                range.row.done = false;
            }
            let swept = self.pass(&source, sweeps, 0).await;
            passed.broken |= swept.broken;
            passed.cancelled |= swept.cancelled;
            if passed.broken || passed.cancelled {
                return Ok(());
            }
            sweeps = swept.ranges;
        }
        self.report.fail(MigrationError::new(Stage::Planning, FailureClass::Run, Subject::Versions, format!(
                "processes are still created at an old version after {SWEEPS} sweeps; stop the programs that create them, and resume the run"
            )));
        passed.broken = true;
        Ok(())
    }

    /// Migrates the last births at the closing versions and ends the closing
    /// immediately afterwards, without a flush in between.
    ///
    /// Where births are frequent, the closing can only end in an instant without
    /// pending births.
    async fn sweep_closely(
        &mut self,
        run_log: &RunLog,
        mut closing: Vec<WorkflowId>,
        main: &[Range],
        sweeps: &mut [Range],
    ) -> Result<Vec<WorkflowId>, Error> {
        let mut waiting = Vec::new();
        for _ in 0..CLOSE_SWEEPS {
            // A slowed run must wait before each chunk, which only a pass does.
            if closing.is_empty() || sweeps.is_empty() || self.run.control.is_slowed() {
                break;
            }
            let source = Source::Births(closing.clone().into());
            let page = source.page(&self.context, &sweeps[0], FEWEST).await?;
            if page.read.processes.len() == FEWEST {
                break;
            }
            match self.context.migrate_page(page, &mut sweeps[0]).await {
                Ok(worked) => waiting.push(worked.done),
                Err(error) if error.is_conflict() => {}
                // The workers of the next pass end the run.
                Err(error) if EndOfRun::behind(&error).is_some() => break,
                Err(error) => return Err(error),
            }
            closing = self.end_closing(run_log, closing, main, sweeps).await?;
        }
        if !waiting.is_empty() {
            commit::flush(&self.context.committer).await?;
        }
        for done in waiting {
            self.add(done).await;
        }
        Ok(closing)
    }

    /// Stops recording births at these versions, and removes versions that no process
    /// is at any more. Returns the versions with births that must be migrated first.
    async fn end_closing(
        &self,
        run_log: &RunLog,
        closing: Vec<WorkflowId>,
        main: &[Range],
        sweeps: &[Range],
    ) -> Result<Vec<WorkflowId>, Error> {
        let sees_all = !self.run.selection.is_partial();
        let mut left = Vec::new();
        for version in closing {
            let stays = |range: &Range| range.row.unread || range.row.stays.contains(&version);
            let empty = sees_all && !main.iter().chain(sweeps).any(stays);
            let ended = self
                .context
                .store
                .end_closing(&version, run_log.run(), empty);
            if !ended.await? {
                left.push(version);
            }
        }
        Ok(left)
    }
}

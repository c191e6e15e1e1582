//! The form with one store: chunks of processes, each read and committed in
//! one serializable transaction, by several workers at once. This is the main
//! task of a run: it plans, hands out ranges, counts what the workers did, and
//! sweeps in the end.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::pin::pin;
use std::sync::{Arc, Mutex};

use futures_util::future::{Either, select};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::error::Error;
use crate::id::{StreamId, WorkflowId};
use crate::process_registry::ProcessRegistry;
use crate::run::ledger::{Ledger, Range};
use crate::run::rows::Part;
use crate::run::tally::Tally;
use crate::run::{RunCounts, RunKind, RunState};
use crate::runner::ahead::Ahead;
use crate::runner::commit::{Done, Failed, Outcome};
use crate::runner::meter::Meter;
use crate::runner::report::{
    CommitForm, FailureClass, KEPT, MigrationError, MigrationReport, Stage, Visited,
};
use crate::runner::scan::{Candidate, Source};
use crate::runner::work::{Book, Store, Work};
use crate::runner::worker::{Told, Worker, worker_failed};
use crate::runner::{Run, commit, lanes, plan, registry_update, scan};
use crate::store::{Split, StreamRange};

/// Into how many ranges a version's processes are split, for each worker.
const RANGES_PER_WORKER: usize = 8;

/// How many chunks may wait to be reported.
const WAITING: usize = 16;

/// How often old versions are swept while processes are still born there.
const SWEEPS: usize = 100;

/// How a pass over ranges ended.
#[derive(Default)]
struct Passed {
    broken: bool,
    cancelled: bool,
    ranges: Vec<Range>,
    /// How many processes were migrated, failed, or found to be over.
    decided: u64,
}

impl Passed {
    /// Whether all processes that it came by have left their versions.
    fn all_left(&self) -> bool {
        self.ranges.iter().all(|range| {
            let counts = range.row.counts;
            let left = counts.migrated + counts.skipped_by.already_there as u64;
            range.row.done && counts.processes() == left
        })
    }
}

/// Fewer processes than this are not shared out among workers.
const FEWEST: usize = 64;

/// One execution, as the main task sees it.
struct Execution<'a> {
    run: &'a Run,
    work: Work,
    elsewhere: Option<&'a dyn ProcessRegistry>,
    report: MigrationReport,
    meter: Meter,
    /// What a full count could not read in a dry run, which keeps no failures.
    unread: Vec<MigrationError>,
    /// How many processes stood where a route starts, by their heads; 0 where
    /// nobody looked.
    behind: u64,
    /// How many processes the index has led to.
    visited: u64,
}

pub(super) async fn run(
    run: &Run,
    store: Store,
    elsewhere: Option<&dyn ProcessRegistry>,
    ledger: Option<Arc<Ledger>>,
) -> MigrationReport {
    let visited = if run.full_count {
        Visited::ByFullScan
    } else {
        Visited::ByIndex
    };
    let mut report = MigrationReport::of(run.id, CommitForm::OneTransaction, visited);
    report.dry_run = run.dry;
    let mut work = Work::new(run, run.id, store);
    work.remember = elsewhere.is_some();
    work.book = ledger.clone().map_or(Book::DryRun, Book::Run);
    let mut execution = Execution {
        run,
        work,
        elsewhere,
        report,
        meter: Meter::new(run.id, run.dry, RunCounts::default()),
        unread: Vec::new(),
        behind: 0,
        visited: 0,
    };
    let _alive = ledger.as_ref().map(|ledger| ledger.alive());
    let state = execution.go().await;
    execution.report_lazy().await;
    let mut report = execution.report;
    if let Some(ledger) = ledger {
        if let Err(error) = ledger.end(state).await {
            report.fail(plan::planning("(run)", &error));
            report.state = Some(RunState::Running);
        } else {
            report.state = Some(state);
        }
    }
    run.control
        .publish(execution.meter.state(report.state.unwrap_or(state)));
    report
}

impl Execution<'_> {
    /// Goes through the whole run; returns the state it is to end in.
    async fn go(&mut self) -> RunState {
        let mut passed = Passed::default();
        match self.pass_all(&mut passed).await {
            Ok(()) if passed.cancelled => RunState::Cancelled,
            Ok(()) if passed.broken => RunState::Running,
            Ok(()) if self.report.error_count > 0 => RunState::DoneWithErrors,
            Ok(()) => RunState::Done,
            Err(error) => {
                self.report.fail(plan::listing_failed(&error));
                RunState::Running
            }
        }
    }

    async fn pass_all(&mut self, passed: &mut Passed) -> Result<(), Error> {
        let (run, store) = (self.run, self.work.store.clone());
        let mut ranges = match self.work.book.ledger() {
            Some(ledger) => ledger.ranges().await?,
            None => Vec::new(),
        };
        let is_new = ranges.is_empty();
        self.report_earlier(&ranges).await?;
        self.publish(RunState::Running).await?;
        if let Some(registry) = self.elsewhere {
            registry_update::repair(run, &store, registry, &mut self.report).await;
        }
        let present = plan::present(run, &store).await?;
        let arrived: BTreeMap<WorkflowId, u64> = present
            .sources
            .iter()
            .filter_map(|version| Some((version.clone(), store.arrivals(version)?)))
            .collect();
        self.announce(&present.sources).await?;
        let source = self.source(&present.sources);
        let mut due = None;
        if is_new {
            (ranges, due) = self.lay(&source, &present).await?;
        }
        for range in ranges.iter_mut().filter(|range| !range.row.done) {
            match range.row.part.clone() {
                Part::Count => passed.cancelled |= !self.count_all(range).await?,
                Part::Strays(version) => {
                    passed.cancelled |= !self.report_strays(&version, range).await?;
                }
                Part::Migrate | Part::Sweep => {}
            }
        }
        if passed.cancelled {
            return Ok(());
        }
        let (main, sweeps): (Vec<Range>, Vec<Range>) = ranges
            .into_iter()
            .filter(|range| matches!(range.row.part, Part::Migrate | Part::Sweep))
            .partition(|range| range.row.part == Part::Migrate);
        // Processes that no route is for are not among the first so many.
        let counts = main.iter().map(|range| range.row.counts);
        let so_far = counts.map(|counts| counts.migrated + counts.failed).sum();
        let ahead = Ahead::look(&self.work, &source, &present, &main, due, so_far).await?;
        self.meter.expect(ahead.all, ahead.of_each);
        // The first chunk may take long.
        let progress = self.meter.state(RunState::Running);
        self.run.control.publish(progress);
        let left: Vec<Range> = main.into_iter().filter(|range| !range.row.done).collect();
        self.visited = 0;
        *passed = self.pass(&source, left, so_far).await;
        if !passed.broken && !passed.cancelled && !run.dry {
            // Of a run that was resumed, others know who came before; and one
            // that leaves alone what has failed does not count it a second time.
            let sees_all = is_new && !run.selection.is_partial();
            let counts_all = self.work.failed_before().is_none() && self.report.error_count == 0;
            let all_left = sees_all && counts_all && passed.all_left();
            let left = if all_left { arrived } else { BTreeMap::new() };
            self.sweep(&source, sweeps, left, passed).await?;
        }
        if is_new && !passed.broken && !passed.cancelled {
            self.compare_with_heads(&source).await?;
        }
        for error in std::mem::take(&mut self.unread) {
            // The index led to some of them.
            if !self.report.errors.contains(&error) {
                self.report.fail(error);
            }
        }
        Ok(())
    }

    /// After a full count: whether the index led to all that the heads know of.
    async fn compare_with_heads(&mut self, source: &Source) -> Result<(), Error> {
        let bounded = self.work.selection.limit().is_some();
        if matches!(source, Source::Failures { .. }) || bounded {
            return Ok(());
        }
        // Those that were migrated as they were opened in between.
        let lazy = match self.work.book.ledger() {
            Some(ledger) => ledger.lazy_counts().await?.migrated,
            None => 0,
        };
        if self.visited + lazy < self.behind {
            let missing = plan::not_in_index(self.behind, self.visited);
            self.report.fail(missing);
        }
        Ok(())
    }

    /// Lets the store prepare for processes at the versions that routes lead to.
    async fn announce(&self, sources: &[WorkflowId]) -> Result<(), Error> {
        if self.work.book.is_dry() {
            return Ok(());
        }
        let planned = sources.iter().filter_map(|at| self.work.routes.get(at));
        let targets: BTreeSet<WorkflowId> = planned
            .map(|planned| planned.route.target().clone())
            .collect();
        let targets: Vec<WorkflowId> = targets.into_iter().collect();
        self.work.store.announce(&targets).await
    }

    /// Counts the streams that need nothing, and reports what it cannot read;
    /// `false` when the run was cancelled before.
    async fn count_all(&mut self, range: &mut Range) -> Result<bool, Error> {
        let (run, store) = (self.run, self.work.store.clone());
        let mut counted = MigrationReport::default();
        let counting = plan::count_all(run, &store, self.elsewhere, &mut counted);
        let Some(plan::Counted { unread, behind }) = counting.await? else {
            return Ok(false);
        };
        self.behind = behind;
        for error in unread {
            let Some(ledger) = self.work.book.ledger().cloned() else {
                self.unread.push(error);
                continue;
            };
            if ledger.has_failed(&error.stream_id).await? {
                continue;
            }
            let done = commit::failure(&self.work, error, None, range).await?;
            self.add(done).await;
        }
        let outcome = || Outcome {
            counts: RunCounts {
                skipped_by: counted.skipped_by,
                ..RunCounts::default()
            },
            at_end: true,
            ..Outcome::default()
        };
        let done = commit::without_reading(&self.work, outcome, range).await?;
        self.add(done).await;
        self.report.repaired += counted.repaired;
        for warning in counted.warnings {
            self.report.warn(warning.stream_id, warning.message);
        }
        Ok(true)
    }

    /// Where this run's candidates come from.
    fn source(&self, versions: &[WorkflowId]) -> Source {
        match &self.run.kind {
            RunKind::Retry { of, classes } => Source::Failures {
                of: *of,
                classes: classes.clone().into(),
            },
            RunKind::Migrate | RunKind::Lazy => Source::Index(versions.into()),
        }
    }

    /// Cuts the run into ranges; also returns how many processes are due, if
    /// that came to light.
    async fn lay(
        &mut self,
        source: &Source,
        present: &plan::Present,
    ) -> Result<(Vec<Range>, Option<Split>), Error> {
        let (mut parts, mut due) = (Vec::new(), None);
        if matches!(source, Source::Index(_)) {
            for version in &present.strays {
                parts.push((Part::Strays(version.clone()), StreamRange::default()));
            }
        }
        if !present.sources.is_empty() {
            let pieces = match self.workers() {
                1 => RANGES_PER_WORKER,
                _ => lanes::first() * RANGES_PER_WORKER,
            };
            // Each range opens an index for each version.
            let fewest = FEWEST.saturating_mul(present.sources.len());
            let split = self
                .work
                .store
                .split(
                    &present.sources,
                    pieces,
                    fewest.min(self.work.chunk_processes),
                )
                .await?;
            let ranges = self.work.selection.within(&split.ranges);
            due = Some(split);
            parts.extend(ranges.into_iter().map(|range| (Part::Migrate, range)));
        } else if matches!(source, Source::Failures { .. }) {
            parts.push((Part::Migrate, StreamRange::default()));
        }
        if self.run.full_count {
            parts.push((Part::Count, StreamRange::default()));
        }
        if parts.is_empty() {
            return Ok((Vec::new(), due));
        }
        let Some(ledger) = self.work.book.ledger() else {
            let ranges = parts.into_iter().map(|(part, range)| {
                let mut range = Range::of(range);
                range.row.part = part;
                range
            });
            return Ok((ranges.collect(), due));
        };
        let ranges = ledger.lay(0, parts).await?;
        Ok((ranges, due))
    }

    /// What the run had done before it was resumed.
    async fn report_earlier(&mut self, ranges: &[Range]) -> Result<(), Error> {
        let Some(ledger) = self.work.book.ledger().filter(|_| !ranges.is_empty()) else {
            return Ok(());
        };
        let (mut counts, mut tally) = (RunCounts::default(), Tally::default());
        for range in ranges {
            counts.add(&range.row.counts);
            tally.add(&range.row.tally);
        }
        self.report.count(&counts);
        let run = ledger.run();
        let failures =
            crate::run::history::failures(&self.work.store, run, &[], None, None, KEPT).await?;
        for failure in failures {
            self.report.fail(failure.error);
        }
        let failed = usize::try_from(counts.failed).unwrap_or(usize::MAX);
        self.report.error_count = self.report.error_count.max(failed);
        self.meter = Meter::new(run, false, counts);
        self.meter.count(&tally);
        Ok(())
    }

    /// Adds the processes that were migrated as they were opened meanwhile.
    async fn report_lazy(&mut self) {
        let Some(ledger) = self.work.book.ledger() else {
            return;
        };
        match ledger.lazy_counts().await {
            Ok(counts) => {
                self.report.count(&counts);
                self.meter.add(&counts, &Tally::default());
            }
            Err(error) => self.report.warn(
                StreamId::literal("(run)"),
                format!("how many processes were migrated as they were opened could not be read: {error}"),
            ),
        }
    }

    /// Records and publishes the state of the run.
    async fn publish(&mut self, state: RunState) -> Result<(), Error> {
        if let Some(ledger) = self.work.book.ledger() {
            ledger.set_state(state).await?;
        }
        self.run.control.publish(self.meter.state(state));
        Ok(())
    }

    /// The processes at a version that no route starts from; `false` when the
    /// run was cancelled before.
    async fn report_strays(
        &mut self,
        version: &WorkflowId,
        range: &mut Range,
    ) -> Result<bool, Error> {
        let source = Source::Index([version.clone()].into());
        let selection = self.work.selection.clone();
        let store = self.work.store.clone();
        let run = self.work.failed_before();
        let mut due = scan::Due::new(store, &source, range.row.rest(), selection, run);
        loop {
            if self.run.control.is_cancelled() {
                return Ok(false);
            }
            let page = due.peek(self.work.chunk_processes).await?;
            let (left_alone, up_to) = due.up_to(page.len());
            let skips = self.work.counted(left_alone);
            let outcome = || Outcome {
                failed: page
                    .iter()
                    .map(|Candidate { stream, at }| Failed {
                        error: plan::no_route(&self.run.migrations, stream.clone(), version),
                        at: at.clone(),
                    })
                    .collect(),
                up_to: up_to.clone(),
                at_end: page.is_empty(),
                ..skips.outcome()
            };
            let done = commit::without_reading(&self.work, outcome, range).await?;
            due.done(page.len());
            self.add(done).await;
            if page.is_empty() {
                return Ok(true);
            }
        }
    }

    /// Counts what is durable.
    async fn add(&mut self, done: Done) -> u64 {
        self.run.observer.done(&done);
        let Done {
            moved,
            failed,
            counts,
            tally,
        } = done;
        self.report.count(&counts);
        self.visited += counts.processes();
        for failed in failed {
            self.report.fail(failed.error);
        }
        let progress = self.meter.add(&counts, &tally);
        self.run.observer.progress(&progress);
        self.run.control.publish(progress);
        if let Some(registry) = self.elsewhere.filter(|_| !self.run.dry) {
            registry_update::tell(&self.work.store, registry, &moved, &mut self.report).await;
        }
        counts.migrated + counts.failed + counts.skipped_by.finished as u64
    }

    fn workers(&self) -> usize {
        // The first so many are those of one worker that goes through all in order.
        match self.work.selection.limit() {
            Some(_) => 1,
            None => lanes::MOST,
        }
    }

    /// Goes over ranges, with several workers, after so many processes.
    async fn pass(&mut self, source: &Source, ranges: Vec<Range>, so_far: u64) -> Passed {
        let mut passed = Passed::default();
        if ranges.is_empty() {
            return passed;
        }
        let workers = self.workers().min(ranges.len());
        let queue = Arc::new(Mutex::new(VecDeque::from(ranges)));
        let (sender, told) = mpsc::channel(WAITING);
        let mut tasks = JoinSet::new();
        let limit = self.work.selection.limit();
        let so_far = usize::try_from(so_far).unwrap_or(usize::MAX);
        for _ in 0..workers {
            let worker = Worker {
                work: self.work.clone(),
                source: source.clone(),
                left: limit.map(|limit| limit.saturating_sub(so_far)),
                sender: sender.clone(),
                waiting: Vec::new(),
                hand: None,
            };
            tasks.spawn(self.run.observer.during(worker.run(queue.clone())));
        }
        drop(sender);
        self.listen(told, &mut passed).await;
        while let Some(ended) = tasks.join_next().await {
            match ended {
                Ok(done) => passed.ranges.extend(done),
                Err(error) => {
                    passed.broken = true;
                    self.report
                        .fail(worker_failed(&format!("a worker ended early: {error}")));
                }
            }
        }
        passed.cancelled = self.run.control.is_cancelled();
        passed
    }

    /// Listens to the workers, and to the handle that pauses them.
    async fn listen(&mut self, mut told: mpsc::Receiver<Told>, passed: &mut Passed) {
        let mut changes = self.run.control.changes();
        let mut hands = self.work.at_work.changes();
        loop {
            // What was in hand is told by the time when no hand holds it.
            let state = self.run.control.state(&self.work.at_work);
            if let Some(state) = state
                && !self.meter.is(state)
                && told.is_empty()
            {
                self.note(state).await;
            }
            let next = {
                let (change, rest) = (pin!(changes.next()), pin!(hands.changed()));
                let changed = select(change, rest);
                match select(pin!(told.recv()), changed).await {
                    Either::Left((told, _)) => Some(told),
                    Either::Right(_) => None,
                }
            };
            match next {
                Some(None) => return,
                Some(Some(Told::Done(done))) => passed.decided += self.add(done).await,
                Some(Some(Told::Broken(error))) => {
                    self.run.observer.broken(&error);
                    passed.broken = true;
                    self.report.fail(error);
                }
                None => {}
            }
        }
    }

    /// Records that the run was paused, or goes on.
    async fn note(&mut self, state: RunState) {
        self.run.observer.state(state);
        if let Err(error) = self.publish(state).await {
            // The workers run into the same, and end.
            self.report.warn(
                StreamId::literal("(run)"),
                format!("that the run is {state} could not be recorded: {error}"),
            );
        }
    }

    /// Goes over old versions until nothing undecided stands there: processes
    /// may be born at an old version behind the run. From those of `left_since`
    /// all have left that were there before so many had arrived.
    async fn sweep(
        &mut self,
        source: &Source,
        mut ranges: Vec<Range>,
        mut left_since: BTreeMap<WorkflowId, u64>,
        passed: &mut Passed,
    ) -> Result<(), Error> {
        if matches!(source, Source::Failures { .. }) || self.work.selection.limit().is_some() {
            return Ok(());
        }
        for _ in 0..SWEEPS {
            let present = plan::present(self.run, &self.work.store).await?;
            if !self.sweep_strays(present.strays).await? {
                passed.cancelled = true;
                return Ok(());
            }
            let mut left = Vec::new();
            for version in present.sources {
                let since = left_since.remove(&version);
                if !self.work.store.retire(&version, since).await? {
                    left.push(version);
                }
            }
            if left.is_empty() {
                return Ok(());
            }
            if ranges.is_empty()
                && let Some(ledger) = self.work.book.ledger().cloned()
            {
                let parts = self.work.selection.within(&[StreamRange::default()]);
                let first = u32::try_from(ledger.ranges().await?.len()).unwrap_or(u32::MAX);
                let parts = parts.into_iter().map(|range| (Part::Sweep, range));
                ranges = ledger.lay(first, parts.collect()).await?;
            }
            for range in &mut ranges {
                range.row.at = None;
                range.row.done = false;
            }
            self.work.sweeps = true;
            let swept = self.pass(&Source::Index(left.into()), ranges, 0).await;
            self.work.sweeps = false;
            passed.broken |= swept.broken;
            passed.cancelled |= swept.cancelled;
            if swept.decided == 0 || passed.broken || passed.cancelled {
                return Ok(());
            }
            ranges = swept.ranges;
        }
        self.report.fail(MigrationError {
            stream_id: StreamId::literal("(versions)"),
            stage: Stage::Planning,
            class: FailureClass::Run,
            sequence: None,
            message: format!(
                "processes are still born at an old version after {SWEEPS} sweeps; stop the programs that make them and resume the run"
            ),
        });
        passed.broken = true;
        Ok(())
    }

    /// Processes born during the run at versions that no route starts from;
    /// `false` when the run was cancelled before.
    async fn sweep_strays(&mut self, versions: Vec<WorkflowId>) -> Result<bool, Error> {
        let Some(ledger) = self.work.book.ledger().cloned() else {
            return Ok(true);
        };
        self.work.sweeps = true;
        for version in versions {
            let source = Source::Index([version.clone()].into());
            let (store, selection) = (self.work.store.clone(), self.work.selection.clone());
            let all = StreamRange::default();
            let run = self.work.failed_before();
            let mut due = scan::Due::new(store, &source, all.clone(), selection, run);
            if due.peek(1).await?.is_empty() {
                continue;
            }
            let first = u32::try_from(ledger.ranges().await?.len()).unwrap_or(u32::MAX);
            let part = (Part::Strays(version.clone()), all);
            for range in &mut ledger.lay(first, vec![part]).await? {
                if !self.report_strays(&version, range).await? {
                    self.work.sweeps = false;
                    return Ok(false);
                }
            }
        }
        self.work.sweeps = false;
        Ok(true)
    }
}

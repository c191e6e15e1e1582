//! The form with one store: chunks of processes, each read and committed in
//! one serializable transaction, by several workers at once.

use std::collections::{BTreeMap, VecDeque};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::{Either, select};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::error::{Error, ErrorKind};
use crate::id::{RunId, StreamId, WorkflowId};
use crate::process_registry::ProcessRegistry;
use crate::registry::{MigrationRegistry, Route, Standing};
use crate::run::lazy::LazyBook;
use crate::run::ledger::{Ledger, Range};
use crate::run::rows::Part;
use crate::run::{RunCounts, RunKind, RunState};
use crate::runner::code::{Code, NoAnswer, Watch, never_returned};
use crate::runner::commit::{Done, Failed, Outcome};
use crate::runner::control::{Go, Meter, RunControl};
use crate::runner::report::{
    CommitForm, FailureClass, KEPT, MigrationError, MigrationReport, SkippedBy, Stage, Visited,
};
use crate::runner::scan::{Candidate, Source};
use crate::runner::{Run, commit, convert, decode_back, fold, large, plan, registry_update, scan};
use crate::selection::Selection;
use crate::store::{StreamRange, TransactionalStore};

/// How often one process is tried while others write to it.
pub(super) const ATTEMPTS: usize = 16;

/// Into how many ranges a version's processes are split, for each worker.
const RANGES_PER_WORKER: usize = 8;

/// How many chunks may wait to be reported.
const WAITING: usize = 16;

/// How often old versions are swept while processes are still born there.
const SWEEPS: usize = 100;

pub(super) type Store = Arc<dyn TransactionalStore>;

/// What every worker needs.
#[derive(Clone)]
pub(super) struct Work {
    pub(super) store: Store,
    /// The routes, by where they start.
    pub(super) routes: Arc<BTreeMap<WorkflowId, Route>>,
    pub(super) migrations: Arc<MigrationRegistry>,
    pub(super) run: RunId,
    pub(super) selection: Arc<Selection>,
    /// Whether a process registry elsewhere is to be told.
    pub(super) remember: bool,
    /// Whether user code is to run twice on every process.
    pub(super) twice: bool,
    /// Whether this goes over what a run has left behind.
    pub(super) sweeps: bool,
    /// Whether all streams are counted apart from this.
    pub(super) full_count: bool,
    pub(super) code: Code,
    pub(super) control: RunControl,
    pub(super) chunk_processes: usize,
    /// Whether the new states are to be read back, as far as that can be done.
    pub(super) read_back: Option<Arc<decode_back::Unchecked>>,
    pub(super) book: Book,
}

/// Where it is recorded what was done.
#[derive(Clone)]
pub(super) enum Book {
    /// Nowhere: nothing is to be written at all.
    DryRun,
    /// In a run.
    Run(Arc<Ledger>),
    /// Beside or without a run, process by process.
    Lazy(Arc<LazyBook>),
}

impl Book {
    pub(super) fn is_dry(&self) -> bool {
        matches!(self, Self::DryRun)
    }

    fn ledger(&self) -> Option<&Arc<Ledger>> {
        match self {
            Self::Run(ledger) => Some(ledger),
            Self::DryRun | Self::Lazy(_) => None,
        }
    }
}

impl Work {
    pub(super) fn new(run: &Run, store: Store) -> Self {
        let routes = run
            .migrations
            .routes()
            .filter(|route| run.selection.selects_workflow(route.source().name()))
            .map(|route| (route.source().clone(), route))
            .collect();
        Self {
            store,
            routes: Arc::new(routes),
            migrations: run.migrations.clone(),
            run: run.id,
            selection: run.selection.clone(),
            remember: false,
            twice: run.twice || run.dry,
            sweeps: false,
            full_count: run.full_count,
            code: Code::new(run.deadline),
            control: run.control.clone(),
            chunk_processes: run.chunk_processes.clamp(1, scan::CHUNK_PROCESSES),
            read_back: run.dry.then(|| run.unchecked.clone()),
            book: Book::DryRun,
        }
    }

    /// What is to be counted of those that were left alone.
    fn counted(&self, left_alone: SkippedBy) -> SkippedBy {
        if self.sweeps {
            // A sweep comes by those that the run has counted already.
            return SkippedBy::default();
        }
        let mut counted = left_alone;
        if self.full_count {
            // So does a run that looks at every stream before.
            counted.not_selected = 0;
        }
        counted
    }

    /// What is to be said of a process that no route of this run is for: it
    /// moved since it was found, or failed in an earlier run for that.
    pub(super) fn without_route(
        &self,
        stream: &StreamId,
        version: &WorkflowId,
    ) -> Result<SkippedBy, MigrationError> {
        let mut skipped = SkippedBy::default();
        match self.migrations.standing(version) {
            Standing::Newest => skipped.already_there = 1,
            Standing::OtherWorkflow => skipped.other_workflow = 1,
            Standing::Behind(_) => skipped.not_selected = 1,
            Standing::NoRoute => {
                return Err(plan::no_route(&self.migrations, stream.clone(), version));
            }
        }
        Ok(skipped)
    }

    /// The run whose failures are not to be come back to: its own, where it
    /// may come by them again.
    fn failed_before(&self) -> Option<RunId> {
        let ledger = self.book.ledger()?;
        (self.sweeps || ledger.record().executions > 1).then_some(self.run)
    }
}

/// What a worker tells.
enum Told {
    Done(Done),
    /// It could not go on; what it leaves is left for another execution.
    Broken(MigrationError),
}

/// How a pass over ranges ended.
#[derive(Default)]
struct Passed {
    broken: bool,
    cancelled: bool,
    ranges: Vec<Range>,
    /// How many processes were migrated, failed, or found to be over.
    decided: u64,
}

/// One execution, as the main task sees it.
struct Execution<'a> {
    run: &'a Run,
    work: Work,
    elsewhere: Option<&'a dyn ProcessRegistry>,
    report: MigrationReport,
    meter: Meter,
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
    let mut work = Work::new(run, store);
    work.remember = elsewhere.is_some();
    work.book = ledger.clone().map_or(Book::DryRun, Book::Run);
    let mut execution = Execution {
        run,
        work,
        elsewhere,
        report,
        meter: Meter::new(run.id, RunCounts::default()),
    };
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
        let mut unread = Vec::new();
        if run.full_count && is_new {
            unread = plan::count_all(run, &store, self.elsewhere, &mut self.report).await?;
        }
        let present = plan::present(run, &store).await?;
        let source = self.source(&present.sources);
        let mut due = None;
        if is_new {
            (ranges, due) = self.lay(&source, &present).await?;
        }
        for range in &mut ranges {
            if let (Part::Strays(version), false) = (range.row.part.clone(), range.row.done) {
                self.report_strays(&version, range).await?;
            }
        }
        let (main, sweeps): (Vec<Range>, Vec<Range>) = ranges
            .into_iter()
            .filter(|range| matches!(range.row.part, Part::Migrate | Part::Sweep))
            .partition(|range| range.row.part == Part::Migrate);
        // Processes that no route is for are not among the first so many.
        let counts = main.iter().map(|range| range.row.counts);
        let so_far = counts.map(|counts| counts.migrated + counts.failed).sum();
        let more = self.more(&source, &present, &main, due, so_far).await?;
        self.meter.expect(more);
        let left: Vec<Range> = main.into_iter().filter(|range| !range.row.done).collect();
        *passed = self.pass(&source, left, so_far).await;
        if !passed.broken && !passed.cancelled && !run.dry {
            self.sweep(&source, sweeps, passed).await?;
        }
        self.report_unread(unread).await
    }

    /// What a full count could not read, and the index did not lead to.
    async fn report_unread(&mut self, unread: Vec<MigrationError>) -> Result<(), Error> {
        let ledger = self.work.book.ledger().cloned();
        let Some(ledger) = ledger.filter(|_| !unread.is_empty()) else {
            for error in unread {
                if !self.report.errors.contains(&error) {
                    self.report.fail(error);
                }
            }
            return Ok(());
        };
        let first = u32::try_from(ledger.ranges().await?.len()).unwrap_or(u32::MAX);
        let part = (Part::Count, StreamRange::default());
        for range in &mut ledger.lay(first, vec![part]).await? {
            for error in &unread {
                if !ledger.has_failed(&error.stream_id).await? {
                    let done = commit::failure(&self.work, error.clone(), None, range).await?;
                    self.add(done).await;
                }
            }
            let done = || Outcome {
                at_end: true,
                ..Outcome::default()
            };
            commit::without_reading(&self.work, done, range).await?;
        }
        Ok(())
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

    /// About how many processes are still to come; `None` when that is not
    /// known. `due` is how many stand at the old versions, if they were counted.
    async fn more(
        &self,
        source: &Source,
        present: &plan::Present,
        main: &[Range],
        due: Option<u64>,
        so_far: u64,
    ) -> Result<Option<u64>, Error> {
        let selection = &self.work.selection;
        let left_out = selection.is_bounded() || self.run.full_count && selection.is_partial();
        let limit = selection
            .limit()
            .map(|limit| (limit as u64).saturating_sub(so_far));
        let all = match (source, due) {
            (Source::Failures { of, classes }, _) => {
                count_failures(&self.work.store, *of, classes).await?
            }
            (Source::Index(_), _) if left_out => return Ok(limit),
            (Source::Index(_), Some(due)) => due,
            (Source::Index(_), None) => {
                let store = &self.work.store;
                store.split(&present.sources, 1, 1).await?.processes
            }
        };
        // Those of them that were looked at, and are there still.
        let counts = main.iter().map(|range| range.row.counts);
        let stay = |counts: RunCounts| counts.processes() - counts.migrated;
        let gone = |counts: RunCounts| match source {
            Source::Failures { .. } => counts.processes(),
            Source::Index(_) => stay(counts),
        };
        let more = all.saturating_sub(counts.map(gone).sum());
        Ok(Some(limit.map_or(more, |limit| more.min(limit))))
    }

    /// Cuts the run into ranges; also returns how many processes are due, if
    /// that came to light.
    async fn lay(
        &mut self,
        source: &Source,
        present: &plan::Present,
    ) -> Result<(Vec<Range>, Option<u64>), Error> {
        let (mut parts, mut due) = (Vec::new(), None);
        if matches!(source, Source::Index(_)) {
            for version in &present.strays {
                parts.push((Part::Strays(version.clone()), StreamRange::default()));
            }
        }
        if !present.sources.is_empty() {
            let pieces = self.workers() * RANGES_PER_WORKER;
            let split = self
                .work
                .store
                .split(&present.sources, pieces, self.work.chunk_processes)
                .await?;
            due = Some(split.processes);
            let ranges = self.work.selection.within(&split.ranges);
            parts.extend(ranges.into_iter().map(|range| (Part::Migrate, range)));
        } else if matches!(source, Source::Failures { .. }) {
            parts.push((Part::Migrate, StreamRange::default()));
        }
        if parts.is_empty() {
            return Ok((Vec::new(), due));
        }
        if self.run.full_count {
            // What was counted before, so that a resumed run need not again.
            parts.push((Part::Count, StreamRange::default()));
        }
        let Some(ledger) = self.work.book.ledger() else {
            let ranges = parts.into_iter().map(|(part, range)| {
                let mut range = Range::of(range);
                range.row.part = part;
                range
            });
            return Ok((ranges.collect(), due));
        };
        let mut ranges = ledger.lay(0, parts).await?;
        for range in ranges.iter_mut().filter(|r| r.row.part == Part::Count) {
            let skipped_by = self.report.skipped_by;
            let outcome = || Outcome {
                counts: RunCounts {
                    skipped_by,
                    ..RunCounts::default()
                },
                at_end: true,
                ..Outcome::default()
            };
            let done = commit::without_reading(&self.work, outcome, range).await?;
            self.run.control.publish(self.meter.add(&done.counts));
        }
        Ok((ranges, due))
    }

    /// What the run had done before it was resumed.
    async fn report_earlier(&mut self, ranges: &[Range]) -> Result<(), Error> {
        let Some(ledger) = self.work.book.ledger().filter(|_| !ranges.is_empty()) else {
            return Ok(());
        };
        let mut counts = RunCounts::default();
        for range in ranges {
            counts.add(&range.row.counts);
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
        self.meter = Meter::new(run, counts);
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
                self.meter.add(&counts);
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

    /// The processes at a version that no route starts from.
    async fn report_strays(
        &mut self,
        version: &WorkflowId,
        range: &mut Range,
    ) -> Result<(), Error> {
        let source = Source::Index([version.clone()].into());
        let selection = self.work.selection.clone();
        let store = self.work.store.clone();
        let mut due = scan::Due::new(store, &source, range.row.rest(), selection, None);
        loop {
            let page = due.peek(self.work.chunk_processes).await?;
            let (skipped_by, up_to) = due.up_to(page.len());
            let skipped_by = self.work.counted(skipped_by);
            let outcome = || Outcome {
                failed: page
                    .iter()
                    .map(|Candidate { stream, at }| Failed {
                        error: plan::no_route(&self.run.migrations, stream.clone(), version),
                        at: at.clone(),
                    })
                    .collect(),
                counts: RunCounts {
                    skipped_by,
                    ..RunCounts::default()
                },
                up_to: up_to.clone(),
                at_end: page.is_empty(),
                ..Outcome::default()
            };
            let done = commit::without_reading(&self.work, outcome, range).await?;
            due.done(page.len());
            self.add(done).await;
            if page.is_empty() {
                return Ok(());
            }
        }
    }

    /// Counts what is durable.
    async fn add(&mut self, done: Done) -> u64 {
        let Done {
            moved,
            failed,
            counts,
        } = done;
        self.report.count(&counts);
        for error in failed {
            self.report.fail(error);
        }
        self.run.control.publish(self.meter.add(&counts));
        if let Some(registry) = self.elsewhere.filter(|_| !self.run.dry) {
            registry_update::tell(&self.work.store, registry, &moved, &mut self.report).await;
        }
        counts.migrated + counts.failed + counts.skipped_by.finished as u64
    }

    fn workers(&self) -> usize {
        // The first so many are those of one worker that goes through all in order.
        match self.work.selection.limit() {
            Some(_) => 1,
            None => std::thread::available_parallelism().map_or(2, |cores| cores.get() * 2),
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
            };
            tasks.spawn(worker.run(queue.clone()));
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
        if self.run.control.is_paused() {
            self.note(RunState::Paused).await;
        }
        loop {
            let next = {
                let (told, changed) = (pin!(told.recv()), pin!(changes.paused()));
                match select(told, changed).await {
                    Either::Left((told, _)) => Either::Left(told),
                    Either::Right((paused, _)) => Either::Right(paused),
                }
            };
            match next {
                Either::Left(None) => return,
                Either::Left(Some(Told::Done(done))) => passed.decided += self.add(done).await,
                Either::Left(Some(Told::Broken(error))) => {
                    passed.broken = true;
                    self.report.fail(error);
                }
                Either::Right(paused) => {
                    let state = if paused {
                        RunState::Paused
                    } else {
                        RunState::Running
                    };
                    self.note(state).await;
                }
            }
        }
    }

    /// Records that the run was paused, or goes on.
    async fn note(&mut self, state: RunState) {
        if let Err(error) = self.publish(state).await {
            // The workers run into the same, and end.
            self.report.warn(
                StreamId::literal("(run)"),
                format!("that the run is {state} could not be recorded: {error}"),
            );
        }
    }

    /// Goes over old versions until nothing undecided stands there: processes
    /// may be born at an old version behind the run.
    async fn sweep(
        &mut self,
        source: &Source,
        mut ranges: Vec<Range>,
        passed: &mut Passed,
    ) -> Result<(), Error> {
        if matches!(source, Source::Failures { .. }) || self.work.selection.limit().is_some() {
            return Ok(());
        }
        for _ in 0..SWEEPS {
            let present = plan::present(self.run, &self.work.store).await?;
            let mut left = Vec::new();
            for version in present.sources {
                if !self.work.store.retire(&version).await? {
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
                "processes are still born at an old version after {SWEEPS} sweeps; stop the programs that make them and run again"
            ),
        });
        Ok(())
    }
}

/// How many processes failed in a run; of some classes only, if any are named.
async fn count_failures(store: &Store, run: RunId, classes: &[FailureClass]) -> Result<u64, Error> {
    let (mut count, mut after) = (0, None);
    loop {
        let found =
            crate::run::history::failures(store, run, classes, after.as_ref(), None, KEPT).await?;
        count += found.len() as u64;
        if found.len() < KEPT {
            return Ok(count);
        }
        after = found.into_iter().next_back().map(|f| f.error.stream_id);
    }
}

fn worker_failed(message: &str) -> MigrationError {
    MigrationError {
        stream_id: StreamId::literal("(worker)"),
        stage: Stage::Committing,
        class: FailureClass::Unavailable,
        sequence: None,
        message: message.to_owned(),
    }
}

/// One of several that take ranges from a queue.
struct Worker {
    work: Work,
    source: Source,
    /// How many more processes the run may look at.
    left: Option<usize>,
    sender: mpsc::Sender<Told>,
}

/// Why a worker goes no further in a range.
enum Stop {
    /// The run was cancelled, or nobody listens any more.
    Ended,
    /// Something failed that is not one process's.
    Broken {
        from: Option<StreamId>,
        error: Error,
    },
}

impl Worker {
    async fn run(mut self, queue: Arc<Mutex<VecDeque<Range>>>) -> Vec<Range> {
        let mut ended = Vec::new();
        loop {
            let next = queue
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .pop_front();
            let Some(mut range) = next else { break };
            let stop = self.migrate_range(&mut range).await;
            ended.push(range);
            match stop {
                Ok(()) => {}
                Err(Stop::Ended) => break,
                Err(Stop::Broken { from, error }) => {
                    let from = from.map_or_else(String::new, |stream| format!(" from {stream} on"));
                    let mut failure = worker_failed(&format!(
                        "a range of processes{from} was not looked at; resume the run, or run again: {error}"
                    ));
                    failure.class = FailureClass::of(&error);
                    let gone = self.sender.send(Told::Broken(failure)).await.is_err();
                    // Nothing that comes after would be written either.
                    let lost =
                        matches!(error.kind(), ErrorKind::Claimed { .. } | ErrorKind::Fenced);
                    if gone || lost {
                        break;
                    }
                }
            }
        }
        ended
    }

    /// Migrates a range, chunk by chunk.
    async fn migrate_range(&mut self, range: &mut Range) -> Result<(), Stop> {
        let mut due = scan::Due::new(
            self.work.store.clone(),
            &self.source,
            range.row.rest(),
            self.work.selection.clone(),
            self.work.failed_before(),
        );
        let mut size = self.work.chunk_processes;
        let mut conflicts = 0;
        loop {
            let broken = |from: Option<&StreamId>, error| Stop::Broken {
                from: from.cloned(),
                error,
            };
            let limit = size
                .min(self.work.control.chunk_limit())
                .min(self.left.unwrap_or(usize::MAX));
            let streams = due.peek(limit).await.map_err(|e| broken(None, e))?;
            let Some(first) = streams.first().cloned() else {
                let done = self.end_range(&due, range).await;
                return self.tell(done.map_err(|e| broken(None, e))?).await;
            };
            match self.work.control.may_go_on(streams.len()).await {
                // A dry run keeps no place to go on from.
                Go::On => {}
                Go::OnAfterAPause if self.work.book.is_dry() => {}
                Go::OnAfterAPause => {
                    // An operator may have decided about them meanwhile.
                    due = scan::Due::new(
                        self.work.store.clone(),
                        &self.source,
                        range.row.rest(),
                        self.work.selection.clone(),
                        Some(self.work.run),
                    );
                    continue;
                }
                Go::Nowhere => return Err(Stop::Ended),
            }
            let alone = streams.len() == 1;
            match self.work.migrate_chunk(&due, streams, range).await {
                Ok(Chunked::Committed {
                    done,
                    covered,
                    large,
                }) => {
                    due.done(covered);
                    conflicts = 0;
                    // What was read beyond a large one was read in vain; more of
                    // them may follow.
                    size = if large { 1 } else { size * 2 };
                    size = size.min(self.work.chunk_processes);
                    self.tell(done).await?;
                }
                Ok(Chunked::Stuck(stream)) => {
                    let at = due.version_of(&stream);
                    let done = self
                        .fail(never_returned(stream.clone()), at, range)
                        .await
                        .map_err(|e| broken(Some(&stream), e))?;
                    due.remove(&stream);
                    self.tell(done).await?;
                }
                Err(error) if error.is_conflict() && alone && conflicts >= ATTEMPTS => {
                    let done = self
                        .fail(commit::busy(&first.stream, ATTEMPTS), first.at, range)
                        .await
                        .map_err(|e| broken(Some(&first.stream), e))?;
                    due.remove(&first.stream);
                    conflicts = 0;
                    self.tell(done).await?;
                }
                Err(error) if error.is_conflict() => {
                    if alone {
                        conflicts += 1;
                        // Let the other writer finish; it has right of way.
                        tokio::time::sleep(Duration::from_millis(1 << conflicts.min(6))).await;
                    }
                    size = (size / 2).max(1);
                }
                Err(error) => return Err(broken(Some(&first.stream), error)),
            }
        }
    }

    /// Passes on what was done, and counts it against the limit.
    async fn tell(&mut self, done: Done) -> Result<(), Stop> {
        if let Some(left) = &mut self.left {
            *left = left.saturating_sub(done.moved.len() + done.failed.len());
        }
        // The receiver is gone only when the run itself is.
        let sent = self.sender.send(Told::Done(done)).await;
        sent.map_err(|_| Stop::Ended)
    }

    async fn fail(
        &self,
        error: MigrationError,
        at: Option<WorkflowId>,
        range: &mut Range,
    ) -> Result<Done, Error> {
        commit::failure(&self.work, error, at, range).await
    }

    /// Commits that a range has come to its end.
    async fn end_range(&self, due: &scan::Due, range: &mut Range) -> Result<Done, Error> {
        let (skipped_by, up_to) = due.up_to(0);
        let outcome = || Outcome {
            counts: RunCounts {
                skipped_by: self.work.counted(skipped_by),
                ..RunCounts::default()
            },
            up_to: up_to.clone(),
            at_end: true,
            ..Outcome::default()
        };
        commit::without_reading(&self.work, outcome, range).await
    }
}

impl Work {
    /// Migrates one chunk.
    pub(super) async fn migrate_chunk(
        &self,
        due: &scan::Due,
        candidates: Vec<Candidate>,
        range: &mut Range,
    ) -> Result<Chunked, Error> {
        let work = self;
        let mut streams: Vec<StreamId> = candidates.into_iter().map(|c| c.stream).collect();
        let all = streams.len();
        // One that is too large is no part of a chunk: whoever writes to it
        // would be in the way of the others, and of itself.
        let scanned = loop {
            let scanned = scan::chunk(&work.store, streams.clone(), None).await?;
            let Some(large) = scanned.too_large.first().cloned() else {
                break scanned;
            };
            drop(scanned);
            match streams.iter().position(|stream| *stream == large) {
                None | Some(0) => return self.migrate_large(due, large, range).await,
                Some(before) => streams.truncate(before),
            }
        };
        let before_large = streams.len() < all;
        let scan::ScannedChunk {
            chunk,
            processes,
            too_large: _,
            failed,
            covered,
        } = scanned;
        let mut outcome = Outcome::default();
        let at = |stream: &StreamId| due.version_of(stream);
        for error in failed {
            let at = at(&error.stream_id);
            outcome.failed.push(Failed { error, at });
        }
        for process in &processes {
            let bytes = process
                .events
                .iter()
                .map(|event| event.payload.len() as u64);
            outcome.counts.bytes += bytes.sum::<u64>();
        }
        let inner = work.clone();
        let worked = work
            .code
            .run(move |watch| fold_and_convert_all(&inner, processes, watch))
            .await;
        let worked = match worked {
            Ok(worked) => worked,
            Err(NoAnswer::Stuck(stream)) => return Ok(Chunked::Stuck(stream)),
            Err(NoAnswer::Ended(error)) => return Err(error),
        };
        for process in worked {
            match process {
                Worked::Converted(converted) => outcome.converted.push(*converted),
                Worked::Finished(stream, version) => outcome.finished.push((stream, version)),
                Worked::Elsewhere(skipped) => outcome.counts.skipped_by.add(&skipped),
                Worked::Failed(error, version) => {
                    let at = Some(version);
                    outcome.failed.push(Failed { error, at });
                }
            }
        }
        let (skipped_by, up_to) = due.up_to(covered);
        outcome.counts.skipped_by.add(&work.counted(skipped_by));
        outcome.counts.skipped_by.finished += outcome.finished.len();
        outcome.up_to = up_to;
        let done = commit::chunk(work, chunk, outcome, range).await?;
        Ok(Chunked::Committed {
            done,
            covered,
            large: before_large,
        })
    }

    /// Migrates a process that does not fit into a chunk, the first of those
    /// that are due.
    async fn migrate_large(
        &self,
        due: &scan::Due,
        stream: StreamId,
        range: &mut Range,
    ) -> Result<Chunked, Error> {
        let work = self;
        let (skipped_by, up_to) = due.up_to(1);
        let mut covered = large::Covered {
            skipped_by: work.counted(skipped_by),
            up_to,
        };
        let mut failed = None;
        let over = match large::process(work, &stream, range, &covered).await {
            Ok(large::Large::Done(done)) => Some(done),
            Ok(large::Large::Gone(skipped)) => {
                covered.skipped_by.add(&skipped);
                None
            }
            Err(error) => {
                failed = Some(error);
                None
            }
        };
        let at = due.version_of(&stream);
        let outcome = || Outcome {
            failed: failed
                .iter()
                .map(|error| Failed {
                    error: error.clone(),
                    at: at.clone(),
                })
                .collect(),
            counts: RunCounts {
                skipped_by: covered.skipped_by,
                ..RunCounts::default()
            },
            up_to: covered.up_to.clone(),
            ..Outcome::default()
        };
        let done = match over {
            Some(done) => done,
            None => commit::without_reading(work, outcome, range).await?,
        };
        Ok(Chunked::Committed {
            done,
            covered: 1,
            large: true,
        })
    }
}

/// What became of a chunk.
pub(super) enum Chunked {
    /// It is durable.
    Committed {
        done: Done,
        covered: usize,
        /// Whether a process was met that is too large for a chunk.
        large: bool,
    },
    /// The code for one process does not return; nothing was committed.
    Stuck(StreamId),
}

/// What became of a process in the hands of user code.
enum Worked {
    Converted(Box<convert::Converted>),
    Finished(StreamId, WorkflowId),
    /// No route of the run is for it, and none need be.
    Elsewhere(SkippedBy),
    Failed(MigrationError, WorkflowId),
}

/// The work of user code on a chunk.
fn fold_and_convert_all(work: &Work, processes: Vec<scan::Scanned>, watch: &Watch) -> Vec<Worked> {
    let mut worked = Vec::with_capacity(processes.len());
    for scanned in processes {
        // The index is read before the transaction begins; the head says where
        // the process stands.
        let (stream, version) = (scanned.stream.clone(), scanned.head.workflow_id.clone());
        let Some(route) = work.routes.get(&version) else {
            worked.push(match work.without_route(&stream, &version) {
                Ok(skipped) => Worked::Elsewhere(skipped),
                Err(error) => Worked::Failed(error, version),
            });
            continue;
        };
        let again = work.twice.then(|| scanned.clone());
        let deadline = work.code.deadline();
        let converted = watch
            .over(&stream, deadline, || fold_and_convert(work, route, scanned))
            .and_then(|first| match again {
                Some(again) => watch.over(&stream, deadline, || {
                    twice(&stream, first, fold_and_convert(work, route, again))
                }),
                None => Ok(first),
            })
            .and_then(|first| match (&first, &work.read_back) {
                (Some(converted), Some(unchecked)) => {
                    decode_back::check(route, &stream, &converted.state, unchecked).map(|()| first)
                }
                _ => Ok(first),
            });
        worked.push(match converted {
            Ok(Some(converted)) => Worked::Converted(Box::new(converted)),
            Ok(None) => Worked::Finished(stream, version),
            Err(error) => Worked::Failed(error, version),
        });
    }
    worked
}

/// Checks that user code did the same twice.
pub(super) fn twice(
    stream: &StreamId,
    first: Option<convert::Converted>,
    second: Result<Option<convert::Converted>, MigrationError>,
) -> Result<Option<convert::Converted>, MigrationError> {
    match (&first, &second) {
        (Some(first), Ok(Some(second))) => convert::same(first, second)?,
        (None, Ok(None)) => {}
        (_, Err(error)) => {
            let what = format!("a state and then an error ({})", error.message);
            return Err(convert::differently(stream, &what));
        }
        _ => {
            return Err(convert::differently(
                stream,
                "two answers to whether it is over,",
            ));
        }
    }
    Ok(first)
}

fn fold_and_convert(
    work: &Work,
    route: &Route,
    scanned: scan::Scanned,
) -> Result<Option<convert::Converted>, MigrationError> {
    match fold::process(route, scanned, &work.selection)? {
        Some(folded) => convert::process(route, work.run, folded).map(Some),
        None => Ok(None),
    }
}

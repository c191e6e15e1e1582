//! Spans, events and metrics of a run: the only caller of `tracing` and `metrics`.
//!
//! The main task counts here what is durable. Workers and threads of user code only
//! enter spans, which costs a read of one flag without a listener. The names are in
//! [`telemetry`](crate::telemetry).

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use metrics::{Counter, counter, gauge, histogram};
use state_migration_core::{
    DueProcess, MigrationError, RunId, Selection, SkippedBy, StreamId, WorkflowId,
};
use tracing::field::Empty;
use tracing::{Instrument, Span, debug, debug_span, info, info_span, warn};

use crate::control::Progress;
use crate::report::MigrationReport;
use crate::run::{RunCounts, RunKind, RunState};
use crate::stages::done::Done;
use crate::telemetry::{
    CHUNK_SECONDS, COMMIT_SECONDS, CONFLICTS, DURABLE_SECONDS, PROCESSES_FAILED,
    PROCESSES_MIGRATED, PROCESSES_PER_SECOND, PROCESSES_SKIPPED, READ_BYTES, RUNS_ENDED,
};

const TARGET: &str = "state_migration";

/// Emits the telemetry of one run, or of processes that are migrated when they are
/// opened.
#[derive(Debug, Clone)]
pub(crate) struct Observer(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    span: Span,
    dry: bool,
    conflicts: AtomicU64,
    paused: AtomicBool,
    /// Counters by workflow, created once so that a process costs no allocation.
    migrated: Mutex<Vec<(String, Counter)>>,
}

impl Observer {
    /// The observer of a run that is about to begin.
    pub(crate) fn of(id: RunId, kind: &RunKind, selection: &Selection, dry: bool) -> Self {
        let span = info_span!(
            target: TARGET,
            "run",
            run = %id,
            kind = kind.name(),
            dry_run = dry,
            selection = %selection,
            state = Empty,
            migrated = Empty,
            failed = Empty,
            skipped = Empty,
            conflicts = Empty,
        );
        info!(
            target: TARGET,
            parent: &span,
            run = %id,
            kind = kind.name(),
            dry_run = dry,
            selection = %selection,
            "run began"
        );
        Self::within(span, dry)
    }

    /// The observer of processes migrated when they are opened, or of a run that is
    /// refused.
    pub(crate) fn without_run() -> Self {
        Self::within(Span::none(), false)
    }

    /// The observer of a sample, which counts as little as a dry run and has no span.
    pub(crate) fn of_sample() -> Self {
        Self::within(Span::none(), true)
    }

    fn within(span: Span, dry: bool) -> Self {
        Self(Arc::new(Inner {
            span,
            dry,
            conflicts: AtomicU64::new(0),
            paused: AtomicBool::new(false),
            migrated: Mutex::default(),
        }))
    }

    /// Runs a future inside the span of the run.
    pub(crate) fn during<F: Future>(&self, work: F) -> impl Future<Output = F::Output> + use<F> {
        work.instrument(self.0.span.clone())
    }

    /// Records the end of the run.
    pub(crate) fn ended(&self, report: &MigrationReport) {
        let Inner { span, dry, .. } = &*self.0;
        if report.run.is_none() {
            for error in &report.errors {
                let (class, reason) = (error.class.as_str(), &error.message);
                warn!(target: TARGET, parent: span, class, reason, "run refused");
            }
            return;
        }
        // A run without a record has no state of its own.
        let state = report.state.unwrap_or(match report.is_ok() {
            true => RunState::Done,
            false => RunState::DoneWithErrors,
        });
        let state = name_of(state);
        let conflicts = self.0.conflicts.load(Ordering::Relaxed);
        let (migrated, failed, skipped) = (report.migrated, report.error_count, report.skipped);
        span.record("state", state);
        span.record("migrated", migrated);
        span.record("failed", failed);
        span.record("skipped", skipped);
        span.record("conflicts", conflicts);
        info!(
            target: TARGET, parent: span,
            state, migrated, failed, skipped, conflicts, "run ended"
        );
        if !dry {
            counter!(RUNS_ENDED, "state" => state).increment(1);
            gauge!(PROCESSES_PER_SECOND).set(0.0);
        }
    }

    /// Records that the run was paused or unpaused.
    pub(crate) fn state(&self, state: RunState) {
        let paused = state == RunState::Paused;
        // A run that was paused before it began may report this twice.
        match (self.0.paused.swap(paused, Ordering::Relaxed), paused) {
            (false, true) => info!(target: TARGET, parent: &self.0.span, "run paused"),
            (true, false) => info!(target: TARGET, parent: &self.0.span, "run continues"),
            _ => {}
        }
    }

    /// Updates the rate of the run.
    pub(crate) fn progress(&self, progress: &Progress) {
        if !self.0.dry {
            gauge!(PROCESSES_PER_SECOND).set(progress.per_second);
        }
    }

    /// Counts what is durable, or what would be in a dry run.
    pub(crate) fn done(&self, done: &Done) {
        for failed in &done.failed {
            let at = failed.at.as_ref();
            self.failed(&failed.error, at.map_or("", WorkflowId::name));
        }
        if self.0.dry {
            return;
        }
        for of_one in done.moved.chunk_by(|a, b| a.to.name() == b.to.name()) {
            self.migrated(of_one[0].to.name(), of_one.len() as u64);
        }
        self.counted(&done.counts);
    }

    /// Counts migrated processes of a workflow.
    pub(crate) fn migrated(&self, workflow: &str, processes: u64) {
        if self.0.dry {
            return;
        }
        let known = self.0.migrated.lock();
        let mut known = known.unwrap_or_else(PoisonError::into_inner);
        let counter = match known.iter().position(|(name, _)| name == workflow) {
            Some(at) => &known[at].1,
            None => {
                let label = workflow.to_owned();
                let counter = counter!(PROCESSES_MIGRATED, "workflow" => label.clone());
                known.push((label, counter));
                &known[known.len() - 1].1
            }
        };
        counter.increment(processes);
    }

    /// Counts everything except migrated and failed processes.
    pub(crate) fn counted(&self, counts: &RunCounts) {
        if self.0.dry {
            return;
        }
        if counts.bytes > 0 {
            counter!(READ_BYTES).increment(counts.bytes);
        }
        if counts.skipped_by != SkippedBy::default() {
            for (count, reason) in counts.skipped_by.by_reason() {
                if count > 0 {
                    counter!(PROCESSES_SKIPPED, "reason" => reason).increment(count as u64);
                }
            }
        }
    }

    /// Records a failed process, without the message of the conversion, which may quote
    /// a payload.
    pub(crate) fn failed(&self, error: &MigrationError, workflow: &str) {
        warn!(
            target: TARGET,
            parent: &self.0.span,
            stream = %error.subject,
            stage = %error.stage,
            class = error.class.as_str(),
            sequence = error.sequence,
            "process failed"
        );
        if !self.0.dry {
            let (workflow, class) = (workflow.to_owned(), error.class.as_str());
            counter!(PROCESSES_FAILED, "workflow" => workflow, "class" => class).increment(1);
        }
    }

    /// Records a failure of the store, for which no process is at fault.
    pub(crate) fn broken(&self, error: &MigrationError) {
        let (class, reason) = (error.class.as_str(), &error.message);
        warn!(target: TARGET, parent: &self.0.span, class, reason, "range left");
    }

    /// Records that a process was migrated, or failed, when it was opened.
    pub(crate) fn opened(&self, done: &Done) {
        self.done(done);
        for moved in &done.moved {
            debug!(
                target: TARGET,
                workflow = moved.to.name(),
                "process migrated when it was opened"
            );
        }
    }

    /// Records that processes were changed by other writers and are read again.
    pub(crate) fn conflict(&self, first: &StreamId, processes: usize) {
        self.0.conflicts.fetch_add(1, Ordering::Relaxed);
        debug!(target: TARGET, parent: &self.0.span, first = %first, processes, "conflict");
        counter!(CONFLICTS).increment(1);
    }

    /// Begins a chunk.
    pub(crate) fn chunk(&self, of: &[DueProcess]) -> Chunk {
        let first = of.first();
        let head = first.and_then(|first| first.head.as_ref());
        let workflow = head.map(|head| &head.workflow_id);
        let span = info_span!(
            target: TARGET,
            parent: &self.0.span,
            "chunk",
            workflow = workflow.map(WorkflowId::name),
            first = first.map(|first| first.stream.as_str()),
            processes = of.len(),
            migrated = Empty,
            failed = Empty,
            skipped = Empty,
            bytes = Empty,
            conflicts = Empty,
        );
        Chunk {
            span,
            began: (!self.0.dry).then(Instant::now),
        }
    }

    /// Records how long a commit took.
    pub(crate) fn committed(&self, since: Clock) {
        histogram!(COMMIT_SECONDS).record(since.0.elapsed());
    }

    /// Records how long it took until the commit was durable.
    pub(crate) fn durable(&self, since: Clock) {
        histogram!(DURABLE_SECONDS).record(since.0.elapsed());
    }
}

/// A chunk in progress.
pub(crate) struct Chunk {
    span: Span,
    /// Start of the chunk; `None` in a dry run, which is not measured.
    began: Option<Instant>,
}

impl Chunk {
    /// Runs a future inside the span of the chunk.
    pub(crate) fn during<F: Future>(&self, work: F) -> impl Future<Output = F::Output> + use<F> {
        work.instrument(self.span.clone())
    }

    /// Records the committed chunk.
    pub(crate) fn committed(self, done: &Done) {
        let RunCounts {
            migrated, failed, ..
        } = done.counts;
        self.span.record("migrated", migrated);
        self.span.record("failed", failed);
        let skipped = done.counts.skipped_by.total();
        self.span.record("skipped", skipped);
        self.span.record("bytes", done.counts.bytes);
        self.span.record("conflicts", done.conflicts);
        if let Some(began) = self.began {
            histogram!(CHUNK_SECONDS).record(began.elapsed());
        }
    }

    /// Records that the chunk was read in vain.
    pub(crate) fn conflicted(self) {
        self.span.record("conflicts", 1);
    }
}

/// The start of a measured duration.
pub(crate) struct Clock(Instant);

impl Clock {
    pub(crate) fn now() -> Self {
        Self(Instant::now())
    }
}

/// The current span, to be entered on another thread.
pub(crate) struct CurrentSpan(Span);

impl CurrentSpan {
    pub(crate) fn now() -> Self {
        Self(Span::current())
    }

    pub(crate) fn enter<T>(&self, work: impl FnOnce() -> T) -> T {
        self.0.in_scope(work)
    }
}

/// Runs work on one process inside its span.
pub(crate) fn process<T>(stream: &StreamId, version: &WorkflowId, work: impl FnOnce() -> T) -> T {
    span_of(stream, version).in_scope(work)
}

/// Runs asynchronous work on one process inside its span.
pub(crate) fn process_during<F: Future>(
    stream: &StreamId,
    version: &WorkflowId,
    work: F,
) -> impl Future<Output = F::Output> + use<F> {
    work.instrument(span_of(stream, version))
}

fn span_of(stream: &StreamId, version: &WorkflowId) -> Span {
    debug_span!(
        target: TARGET,
        "process",
        stream = %stream,
        workflow = version.name(),
        from = version.version(),
    )
}

fn name_of(state: RunState) -> &'static str {
    match state {
        RunState::Planned => "planned",
        RunState::Running => "running",
        RunState::Paused => "paused",
        RunState::Cancelled => "cancelled",
        RunState::Done => "done",
        RunState::DoneWithErrors => "done_with_errors",
    }
}

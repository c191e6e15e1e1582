//! A dry run over a sample of the due processes.
//!
//! The workers, the pages and the threads are those of a run, so that what is measured is
//! what a run does, except for its writes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use state_migration_core::{Error, FailureClass, MigrationError, Subject};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout_at;

use crate::chunk::context::ChunkContext;
use crate::control::RunControl;
use crate::drivers::transactional::FEWEST;
use crate::forecast::census::{Census, STRIP};
use crate::forecast::estimate::{Measured, Page, millis};
use crate::limits::concurrency;
use crate::observe::Observer;
use crate::run::run_log::Range;
use crate::run::suspects::{self, Decided};
use crate::run::{RunCounts, Store};
use crate::run_context::RunContext;
use crate::stages::done::Done;
use crate::workers::queue::Queue;
use crate::workers::worker::{Source, Worker, WorkerMessage};

/// Time after which a sample is cancelled, and time for its workers to stop.
const PATIENCE: Duration = Duration::from_secs(4);
const STOPS_WITHIN: Duration = Duration::from_secs(3);

/// Number of pages that wait to be counted.
const WAITING: usize = 16;

/// A dry run over some of the due processes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// Processes that were tried.
    pub processes: u64,
    /// Further processes that a predicate or an earlier failure leaves out.
    pub left_out: u64,
    /// Processes that were chosen; more than were tried if the time was over.
    pub chosen: u64,
    /// How many times user code ran for each process.
    pub conversions: u32,
    pub took_ms: u64,
    pub read_bytes: u64,
    pub failed: u64,
    /// Further processes that were in user code when a program ended. Only a run tries them.
    #[serde(default)]
    pub not_tried: u64,
    /// The error of the program that ended the sample early, and failed no process.
    #[serde(default)]
    pub stopped_by: Option<String>,
    /// The failures by class, most frequent first.
    pub failures: Vec<SampleFailures>,
}

/// The failures of one class in a sample.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SampleFailures {
    pub class: FailureClass,
    pub count: u64,
    /// About how many of all due processes would fail like this.
    pub expected: u64,
    /// The first process that failed, in order of stream ids.
    pub subject: Subject,
    pub message: String,
}

/// Cancels the sample when it is dropped, so that its threads end.
struct CancelOnDrop(RunControl);

impl Sample {
    /// About how many of these processes a run is for, by the share of the sample.
    pub(crate) fn share_of(&self, due: u64) -> u64 {
        match self.left_out {
            0 => due,
            left_out => scaled(due, self.processes, self.processes + left_out),
        }
    }
}

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

/// Tries about `most` of the due processes, within a time limit. Returns `None` if there is
/// none.
pub(crate) async fn take(
    mut run: RunContext,
    store: Store,
    decided: Decided,
    census: &Census,
    most: usize,
) -> Result<Option<(Sample, Measured)>, Error> {
    let (ranges, chosen) = census.sample(most);
    if chosen == 0 {
        return Ok(None);
    }
    let control = RunControl::new();
    let _cancel = CancelOnDrop(control.clone());
    run.control = control.clone();
    run.observer = Observer::of_sample();
    run.dry = true;
    let conversions = 1 + u32::from(run.check_determinism);
    let selection = run.selection.clone();
    let of_run = workers(&run, census.heads);
    let workers = match most {
        // A part of a strip is for one worker, which counts.
        ..STRIP => 1,
        _ => of_run.min(ranges.len()),
    };
    let mut context = ChunkContext::new(&run, run.id, store);
    let in_user_code = suspects::file_of_dry_run(&context.store, &run.migrations)?;
    context.decided = decided;
    let began = Instant::now();
    let until = tokio::time::Instant::now() + PATIENCE;
    let queue = Arc::new(Queue::new(
        ranges.into_iter().map(Range::of).collect(),
        false,
    ));
    let (sender, mut messages) = mpsc::channel(WAITING);
    let mut tasks = JoinSet::new();
    for _ in 0..workers {
        let mut context = context.clone();
        // Its own threads, so that the time in user code is known for each page.
        context.code = run.code();
        context.code.name_processes_in(in_user_code.clone());
        let worker = Worker {
            context,
            source: Source::Heads,
            left: Some(chosen).filter(|_| workers == 1),
            sender: sender.clone(),
            waiting: Vec::new(),
            guard: None,
        };
        tasks.spawn(worker.run(queue.clone()));
    }
    drop(sender);
    let mut tried = Tried::default();
    let stopped = timeout_at(until, tried.listen(&mut messages)).await;
    if stopped.is_err() {
        control.cancel();
        // Code that does not return keeps its thread.
        let _ = timeout_at(until + STOPS_WITHIN, tried.listen(&mut messages)).await;
    }
    let took = began.elapsed();
    let processes = tried.processes();
    let left_out = match stopped.is_ok() && selection.reads_more_than_heads() {
        true => (chosen as u64).saturating_sub(processes + tried.not_tried),
        false => 0,
    };
    let mut sample = Sample {
        processes,
        left_out,
        chosen: processes.max(chosen as u64),
        conversions,
        took_ms: millis(took),
        read_bytes: tried.counts.bytes,
        failed: tried.counts.failed,
        not_tried: tried.not_tried,
        stopped_by: tried.stopped_by.clone(),
        failures: Vec::new(),
    };
    sample.failures = tried.failures(sample.share_of(census.due()));
    let measured = Measured {
        workers: of_run,
        tried: processes,
        read_bytes: tried.counts.bytes,
        // The first page of each worker starts its thread and fills the caches.
        pages: later(tried.pages, workers),
    };
    Ok(Some((sample, measured)))
}

/// The pages after the first one of each worker, if they are enough.
fn later(mut pages: Vec<Page>, workers: usize) -> Vec<Page> {
    if pages.len() >= 3 * workers {
        pages.drain(..workers);
    }
    pages
}

/// Number of workers with which such a run begins.
pub(crate) fn workers(run: &RunContext, heads: u64) -> usize {
    let ranges = usize::try_from(heads).unwrap_or(usize::MAX) / FEWEST;
    match run.selection.limit() {
        // The first N processes are migrated in order.
        Some(_) => 1,
        None => concurrency::first().min(ranges.max(1)),
    }
}

/// What was tried so far.
#[derive(Default)]
struct Tried {
    counts: RunCounts,
    classes: BTreeMap<FailureClass, SampleFailures>,
    not_tried: u64,
    stopped_by: Option<String>,
    pages: Vec<Page>,
}

impl Tried {
    fn processes(&self) -> u64 {
        self.counts.migrated + self.counts.failed + self.counts.skipped_by.finished as u64
    }

    async fn listen(&mut self, messages: &mut mpsc::Receiver<WorkerMessage>) {
        while let Some(message) = messages.recv().await {
            match message {
                WorkerMessage::Done(done) => self.add(*done),
                // An error of the program, after which no process is tried.
                WorkerMessage::Broken(error)
                    if error.class == FailureClass::Run && error.subject.stream().is_none() =>
                {
                    self.stopped_by.get_or_insert(error.message);
                }
                // A page that cannot be read.
                WorkerMessage::Broken(error) => self.fail(error),
            }
        }
    }

    fn add(&mut self, mut done: Done) {
        let before = self.processes();
        self.not_tried += done.take_not_tried().len() as u64;
        self.counts.add(&done.counts);
        let processes = self.processes() - before;
        if processes > 0 {
            self.pages.push(Page {
                processes,
                took: done.took,
                in_code: done.in_code,
            });
        }
        for failed in done.failed {
            self.fail(failed.error);
        }
    }

    fn fail(&mut self, error: MigrationError) {
        let of_class = self.classes.entry(error.class);
        let failures = of_class.or_insert_with(|| SampleFailures {
            class: error.class,
            count: 0,
            expected: 0,
            subject: error.subject.clone(),
            message: error.message.clone(),
        });
        failures.count += 1;
        if is_before(&error.subject, &failures.subject) {
            (failures.subject, failures.message) = (error.subject, error.message);
        }
    }

    fn failures(&mut self, due: u64) -> Vec<SampleFailures> {
        let tried = self.processes();
        let mut failures: Vec<SampleFailures> =
            std::mem::take(&mut self.classes).into_values().collect();
        for of_class in &mut failures {
            of_class.expected = match self.stopped_by {
                // The processes that were tried first are not a sample of all.
                Some(_) => of_class.count,
                None => scaled(of_class.count, due.max(tried), tried),
            };
        }
        failures.sort_by_key(|of_class| std::cmp::Reverse(of_class.count));
        failures
    }
}

fn is_before(one: &Subject, other: &Subject) -> bool {
    match (one.stream(), other.stream()) {
        (Some(one), Some(other)) => one < other,
        _ => false,
    }
}

/// Scales a value measured for `of` processes to `processes`.
pub(crate) fn scaled(value: u64, processes: u64, of: u64) -> u64 {
    let scaled = u128::from(value) * u128::from(processes) / u128::from(of.max(1));
    u64::try_from(scaled).unwrap_or(u64::MAX)
}

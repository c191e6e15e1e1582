//! What is done to a chunk of processes in one store, wherever they come from:
//! read, folded, converted and committed in one transaction.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::error::Error;
use crate::id::{RunId, StreamId, WorkflowId};
use crate::registry::{MigrationRegistry, Standing};
use crate::run::RunCounts;
use crate::run::lazy::LazyBook;
use crate::run::ledger::{Ledger, Range};
use crate::run::tally::Tally;
use crate::runner::at_work::AtWork;
use crate::runner::code::{Code, NoAnswer, Watch};
use crate::runner::commit::{Done, Failed, Outcome};
use crate::runner::control::RunControl;
use crate::runner::lanes::Lanes;
use crate::runner::observe::{self, Observer};
use crate::runner::pace::Pace;
use crate::runner::report::{MigrationError, SkippedBy};
use crate::runner::scan::Candidate;
use crate::runner::{Run, commit, convert, decode_back, fold, large, plan, scan};
use crate::selection::Selection;
use crate::store::TransactionalStore;

/// How often one process is tried while others write to it.
pub(super) const ATTEMPTS: usize = 16;

/// After so many snapshots that cannot be used, a run looks for none any more:
/// they are not what its code writes, and each was read in vain.
const BAD_SNAPSHOTS: usize = 8;

/// How many processes are asked for before it is known how large they are.
const FIRST_CHUNK: usize = 64;

pub(super) type Store = Arc<dyn TransactionalStore>;

/// What every worker needs.
#[derive(Clone)]
pub(super) struct Work {
    pub(super) store: Store,
    /// The routes, by where they start.
    pub(super) routes: Arc<BTreeMap<WorkflowId, Arc<convert::Planned>>>,
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
    pub(super) observer: Observer,
    pub(super) pace: Arc<Pace>,
    pub(super) lanes: Arc<Lanes>,
    pub(super) at_work: AtWork,
    pub(super) chunk_processes: usize,
    pub(super) sizes: Arc<ProcessSizes>,
    /// The versions whose snapshots may be started from.
    pub(super) snapshots: scan::Snapshots,
    pub(super) bad_snapshots: Arc<AtomicUsize>,
    /// Whether the new states are to be read back, as far as that can be done.
    pub(super) read_back: Option<Arc<decode_back::Unchecked>>,
    pub(super) book: Book,
}

/// How many bytes of events a process has of late, so that a chunk asks for no
/// more processes than it can hold.
#[derive(Default)]
pub(super) struct ProcessSizes(AtomicUsize);

impl ProcessSizes {
    /// How many processes a chunk can hold.
    pub(super) fn fit(&self) -> usize {
        match self.0.load(Ordering::Relaxed) {
            0 => FIRST_CHUNK,
            bytes => (scan::CHUNK_BYTES / bytes).max(1),
        }
    }

    /// So many processes had so many bytes.
    fn saw(&self, processes: usize, bytes: u64) {
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        let Some(now) = bytes.checked_div(processes) else {
            return;
        };
        let before = self.0.load(Ordering::Relaxed);
        let next = if before == 0 {
            now
        } else {
            before / 2 + now / 2
        };
        self.0.store(next.max(1), Ordering::Relaxed);
    }
}

/// Processes that were left alone.
#[derive(Clone, Default)]
pub(super) struct Skips {
    pub(super) by: SkippedBy,
    pub(super) tally: Tally,
}

impl Skips {
    pub(super) fn add(&mut self, at: Option<&WorkflowId>, skipped: &SkippedBy) {
        self.by.add(skipped);
        if let Some(at) = at {
            let count = self.tally.of(at.name());
            count.not_selected += skipped.not_selected as u64;
            count.skipped += (skipped.total() - skipped.not_selected) as u64;
        }
    }

    /// What is committed where nothing else is.
    pub(super) fn outcome(&self) -> Outcome {
        Outcome {
            counts: RunCounts {
                skipped_by: self.by,
                ..RunCounts::default()
            },
            tally: self.tally.clone(),
            ..Outcome::default()
        }
    }
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

    pub(super) fn ledger(&self) -> Option<&Arc<Ledger>> {
        match self {
            Self::Run(ledger) => Some(ledger),
            Self::DryRun | Self::Lazy(_) => None,
        }
    }
}

impl Work {
    /// The work of a run, under the id that its migrations are to name.
    pub(super) fn new(run: &Run, id: RunId, store: Store) -> Self {
        let routes: BTreeMap<_, _> = run
            .migrations
            .routes()
            .filter(|route| run.selection.selects_workflow(route.source().name()))
            .map(|route| {
                let source = route.source().clone();
                (source, Arc::new(convert::Planned::new(route, id)))
            })
            .collect();
        let snapshots = routes.iter().map(|(source, planned)| {
            let first = &planned.route.hops()[0];
            (source.clone(), first.source_schema_version)
        });
        Self {
            store,
            snapshots: Arc::new(snapshots.collect()),
            bad_snapshots: Arc::default(),
            routes: Arc::new(routes),
            migrations: run.migrations.clone(),
            run: id,
            selection: run.selection.clone(),
            remember: false,
            twice: run.twice,
            sweeps: false,
            full_count: run.full_count,
            code: Code::new(run.deadline),
            control: run.control.clone(),
            observer: run.observer.clone(),
            pace: Arc::new(Pace::new(run.yields)),
            lanes: Arc::new(Lanes::new()),
            at_work: AtWork::new(),
            chunk_processes: run.chunk_processes.clamp(1, scan::CHUNK_PROCESSES),
            sizes: Arc::default(),
            read_back: (run.dry && run.twice).then(|| run.unchecked.clone()),
            book: Book::DryRun,
        }
    }

    /// What is to be counted of those that were left alone.
    pub(super) fn counted(&self, left_alone: scan::LeftAlone) -> Skips {
        let mut counted = Skips::default();
        if self.sweeps {
            // A sweep comes by those that the run has counted already.
            return counted;
        }
        for (at, mut skipped) in left_alone {
            if self.full_count {
                // So does a run that looks at every stream before.
                skipped.not_selected = 0;
            }
            counted.add(at.as_ref(), &skipped);
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
            Standing::Newest | Standing::Stays => skipped.already_there = 1,
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
    pub(super) fn failed_before(&self) -> Option<RunId> {
        let ledger = self.book.ledger()?;
        let again = self.sweeps || self.full_count || ledger.record().executions > 1;
        again.then_some(self.run)
    }
}

impl Work {
    /// Migrates one chunk, which may be the `last` one of its range.
    pub(super) async fn migrate_chunk(
        &self,
        due: &scan::Due,
        candidates: Vec<Candidate>,
        last: bool,
        range: &mut Range,
    ) -> Result<Chunked, Error> {
        let mut streams: Vec<StreamId> = candidates.into_iter().map(|c| c.stream).collect();
        let all = streams.len();
        let mut snapshots = match self.bad_snapshots.load(Ordering::Relaxed) {
            0..BAD_SNAPSHOTS => self.snapshots.clone(),
            _ => scan::Snapshots::default(),
        };
        loop {
            let chunk = self.migrate_streams(due, &mut streams, all, &snapshots, last, range);
            let BadSnapshot(stream) = match chunk.await? {
                Ok(chunked) => return Ok(chunked),
                Err(bad) => bad,
            };
            self.bad_snapshots.fetch_add(1, Ordering::Relaxed);
            // Those before it first; it itself alone, from its events.
            match streams.iter().position(|at| *at == stream) {
                None | Some(0) => {
                    streams.truncate(1);
                    snapshots = scan::Snapshots::default();
                }
                Some(before) => streams.truncate(before),
            }
        }
    }

    /// Migrates some streams, the first of `all` that were asked for.
    async fn migrate_streams(
        &self,
        due: &scan::Due,
        streams: &mut Vec<StreamId>,
        all: usize,
        snapshots: &scan::Snapshots,
        last: bool,
        range: &mut Range,
    ) -> Result<Result<Chunked, BadSnapshot>, Error> {
        // One that is too large is no part of a chunk: whoever writes to it
        // would be in the way of the others, and of itself.
        let scanned = loop {
            let scanned =
                scan::chunk(&self.store, streams.clone(), None, snapshots.clone()).await?;
            let Some(large) = scanned.too_large.first().cloned() else {
                break scanned;
            };
            drop(scanned);
            match streams.iter().position(|stream| *stream == large) {
                None | Some(0) => return self.migrate_large(due, large, range).await.map(Ok),
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
        // Streams are never removed, so what the index has is there.
        for stream in streams.iter().take(covered) {
            let read = processes.iter().map(|process| &process.stream);
            let found = read.chain(failed.iter().map(|error| &error.stream_id));
            if processes.len() + failed.len() < covered && !found.into_iter().any(|at| at == stream)
            {
                outcome.failed.push(Failed {
                    error: scan::unread(stream, &scan::no_head(stream)),
                    at: at(stream),
                });
            }
        }
        for error in failed {
            let at = at(&error.stream_id);
            outcome.failed.push(Failed { error, at });
        }
        let mut snapshot_bytes = 0;
        for process in &processes {
            let state = process.snapshot.as_ref().map(|it| it.state.len() as u64);
            snapshot_bytes += state.unwrap_or(0);
            let bytes = process
                .events
                .iter()
                .map(|event| event.payload.len() as u64);
            outcome.counts.bytes += bytes.sum::<u64>();
        }
        let bytes = outcome.counts.bytes + snapshot_bytes;
        self.sizes.saw(processes.len(), bytes);
        let mut inner = self.clone();
        // Code that never returns must not keep the run among the live ones.
        inner.book = Book::DryRun;
        let worked = self
            .code
            .run(move |watch| {
                let worked = fold_and_convert_all(&inner, &processes, watch);
                // What was read goes back, to be freed where it was allocated.
                (worked, processes)
            })
            .await;
        let worked = match worked {
            Ok((Ok(worked), _)) => worked,
            Ok((Err(bad), _)) => return Ok(Err(bad)),
            Err(NoAnswer::Stuck(stream)) => return Ok(Ok(Chunked::Stuck(stream))),
            Err(NoAnswer::Ended(error)) => return Err(error),
        };
        let (left_alone, up_to) = due.up_to(covered);
        let mut skips = self.counted(left_alone);
        for process in worked {
            match process {
                Worked::Converted(converted) => outcome.converted.push(*converted),
                Worked::Finished(stream, version) => outcome.finished.push((stream, version)),
                Worked::Elsewhere(skipped, at) => skips.add(Some(&at), &skipped),
                Worked::Failed(error, version) => {
                    let at = Some(version);
                    outcome.failed.push(Failed { error, at });
                }
            }
        }
        outcome.counts.skipped_by = skips.by;
        outcome.counts.skipped_by.finished += outcome.finished.len();
        outcome.tally = skips.tally;
        outcome.up_to = up_to;
        outcome.at_end = last && covered == all;
        let done = commit::chunk(self, chunk, outcome, range).await?;
        Ok(Ok(Chunked::Committed {
            done,
            covered,
            large: before_large,
        }))
    }

    /// Migrates a process that does not fit into a chunk, the first of those
    /// that are due.
    async fn migrate_large(
        &self,
        due: &scan::Due,
        stream: StreamId,
        range: &mut Range,
    ) -> Result<Chunked, Error> {
        let at = due.version_of(&stream);
        let (left_alone, up_to) = due.up_to(1);
        let mut covered = large::Covered {
            skips: self.counted(left_alone),
            up_to,
        };
        let mut failed = None;
        let process = large::process(self, &stream, range, &covered);
        let processed = match &at {
            Some(version) => observe::process_during(&stream, version, process).await,
            None => process.await,
        };
        let over = match processed {
            Ok(large::Large::Done(done)) => Some(done),
            Ok(large::Large::Gone(skipped)) => {
                covered.skips.add(at.as_ref(), &skipped);
                None
            }
            Err(large::Trouble::Process(error)) => {
                failed = Some(error);
                None
            }
            Err(large::Trouble::Store(error)) => return Err(error),
        };
        let outcome = || Outcome {
            failed: failed
                .iter()
                .map(|error| Failed {
                    error: error.clone(),
                    at: at.clone(),
                })
                .collect(),
            up_to: covered.up_to.clone(),
            ..covered.skips.outcome()
        };
        let done = match over {
            Some(done) => done,
            None => commit::without_reading(self, outcome, range).await?,
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

/// A process was read from a snapshot on that its code cannot read; nothing was
/// committed.
struct BadSnapshot(StreamId);

/// What became of a process in the hands of user code.
enum Worked {
    Converted(Box<convert::Converted>),
    Finished(StreamId, WorkflowId),
    /// No route of the run is for it, and none need be.
    Elsewhere(SkippedBy, WorkflowId),
    Failed(MigrationError, WorkflowId),
}

/// The work of user code on a chunk.
fn fold_and_convert_all(
    work: &Work,
    processes: &[scan::Scanned],
    watch: &Watch,
) -> Result<Vec<Worked>, BadSnapshot> {
    let mut worked = Vec::with_capacity(processes.len());
    for scanned in processes {
        // The index is read before the transaction begins; the head says where
        // the process stands.
        let (stream, version) = (scanned.stream.clone(), scanned.head.workflow_id.clone());
        if scanned.head.held {
            // Since it was found; the head says so in the transaction.
            let held = SkippedBy {
                held: 1,
                ..SkippedBy::default()
            };
            worked.push(Worked::Elsewhere(held, version));
            continue;
        }
        let Some(planned) = work.routes.get(&version) else {
            worked.push(match work.without_route(&stream, &version) {
                Ok(skipped) => Worked::Elsewhere(skipped, version),
                Err(error) => Worked::Failed(error, version),
            });
            continue;
        };
        let deadline = work.code.deadline();
        let bad_snapshot = Cell::new(false);
        let fold_and_convert = |scanned| {
            fold_and_convert(work, planned, scanned).map_err(|unfolded| match unfolded {
                fold::Unfolded::Failed(error) => error,
                fold::Unfolded::BadSnapshot => {
                    bad_snapshot.set(true);
                    scan::unread(&stream, &Error::invalid("its snapshot is of no use"))
                }
            })
        };
        let converted = observe::process(&stream, &version, || {
            watch
                .over(&stream, deadline, || fold_and_convert(scanned))
                .and_then(|first| match work.twice {
                    true => watch.over(&stream, deadline, || {
                        twice(&stream, first, fold_and_convert(scanned))
                    }),
                    false => Ok(first),
                })
                .and_then(|first| match (&first, &work.read_back) {
                    (Some(converted), Some(unchecked)) => {
                        let back = watch.over(&stream, deadline, || {
                            decode_back::check(&planned.route, &stream, converted.json(), unchecked)
                        });
                        back.map(|()| first)
                    }
                    _ => Ok(first),
                })
        });
        if bad_snapshot.get() {
            return Err(BadSnapshot(stream));
        }
        worked.push(match converted {
            Ok(Some(converted)) => Worked::Converted(Box::new(converted)),
            Ok(None) => Worked::Finished(stream, version),
            Err(error) => Worked::Failed(error, version),
        });
    }
    Ok(worked)
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
    planned: &convert::Planned,
    scanned: &scan::Scanned,
) -> Result<Option<convert::Converted>, fold::Unfolded> {
    match fold::process(&planned.route, scanned, &work.selection)? {
        Some(folded) => Ok(Some(convert::process(planned, folded)?)),
        None => Ok(None),
    }
}

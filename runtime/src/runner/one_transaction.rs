//! The form with one store: chunks of processes, each read and committed in
//! one serializable transaction, by several workers at once.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::error::Error;
use crate::id::{RunId, StreamId, WorkflowId};
use crate::process_registry::ProcessRegistry;
use crate::registry::Route;
use crate::runner::commit::Moved;
use crate::runner::report::{
    CommitForm, MigrationError, MigrationReport, SkippedBy, Stage, Visited,
};
use crate::runner::{Run, commit, convert, fold, large, plan, registry_update, scan};
use crate::selection::Selection;
use crate::store::TransactionalStore;

/// How often one process is tried while others write to it.
pub(super) const ATTEMPTS: usize = 16;

/// Into how many ranges a version's processes are split, for each worker.
const RANGES_PER_WORKER: usize = 8;

/// How many chunks may wait to be reported.
const WAITING: usize = 16;

pub(super) type Store = Arc<dyn TransactionalStore>;

/// What a worker has done, durably.
#[derive(Default)]
struct Done {
    migrated: Vec<Moved>,
    failed: Vec<MigrationError>,
    skipped: SkippedBy,
}

/// What every worker needs.
#[derive(Clone)]
pub(super) struct Work {
    pub(super) store: Store,
    /// The routes, by where they start.
    pub(super) routes: Arc<BTreeMap<WorkflowId, Route>>,
    pub(super) run: RunId,
    pub(super) selection: Arc<Selection>,
    /// Whether a process registry elsewhere is to be told.
    pub(super) remember: bool,
    /// Whether nothing is to be written.
    pub(super) dry: bool,
}

pub(super) async fn run(
    run: &Run,
    store: Store,
    elsewhere: Option<&dyn ProcessRegistry>,
    full_count: bool,
) -> MigrationReport {
    let visited = if full_count {
        Visited::ByFullScan
    } else {
        Visited::ByIndex
    };
    let mut report = MigrationReport::of(run.id, CommitForm::OneTransaction, visited);
    report.dry_run = run.dry;
    if let Some(registry) = elsewhere {
        registry_update::repair(run, &store, registry, &mut report).await;
    }
    let mut unread = Vec::new();
    if full_count {
        match plan::count_all(run, &store, elsewhere, &mut report).await {
            Ok(found) => unread = found,
            Err(error) => {
                report.fail(plan::listing_failed(&error));
                return report;
            }
        }
    }
    let due = match plan::plan(run, &store).await {
        Ok(due) => due,
        Err(error) => {
            report.fail(plan::listing_failed(&error));
            return report;
        }
    };
    for stray in &due.strays {
        if let Err(error) = plan::report_strays(run, &store, stray, &mut report).await {
            report.fail(plan::listing_failed(&error));
        }
    }
    if !due.routes.is_empty() {
        let work = Work {
            store,
            routes: Arc::new(due.routes),
            run: run.id,
            selection: run.selection.clone(),
            remember: elsewhere.is_some(),
            dry: run.dry,
        };
        migrate_all(&work, elsewhere, &mut report).await;
    }
    for error in unread {
        // The index led to some of them.
        if !report.errors.contains(&error) {
            report.fail(error);
        }
    }
    report
}

/// Migrates all processes that stand at the start of a route, in one pass.
async fn migrate_all(
    work: &Work,
    elsewhere: Option<&dyn ProcessRegistry>,
    report: &mut MigrationReport,
) {
    // The first so many are those of one worker that goes through all in order.
    let workers = match work.selection.limit() {
        Some(_) => 1,
        None => std::thread::available_parallelism().map_or(2, |cores| cores.get() * 2),
    };
    let sources: Arc<[WorkflowId]> = work.routes.keys().cloned().collect();
    let ranges = match work
        .store
        .split(&sources, workers * RANGES_PER_WORKER, scan::CHUNK_PROCESSES)
        .await
    {
        Ok(ranges) => work.selection.within(&ranges),
        Err(error) => return report.fail(plan::listing_failed(&error)),
    };
    let queue = Arc::new(Mutex::new(VecDeque::from(ranges)));
    let (sender, mut done) = mpsc::channel(WAITING);
    let mut tasks = JoinSet::new();
    for _ in 0..workers {
        let (work, sources) = (work.clone(), sources.clone());
        let (queue, sender) = (queue.clone(), sender.clone());
        tasks.spawn(async move {
            let mut left = work.selection.limit();
            loop {
                let next = queue
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .pop_front();
                let Some(range) = next else { break };
                let selection = work.selection.clone();
                let due = scan::Due::new(work.store.clone(), &sources, range, selection);
                migrate_range(&work, due, &mut left, &sender).await;
            }
        });
    }
    drop(sender);
    while let Some(done) = done.recv().await {
        let Done {
            migrated,
            failed,
            skipped,
        } = done;
        report.skip_all(&skipped);
        report.migrated += migrated.len();
        for error in failed {
            report.fail(error);
        }
        if let Some(registry) = elsewhere {
            registry_update::tell(&work.store, registry, &migrated, report).await;
        }
    }
    while let Some(ended) = tasks.join_next().await {
        if let Err(error) = ended {
            report.fail(worker_failed(&format!("a worker ended early: {error}")));
        }
    }
    if work.dry {
        return;
    }
    for source in sources.iter() {
        if let Err(error) = work.store.retire(source).await {
            // The next run asks again; nothing else depends on it.
            report.warn(
                StreamId::literal("(versions)"),
                format!("whether any process stands at {source} could not be recorded: {error}"),
            );
        }
    }
}

fn worker_failed(message: &str) -> MigrationError {
    MigrationError {
        stream_id: StreamId::literal("(worker)"),
        stage: Stage::Committing,
        sequence: None,
        message: message.to_owned(),
    }
}

/// Migrates a range, chunk by chunk.
async fn migrate_range(
    work: &Work,
    mut due: scan::Due,
    left: &mut Option<usize>,
    sender: &mpsc::Sender<Done>,
) {
    let mut size = scan::CHUNK_PROCESSES;
    let mut conflicts = 0;
    loop {
        let streams = match due.peek(size.min(left.unwrap_or(usize::MAX))).await {
            Ok(streams) => streams,
            Err(error) => return give_up(None, &error, sender).await,
        };
        let Some(first) = streams.first().cloned() else {
            // The receiver is gone only when the run itself is.
            let _ = sender
                .send(Done {
                    skipped: due.take_skipped(),
                    ..Done::default()
                })
                .await;
            return;
        };
        let alone = streams.len() == 1;
        match migrate_chunk(work, streams).await {
            Ok((mut done, covered)) => {
                due.done(covered);
                done.skipped.add(&due.take_skipped());
                if let Some(left) = left {
                    *left = left.saturating_sub(done.migrated.len() + done.failed.len());
                }
                conflicts = 0;
                size = (size * 2).min(scan::CHUNK_PROCESSES);
                if sender.send(done).await.is_err() {
                    return;
                }
            }
            Err(error) if error.is_conflict() && alone && conflicts >= ATTEMPTS => {
                due.done(1);
                conflicts = 0;
                let done = Done {
                    failed: vec![commit::busy(&first, ATTEMPTS)],
                    skipped: due.take_skipped(),
                    ..Done::default()
                };
                if let Some(left) = left {
                    *left = left.saturating_sub(1);
                }
                if sender.send(done).await.is_err() {
                    return;
                }
            }
            Err(error) if error.is_conflict() => {
                if alone {
                    conflicts += 1;
                    // Let the other writer finish; it has right of way.
                    tokio::time::sleep(Duration::from_millis(1 << conflicts.min(6))).await;
                }
                size = (size / 2).max(1);
            }
            Err(error) => return give_up(Some(&first), &error, sender).await,
        }
    }
}

/// Reports that the rest of a range was not looked at.
async fn give_up(from: Option<&StreamId>, error: &Error, sender: &mpsc::Sender<Done>) {
    let from = from.map_or_else(String::new, |stream| format!(" from {stream} on"));
    let failed = vec![worker_failed(&format!(
        "a range of processes{from} was not looked at; run again: {error}"
    ))];
    // The receiver is gone only when the run itself is.
    let _ = sender
        .send(Done {
            failed,
            ..Done::default()
        })
        .await;
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

/// Migrates one chunk; returns how many of the streams it covers.
async fn migrate_chunk(work: &Work, streams: Vec<StreamId>) -> Result<(Done, usize), Error> {
    let scan::ScannedChunk {
        chunk,
        processes,
        too_large,
        mut failed,
        covered,
    } = scan::chunk(&work.store, streams, None).await?;
    let inner = work.clone();
    let outcomes = large::blocking(move || {
        processes
            .into_iter()
            .filter_map(|scanned| {
                // The index is read before the transaction begins; the head
                // says where the process stands.
                let route = inner.routes.get(&scanned.head.workflow_id)?;
                let again = inner.dry.then(|| scanned.clone());
                let converted = fold_and_convert(&inner, route, scanned);
                let checked = match (&converted, again) {
                    (Ok(Some(first)), Some(again)) => fold_and_convert(&inner, route, again)
                        .and_then(|second| {
                            second.map_or(Ok(()), |second| convert::same(first, &second))
                        }),
                    _ => Ok(()),
                };
                Some(checked.and(converted))
            })
            .collect::<Vec<_>>()
    })
    .await?;
    let mut skipped = SkippedBy::default();
    let mut converted = Vec::with_capacity(outcomes.len());
    for outcome in outcomes {
        match outcome {
            Ok(Some(process)) => converted.push(process),
            Ok(None) => skipped.finished += 1,
            Err(error) => failed.push(error),
        }
    }
    let mut migrated = if work.dry {
        converted.iter().map(Moved::of).collect()
    } else {
        commit::chunk(chunk, converted, work.remember).await?
    };
    for stream in too_large {
        match large::process(work, &stream).await {
            Ok(large::Outcome::Moved(moved)) => migrated.push(moved),
            Ok(large::Outcome::Finished) => skipped.finished += 1,
            Ok(large::Outcome::Gone | large::Outcome::Ready(_)) => {}
            Err(error) => failed.push(error),
        }
    }
    let done = Done {
        migrated,
        failed,
        skipped,
    };
    Ok((done, covered))
}

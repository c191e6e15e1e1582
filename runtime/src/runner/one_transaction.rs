//! The form with one store: chunks of processes, each read and committed in
//! one serializable transaction, by several workers at once.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::error::{Error, ErrorKind};
use crate::id::{RunId, StreamId, WorkflowId};
use crate::process_registry::ProcessRegistry;
use crate::registry::{Route, Standing};
use crate::runner::commit::Moved;
use crate::runner::report::{
    CommitForm, KEPT, MigrationError, MigrationReport, SkippedBy, Stage, Visited,
};
use crate::runner::{Run, commit, convert, fold, large, registry_update, scan};
use crate::selection::Selection;
use crate::store::{StreamRange, TransactionalStore};

/// How often one process is tried while others write to it.
pub(super) const ATTEMPTS: usize = 16;

/// Into how many ranges a version's processes are split, for each worker.
const RANGES_PER_WORKER: usize = 8;

/// How many chunks may wait to be reported.
const WAITING: usize = 16;

const PAGE: usize = 512;

type Store = Arc<dyn TransactionalStore>;

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
    if let Some(registry) = elsewhere {
        repair(run, &store, registry, &mut report).await;
    }
    let mut unread = Vec::new();
    if full_count {
        match count_all(run, &store, &mut report).await {
            Ok(found) => unread = found,
            Err(error) => {
                report.fail(listing_failed(&error));
                return report;
            }
        }
    }
    let plan = match plan(run, &store).await {
        Ok(plan) => plan,
        Err(error) => {
            report.fail(listing_failed(&error));
            return report;
        }
    };
    for stray in &plan.strays {
        if let Err(error) = report_strays(run, &store, stray, &mut report).await {
            report.fail(listing_failed(&error));
        }
    }
    if !plan.routes.is_empty() {
        let work = Work {
            store,
            routes: Arc::new(plan.routes),
            run: run.id,
            selection: run.selection.clone(),
            remember: elsewhere.is_some(),
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

/// Where processes stand that something is to be done about.
struct Plan {
    routes: BTreeMap<WorkflowId, Route>,
    strays: Vec<WorkflowId>,
}

async fn plan(run: &Run, store: &Store) -> Result<Plan, Error> {
    let mut plan = Plan {
        routes: BTreeMap::new(),
        strays: Vec::new(),
    };
    let names = run.migrations.names();
    for name in names.filter(|name| run.selection.selects_workflow(name)) {
        for version in store.versions(name).await? {
            match run.migrations.standing(&version) {
                Standing::Behind(route) => {
                    plan.routes.insert(version, route);
                }
                Standing::NoRoute => plan.strays.push(version),
                Standing::Newest | Standing::OtherWorkflow => {}
            }
        }
    }
    Ok(plan)
}

/// Counts the streams that need nothing; returns those that cannot be read, as
/// far as a report keeps them.
async fn count_all(
    run: &Run,
    store: &Store,
    report: &mut MigrationReport,
) -> Result<Vec<MigrationError>, Error> {
    let mut unread = Vec::new();
    let mut after = None;
    loop {
        let page = store.list_streams(None, after.as_ref(), PAGE).await?;
        for stream in &page {
            if !run.selection.selects(stream) {
                report.skip(|s| s.not_selected += 1);
                continue;
            }
            match store.head(stream).await {
                Err(error) => match error.kind() {
                    ErrorKind::Corrupt | ErrorKind::NewerFormat => {
                        if unread.len() < KEPT {
                            unread.push(scan::unread(stream, &error));
                        }
                    }
                    _ => return Err(error),
                },
                Ok(None) => report.skip(|s| s.empty += 1),
                Ok(Some(head)) => match run.migrations.standing(&head.workflow_id) {
                    Standing::OtherWorkflow => report.skip(|s| s.other_workflow += 1),
                    Standing::Newest => report.skip(|s| s.already_there += 1),
                    // The index leads to these.
                    Standing::Behind(_) | Standing::NoRoute => {}
                },
            }
        }
        if page.len() < PAGE {
            return Ok(unread);
        }
        after = page.into_iter().next_back();
    }
}

async fn report_strays(
    run: &Run,
    store: &Store,
    version: &WorkflowId,
    report: &mut MigrationReport,
) -> Result<(), Error> {
    let mut after = None;
    loop {
        let rest = StreamRange {
            after,
            through: None,
        };
        let page = store.streams_at(version, &rest, PAGE).await?;
        for stream in page.iter().filter(|stream| run.selection.selects(stream)) {
            report.fail(no_route(stream.clone(), version));
        }
        if page.len() < PAGE {
            return Ok(());
        }
        after = page.into_iter().next_back();
    }
}

pub(super) fn no_route(stream_id: StreamId, version: &WorkflowId) -> MigrationError {
    MigrationError {
        stream_id,
        stage: Stage::Routing,
        sequence: None,
        message: format!(
            "it stands at {version}, from which no migration leads, and that is not the newest version; link the migration from {version}, or use the program that knows this version"
        ),
    }
}

pub(super) fn listing_failed(error: &Error) -> MigrationError {
    MigrationError {
        stream_id: StreamId::literal("(list_streams)"),
        stage: Stage::Planning,
        sequence: None,
        message: error.to_string(),
    }
}

/// Sets right what earlier runs could not tell a process registry elsewhere.
async fn repair(
    run: &Run,
    store: &Store,
    registry: &dyn ProcessRegistry,
    report: &mut MigrationReport,
) {
    let mut after = None;
    loop {
        let page = match store.remembered(after.as_ref(), PAGE).await {
            Ok(page) => page,
            Err(error) => return report.fail(listing_failed(&error)),
        };
        let mut told = Vec::new();
        for stream in page.iter().filter(|stream| run.selection.selects(stream)) {
            let outcome = match store.head(stream).await {
                Ok(Some(head)) => {
                    registry_update::process(registry, stream, &head.workflow_id).await
                }
                Ok(None) => Ok(false),
                Err(error) => Err(error),
            };
            match outcome {
                Ok(_) => {
                    report.repaired += 1;
                    told.push(stream.clone());
                }
                Err(error) => report.warn(stream.clone(), registry_update::warning(&error)),
            }
        }
        forget(store, &told, report).await;
        if page.len() < PAGE {
            return;
        }
        after = page.into_iter().next_back();
    }
}

/// Drops the notes on processes whose registry entries are right. A note that
/// stays is harmless: the next run looks, and finds nothing to do.
async fn forget(store: &Store, told: &[StreamId], report: &mut MigrationReport) {
    if let Some(last) = told.last()
        && let Err(error) = store.forget(told).await
    {
        report.warn(
                last.clone(),
                format!("a note that its process registry entry was to be rewritten could not be removed, which the next run does: {error}"),
            );
    }
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
        Ok(ranges) => common(&ranges, &work.selection.ranges()),
        Err(error) => return report.fail(listing_failed(&error)),
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
            tell(&work.store, registry, &migrated, report).await;
        }
    }
    while let Some(ended) = tasks.join_next().await {
        if let Err(error) = ended {
            report.fail(worker_failed(&format!("a worker ended early: {error}")));
        }
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

/// Tells a process registry elsewhere, and drops the notes to do so.
async fn tell(
    store: &Store,
    registry: &dyn ProcessRegistry,
    migrated: &[Moved],
    report: &mut MigrationReport,
) {
    let mut told = Vec::new();
    for Moved { stream, to } in migrated {
        if stream.process().is_none() {
            continue;
        }
        match registry_update::process(registry, stream, to).await {
            Ok(_) => told.push(stream.clone()),
            Err(error) => report.warn(stream.clone(), registry_update::warning(&error)),
        }
    }
    forget(store, &told, report).await;
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
        let skipped = SkippedBy {
            not_selected: due.take_not_selected(),
            ..SkippedBy::default()
        };
        let Some(first) = streams.first().cloned() else {
            // The receiver is gone only when the run itself is.
            let _ = sender
                .send(Done {
                    skipped,
                    ..Done::default()
                })
                .await;
            return;
        };
        let alone = streams.len() == 1;
        match migrate_chunk(work, streams).await {
            Ok((mut done, covered)) => {
                due.done(covered);
                done.skipped.not_selected += skipped.not_selected;
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
                    skipped,
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
                due.give_back_not_selected(skipped.not_selected);
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
                let folded = fold::process(route, scanned, &inner.selection);
                Some(folded.and_then(|folded| {
                    folded
                        .map(|folded| convert::process(route, inner.run, folded))
                        .transpose()
                }))
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
    let mut migrated = commit::chunk(chunk, converted, work.remember).await?;
    for stream in too_large {
        match large::process(work, &stream).await {
            Ok(large::Outcome::Moved(moved)) => migrated.push(moved),
            Ok(large::Outcome::Finished) => skipped.finished += 1,
            Ok(large::Outcome::Gone) => {}
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

/// The parts of some ranges that lie in some others.
fn common(ranges: &[StreamRange], others: &[StreamRange]) -> Vec<StreamRange> {
    let mut parts = Vec::new();
    for range in ranges {
        for other in others {
            let after = range.after.clone().max(other.after.clone());
            // Nothing is the last of all here, and the first of all there.
            let through = match (&range.through, &other.through) {
                (Some(a), Some(b)) => Some(a.min(b).clone()),
                (a, b) => a.clone().or(b.clone()),
            };
            let empty = matches!((&after, &through), (Some(a), Some(t)) if a >= t);
            if !empty {
                parts.push(StreamRange { after, through });
            }
        }
    }
    parts
}

//! Rules for stores that commit everything in one transaction.
//!
//! Concurrent writers run on separate threads, each with its own handle of the
//! store, so that they conflict in every way that the store allows.

mod births;
mod commit;
mod concurrency;
mod concurrent_writers;
mod erasure;
mod holds;
mod instant;
mod limits;
mod pages;
mod pending_updates;
mod registry;
mod rows;
mod split;
mod stale;
mod versions;

use std::collections::BTreeSet;
use std::sync::Arc;

use futures_util::future::join_all;
use state_migration_core::{
    Batch, Commit, DueFilter, DueOf, DuePage, DueProcess, DueRequest, EventStore, ExpectedSequence,
    Head, Move, Passed, ProcessRegistry, SnapshotStore, Stale, StreamId, StreamRange, TenantId,
    TransactionalStore, Verdict, WorkflowId,
};

use crate::{Broken, Checked, Violation, events, holds, migrated_between, of, same};

/// Checks a store that commits everything in one transaction. Needs a Tokio
/// runtime.
///
/// # Errors
/// The first rule that the store breaks.
pub async fn transactional_store<S>(store: &S) -> Result<(), Violation>
where
    S: TransactionalStore + SnapshotStore + ProcessRegistry,
{
    of("all handles of a store have the same store id", ids(store))?;
    let events: &dyn TransactionalStore = store;
    bookkeeping(events).await?;
    reading(events, store).await?;
    committing(events).await?;
    operators(events).await?;
    entries(events, store, store).await?;
    of(
        "events are removed together with the change of the head that says so",
        erasure::kept(events, store).await,
    )?;
    meeting(events).await
}

async fn bookkeeping(store: &dyn TransactionalStore) -> Result<(), Violation> {
    of(
        "rows are read by prefix, in order and in pages",
        rows::reading(store).await,
    )?;
    of(
        "a batch is written only if all rows and guards have the expected values",
        rows::expectations(store).await,
    )?;
    of(
        "a version is listed after the first process is created at it or migrated to it",
        versions::named(store).await,
    )?;
    of(
        "a closing version is listed with its token",
        versions::closing(store).await,
    )
}

async fn reading(
    store: &dyn TransactionalStore,
    snapshots: &dyn SnapshotStore,
) -> Result<(), Violation> {
    of(
        "the ranges of a split are sorted and disjoint, and cover exactly the given ranges",
        split::cover(store).await,
    )?;
    of(
        "the ranges of a split are about equally large, and not smaller than requested",
        split::sizes(store).await,
    )?;
    of(
        "a split counts the heads and the due processes",
        split::counts(store).await,
    )?;
    of(
        "a page has the processes that the filter selects, in order of their stream ids",
        pages::wanted(store).await,
    )?;
    of(
        "a page of a range has no process from outside that range",
        pages::bounded(store).await,
    )?;
    of(
        "the events of a process are read from its baseline on, or after a given event",
        pages::baseline(store).await,
    )?;
    of(
        "streams that are requested by id are read at any version",
        pages::by_name(store).await,
    )?;
    of(
        "a snapshot is used only if it is requested and of the requested version",
        pages::snapshots(store, snapshots).await,
    )?;
    of(
        "consecutive pages have each process once, and count each head once",
        limits::continuing(store).await,
    )?;
    of(
        "a page ends when its limit of bytes is reached",
        limits::bytes(store).await,
    )?;
    of(
        "a process that is too large is alone on its page, without events",
        limits::too_large(store).await,
    )?;
    of(
        "a page shows the head and the events of a process at the same point in time",
        instant::one_instant(store).await,
    )
}

async fn committing(store: &dyn TransactionalStore) -> Result<(), Violation> {
    of(
        "a batch is committed atomically",
        commit::whole(store).await,
    )?;
    of(
        "every change of a head raises its revision",
        commit::revisions(store).await,
    )?;
    of(
        "a process that is marked as finished stays finished until its next event",
        commit::finished(store).await,
    )?;
    of(
        "a batch that changes a stream twice is rejected",
        commit::twice(store).await,
    )?;
    of(
        "a batch with a stale head writes nothing and returns the stream",
        stale::every_change(store).await,
    )?;
    of(
        "births at a version are recorded while the version is closing, and only then",
        births::recorded(store).await,
    )?;
    of(
        "a version is closed only with its token, and only if no birth is left",
        births::close(store).await,
    )?;
    of(
        "notes are kept until `forget`",
        pending_updates::kept(store).await,
    )
}

async fn operators(store: &dyn TransactionalStore) -> Result<(), Violation> {
    of(
        "a hold is kept with its actor, reason and time until its release",
        holds::kept(store).await,
    )?;
    of(
        "a held process accepts events and is not migrated",
        holds::heeded(store).await,
    )
}

async fn entries(
    store: &dyn TransactionalStore,
    registry: &dyn ProcessRegistry,
    snapshots: &dyn SnapshotStore,
) -> Result<(), Violation> {
    of(
        "an entry always has the current version of its process",
        registry::lookup(store, registry).await,
    )?;
    of(
        "code of an older version cannot register or remove an entry or save a snapshot",
        registry::older_code(store, registry, snapshots).await,
    )?;
    of(
        "an entry or a snapshot of an older version is rejected after the process is migrated",
        registry::meetings(store, registry, snapshots).await,
    )
}

/// The rules for concurrent writers.
async fn meeting(store: &dyn TransactionalStore) -> Result<(), Violation> {
    of(
        "concurrent commits of different streams do not conflict",
        concurrent_writers::different_streams(store).await,
    )?;
    of(
        "a row without an expectation is written, even if concurrent batches write it",
        concurrent_writers::blind_rows(store).await,
    )?;
    of(
        "of a concurrent append and migration of one process, exactly one succeeds",
        concurrent_writers::append_and_move(store).await,
    )?;
    of(
        "a process is not migrated after `hold` has returned",
        concurrent_writers::hold_and_move(store).await,
    )?;
    of(
        "nothing is committed after a guard has changed",
        concurrent_writers::guards(store).await,
    )?;
    of(
        "a process born at a closing version is found by a later scan, or its birth is recorded",
        births::closing_meets_births(store).await,
    )?;
    of(
        "a version with a process stays listed, even if the version is closed concurrently",
        births::close_meets_births(store).await,
    )
}

fn ids<S: TransactionalStore + SnapshotStore + ProcessRegistry>(store: &S) -> Checked {
    let id = TransactionalStore::store_id(store);
    same(
        "the store id as snapshot store",
        &SnapshotStore::store_id(store),
        &Some(id),
    )?;
    same(
        "the store id as process registry",
        &ProcessRegistry::store_id(store),
        &Some(id),
    )?;
    let handle = EventStore::transactional(store).map(|handle| handle.store_id());
    same(
        "the store id of the transactional handle",
        &handle,
        &Some(id),
    )
}

/// A version of a workflow that no other process in the store uses.
fn own(tenant: &TenantId, version: &'static str) -> WorkflowId {
    WorkflowId::new(format!("conformance-{tenant}"), version)
}

/// The range of a tenant's processes.
fn of_tenant(tenant: &TenantId) -> StreamRange {
    // `.` sorts just before `/`, and `0` just after.
    let bound = |end| StreamId::new(format!("process/{tenant}{end}")).ok();
    StreamRange {
        after: bound("."),
        through: bound("0"),
    }
}

/// Creates a process with the given number of events.
async fn put(
    store: &dyn TransactionalStore,
    stream: &StreamId,
    version: &WorkflowId,
    many: u64,
) -> Checked {
    let new = events(version, many)?;
    store
        .append(stream, ExpectedSequence::NoStream, new)
        .await?;
    Ok(())
}

/// Creates many processes concurrently.
async fn put_each<'a>(
    store: &dyn TransactionalStore,
    all: impl IntoIterator<Item = &'a (StreamId, WorkflowId, u64)>,
) -> Checked {
    let puts = all
        .into_iter()
        .map(|(stream, version, many)| put(store, stream, version, *many));
    join_all(puts).await.into_iter().collect()
}

/// Creates processes of a tenant with one event each, in order of their
/// streams.
async fn put_all(
    store: &dyn TransactionalStore,
    tenant: &TenantId,
    names: &[&str],
    version: &WorkflowId,
) -> Result<Vec<StreamId>, Broken> {
    let mut all = Vec::new();
    for name in names {
        all.push((crate::stream(tenant, name)?, version.clone(), 1));
    }
    all.sort();
    put_each(store, &all).await?;
    Ok(all.into_iter().map(|(stream, ..)| stream).collect())
}

/// The filter of the suite's readers.
struct HeadFilter {
    versions: Option<BTreeSet<WorkflowId>>,
    verdict: fn(&StreamId, &Head) -> Verdict,
}

impl HeadFilter {
    /// All processes.
    fn all() -> Self {
        Self {
            versions: None,
            verdict: |_, _| Verdict::Due,
        }
    }

    /// All processes at some versions.
    fn at(versions: impl IntoIterator<Item = WorkflowId>) -> Self {
        Self {
            versions: Some(versions.into_iter().collect()),
            ..Self::all()
        }
    }

    fn by(mut self, verdict: fn(&StreamId, &Head) -> Verdict) -> Self {
        self.verdict = verdict;
        self
    }
}

impl DueFilter for HeadFilter {
    fn versions(&self) -> Option<&BTreeSet<WorkflowId>> {
        self.versions.as_ref()
    }

    fn verdict(&self, stream: &StreamId, head: &Head) -> Verdict {
        (self.verdict)(stream, head)
    }
}

/// A request for all processes, with limits that none of them reaches.
fn request(of: DueOf) -> DueRequest {
    DueRequest {
        of,
        filter: Arc::new(HeadFilter::all()),
        max_processes: 1_000,
        max_heads: 10_000,
        max_bytes: 1 << 20,
        max_process_bytes: 1 << 20,
        events_after: None,
        snapshots: Arc::default(),
        all_events: false,
        whole_history: false,
    }
}

/// The contents of consecutive pages.
#[derive(Default)]
struct Pages {
    processes: Vec<DueProcess>,
    passed: Passed,
    pages: usize,
}

impl Pages {
    fn streams(&self) -> Vec<StreamId> {
        self.processes.iter().map(|it| it.stream.clone()).collect()
    }
}

/// Reads all pages of a request, and checks each of them.
async fn read_to_end(
    store: &dyn TransactionalStore,
    mut request: DueRequest,
    mut look: impl FnMut(&DuePage) -> Checked,
) -> Result<Pages, Broken> {
    let mut seen = Pages::default();
    loop {
        let page = store.read_due(request.clone()).await?;
        look(&page)?;
        seen.pages += 1;
        for process in &page.processes {
            seen.passed.add(&process.passed);
        }
        seen.passed.add(&page.passed);
        seen.processes.extend(page.processes);
        if page.at_end {
            return Ok(seen);
        }
        let Some(up_to) = page.up_to else {
            return Err(Broken(
                "a page that is not the last has no `up_to`".to_owned(),
            ));
        };
        let advances = match &mut request.of {
            DueOf::Range(range) => range.after.replace(up_to.clone()) < Some(up_to),
            DueOf::Streams(streams) => {
                let before = streams.len();
                streams.retain(|stream| *stream > up_to);
                streams.len() < before
            }
        };
        holds(
            "`up_to` of a page is not after the start of the page",
            advances,
        )?;
    }
}

/// The page of some processes by name, all of which must exist.
async fn page_of(store: &dyn TransactionalStore, streams: &[StreamId]) -> Result<DuePage, Broken> {
    let page = store
        .read_due(request(DueOf::Streams(streams.to_vec())))
        .await?;
    let found: Vec<&StreamId> = page.processes.iter().map(|it| &it.stream).collect();
    same(
        "the list of streams on a page",
        &found,
        &streams.iter().collect::<Vec<_>>(),
    )?;
    Ok(page)
}

fn head_of(process: &DueProcess) -> Result<Head, Broken> {
    process.head.clone().ok_or_else(|| {
        Broken(format!(
            "a page has no head of {} (problem: {:?})",
            process.stream, process.problem
        ))
    })
}

/// The migration of a process as the page shows it.
fn move_to(process: &DueProcess, to: &WorkflowId) -> Result<Move, Broken> {
    let head = head_of(process)?;
    Ok(Move {
        stream: process.stream.clone(),
        event: migrated_between(&head.workflow_id, to)?,
        head,
        update_registry: false,
    })
}

/// The migrations of all processes of a page.
fn moves(page: &DuePage, to: &WorkflowId) -> Result<Vec<Move>, Broken> {
    page.processes.iter().map(|it| move_to(it, to)).collect()
}

/// Migrates some processes.
async fn migrate(store: &dyn TransactionalStore, streams: &[StreamId], to: &WorkflowId) -> Checked {
    let page = page_of(store, streams).await?;
    let batch = Batch {
        moves: moves(&page, to)?,
        ..Batch::default()
    };
    written("a migration", &store.commit(&batch).await?)
}

/// The outcome of a batch, as text.
fn told(commit: &Commit) -> String {
    let Commit::Stale(Stale { streams, rows }) = commit else {
        return "written".to_owned();
    };
    let mut streams: Vec<&str> = streams.iter().map(StreamId::as_str).collect();
    let rows = rows.iter().map(|key| key.escape_ascii().to_string());
    let mut rows: Vec<String> = rows.collect();
    streams.sort_unstable();
    rows.sort_unstable();
    format!("stale (streams {streams:?}, rows {rows:?})")
}

fn became(what: &str, commit: &Commit, wanted: &Commit) -> Checked {
    let (found, wanted) = (told(commit), told(wanted));
    holds(
        &format!("the outcome of {what} is {found}, expected {wanted}"),
        found == wanted,
    )
}

fn written(what: &str, commit: &Commit) -> Checked {
    became(what, commit, &Commit::Written)
}

fn stale(what: &str, commit: &Commit, streams: &[StreamId], rows: &[Vec<u8>]) -> Checked {
    let wanted = Commit::Stale(Stale {
        streams: streams.to_vec(),
        rows: rows.to_vec(),
    });
    became(what, commit, &wanted)
}

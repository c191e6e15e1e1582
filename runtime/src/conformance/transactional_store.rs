//! The rules of stores that commit everything in one transaction.

use std::sync::Arc;

use super::{
    Broken, Checked, Violation, bookkeeping, commit, events, holds, migrated, migrated_between, of,
    same, stream, tenant, v1, v2,
};
use crate::event::MIGRATED;
use crate::id::{StreamId, TenantId, WorkflowId};
use crate::process_registry::ProcessRegistry;
use crate::snapshot::{Snapshot, SnapshotStore};
use crate::store::{
    Chunk, ChunkProblem, ChunkProcess, ChunkRequest, EventStore, ExpectedSequence, Head, Split,
    StreamRange, TransactionalStore,
};

/// Checks a store that commits everything in one transaction.
///
/// # Errors
/// The first rule that it breaks.
pub async fn transactional_store<S>(store: &S) -> Result<(), Violation>
where
    S: TransactionalStore + SnapshotStore + ProcessRegistry,
{
    of("every handle says the same id", ids(store))?;
    of(
        "the index leads to the processes at a version",
        index(store).await,
    )?;
    of("ranges cover every process once", ranges(store).await)?;
    of(
        "a chunk reads processes from their baseline on",
        reading(store).await,
    )?;
    of(
        "a chunk reads processes from a snapshot on only where that was asked for",
        from_snapshots(store).await,
    )?;
    of("a chunk keeps to its limits", limits(store).await)?;
    of(
        "a chunk commits all of a process or nothing",
        commit::all_or_nothing(store).await,
    )?;
    of(
        "an append since the chunk was read makes its commit conflict",
        commit::conflicts(store).await,
    )?;
    of(
        "a registry entry made since makes the commit conflict, or moves too",
        commit::late_entry(store).await,
    )?;
    of(
        "rows of bookkeeping are part of a chunk",
        bookkeeping::rows(store).await,
    )?;
    of(
        "a decision stays until the process goes on",
        bookkeeping::decisions(store).await,
    )?;
    of("notes are kept until they are dropped", notes(store).await)?;
    of(
        "a version is forgotten only when no process stands at it",
        retiring(store).await,
    )
}

fn ids<S: TransactionalStore + SnapshotStore + ProcessRegistry>(store: &S) -> Checked {
    let id = TransactionalStore::store_id(store);
    same(
        "the id as snapshot store",
        &SnapshotStore::store_id(store),
        &Some(id),
    )?;
    same(
        "the id as process registry",
        &ProcessRegistry::store_id(store),
        &Some(id),
    )?;
    let handle = EventStore::transactional(store).map(|handle| handle.store_id());
    same("the id of its transactional handle", &handle, &Some(id))
}

/// A version that no other process of the store stands at.
pub(super) fn own_version(tenant: &TenantId) -> WorkflowId {
    WorkflowId::new(format!("conformance-{tenant}"), "v1")
}

/// Begins a chunk of a tenant's processes at a version.
pub(super) async fn begin<S: TransactionalStore>(
    store: &S,
    version: &WorkflowId,
    tenant: &TenantId,
) -> Result<Box<dyn Chunk>, Broken> {
    let streams = streams_at(store, version, &of_tenant(tenant), 1_000).await?;
    let max_bytes = 1 << 20;
    Ok(store
        .begin(ChunkRequest {
            streams,
            max_bytes,
            events_after: None,
            ..ChunkRequest::default()
        })
        .await?)
}

/// The streams of the processes of a range that stand at a version.
pub(super) async fn streams_at<S: TransactionalStore>(
    store: &S,
    version: &WorkflowId,
    range: &StreamRange,
    limit: usize,
) -> Result<Vec<StreamId>, Broken> {
    let found = store.streams_at(version, range, limit).await?;
    Ok(found.into_iter().map(|process| process.stream).collect())
}

/// The range of a tenant's processes.
pub(super) fn of_tenant(tenant: &TenantId) -> StreamRange {
    // `.` sorts just before `/`, and `0` just after.
    let bound = |end| StreamId::new(format!("process/{tenant}{end}")).ok();
    StreamRange {
        after: bound("."),
        through: bound("0"),
    }
}

fn one(stream: &StreamId, events_after: u64) -> ChunkRequest {
    ChunkRequest {
        streams: vec![stream.clone()],
        max_bytes: 1 << 20,
        events_after: Some(events_after),
        ..ChunkRequest::default()
    }
}

pub(super) async fn put(
    store: &impl EventStore,
    stream: &StreamId,
    version: &WorkflowId,
    n: u64,
) -> Checked {
    store
        .append(stream, ExpectedSequence::NoStream, events(version, n)?)
        .await?;
    Ok(())
}

async fn index<S: TransactionalStore>(store: &S) -> Checked {
    let tenant = tenant();
    let version = own_version(&tenant);
    same(
        "its versions",
        &store.versions(version.name()).await?,
        &vec![],
    )?;
    let mut wanted = Vec::new();
    for name in ["c", "a", "b", "d"] {
        let stream = stream(&tenant, name)?;
        put(store, &stream, &version, 1).await?;
        wanted.push(stream);
    }
    wanted.sort();
    same(
        "its versions",
        &store.versions(version.name()).await?,
        &vec![version.clone()],
    )?;
    let all = StreamRange::default();
    same(
        "its streams",
        &streams_at(store, &version, &all, 10).await?,
        &wanted,
    )?;
    same(
        "the first two",
        &streams_at(store, &version, &all, 2).await?,
        &wanted[..2].to_vec(),
    )?;
    let part = |after: &StreamId, through: &StreamId| StreamRange {
        after: Some(after.clone()),
        through: Some(through.clone()),
    };
    let found = streams_at(store, &version, &part(&wanted[0], &wanted[2]), 10).await?;
    same(
        "those after the first, through the third",
        &found,
        &wanted[1..=2].to_vec(),
    )?;
    let found = streams_at(store, &version, &part(&wanted[2], &wanted[1]), 10).await?;
    same(
        "those of a range that ends before it starts",
        &found,
        &vec![],
    )
}

async fn ranges<S: TransactionalStore>(store: &S) -> Checked {
    let tenant = tenant();
    let name = own_version(&tenant).name().to_owned();
    let versions = [
        WorkflowId::new(name.clone(), "v1"),
        WorkflowId::new(name, "v2"),
    ];
    let mut wanted = Vec::new();
    for n in 0..50 {
        let stream = stream(&tenant, &format!("{n:03}"))?;
        put(store, &stream, &versions[n % 2], 1).await?;
        wanted.push(stream);
    }
    for parts in [1, 2, 7, 1_000] {
        let Split {
            ranges,
            processes,
            of_each,
        } = store.split(&versions, parts, 1).await?;
        holds(
            &format!("{of_each:?} are counts of 2 versions"),
            of_each.is_empty() || of_each.len() == 2 && of_each.iter().all(|count| *count >= 10),
        )?;
        holds(
            &format!("{processes} processes of 50 are counted"),
            (25..=100).contains(&processes),
        )?;
        holds(
            "there are more ranges than asked for",
            !ranges.is_empty() && ranges.len() <= parts,
        )?;
        let (mut found, mut largest) = (Vec::new(), 0);
        for range in ranges {
            let mut here = streams_at(store, &versions[0], &range, 1_000).await?;
            here.extend(streams_at(store, &versions[1], &range, 1_000).await?);
            here.sort();
            largest = largest.max(here.len());
            found.extend(here);
        }
        same(&format!("what {parts} ranges cover"), &found, &wanted)?;
        holds(
            &format!("one of {parts} ranges holds {largest} of 50"),
            largest <= 50 / parts.min(10) * 3,
        )?;
    }
    let ranges = store.split(&versions, 50, 25).await?.ranges;
    holds(
        "there are ranges of fewer processes than asked for",
        ranges.len() <= 2,
    )
}

fn only(chunk: &mut Box<dyn Chunk>) -> Result<ChunkProcess, Broken> {
    let mut processes = chunk.take_processes();
    match (processes.pop(), processes.is_empty()) {
        (Some(process), true) => Ok(process),
        (found, _) => Err(Broken(format!(
            "it holds not one process: {found:?} and {processes:?}"
        ))),
    }
}

async fn reading<S: TransactionalStore>(store: &S) -> Checked {
    let tenant = tenant();
    let stream = stream(&tenant, "p")?;
    put(store, &stream, &v1(), 3).await?;
    let process = only(&mut begin(store, &v1(), &tenant).await?)?;
    let head = Head {
        sequence: 3,
        workflow_id: v1(),
        baseline: None,
        finished: false,
        held: false,
    };
    same("the head", &process.head, &Some(head))?;
    let sequences = |p: &ChunkProcess| p.events.iter().map(|e| e.sequence).collect::<Vec<_>>();
    same("the events", &sequences(&process), &vec![1, 2, 3])?;
    same(
        "the payload of the second",
        &&process.events[1].payload[..],
        &&b"{\"n\":2}"[..],
    )?;
    store
        .append(&stream, ExpectedSequence::Exact(3), vec![migrated()?])
        .await?;
    store
        .append(&stream, ExpectedSequence::Exact(4), events(&v2(), 2)?)
        .await?;
    let mut old = begin(store, &v1(), &tenant).await?;
    same(
        "the number of processes at v1",
        &old.take_processes().len(),
        &0,
    )?;
    let process = only(&mut begin(store, &v2(), &tenant).await?)?;
    same(
        "the events from the baseline on",
        &sequences(&process),
        &vec![4, 5, 6],
    )?;
    same(
        "the type of the first",
        &&*process.events[0].event_type,
        &MIGRATED,
    )?;
    let process = only(&mut store.begin(one(&stream, 5)).await?)?;
    same("the events after 5", &sequences(&process), &vec![6])?;
    let process = only(&mut store.begin(one(&stream, 6)).await?)?;
    same("the events after 6", &sequences(&process), &vec![])?;
    let nothing = super::stream(&tenant, "nothing")?;
    let mut chunk = store.begin(one(&nothing, 0)).await?;
    same(
        "the number of processes without events",
        &chunk.take_processes().len(),
        &0,
    )?;
    same("the number of streams it covers", &chunk.covered(), &1)
}

async fn from_snapshots<S: TransactionalStore + SnapshotStore>(store: &S) -> Checked {
    const EVENTS: u64 = 200;
    let tenant = tenant();
    let stream = stream(&tenant, "p")?;
    put(store, &stream, &v1(), EVENTS).await?;
    let snapshot = Snapshot {
        stream_id: stream.clone(),
        sequence: 190,
        workflow_id: v1(),
        state_schema_version: 3,
        state: "{}".into(),
    };
    store.save(&snapshot).await?;
    for (asked_for, fits) in [(None, false), (Some(2), false), (Some(3), true)] {
        let versions = asked_for.into_iter().map(|schema| (v1(), schema));
        let request = ChunkRequest {
            streams: vec![stream.clone()],
            max_bytes: 1 << 20,
            snapshots: Arc::new(versions.collect()),
            ..ChunkRequest::default()
        };
        let process = only(&mut store.begin(request).await?)?;
        let first = match process.snapshot {
            Some(found) => {
                holds("it starts from a snapshot that was not asked for", fits)?;
                same("the snapshot", &found, &snapshot)?;
                snapshot.sequence + 1
            }
            None => 1,
        };
        let sequences = process.events.iter().map(|event| event.sequence);
        same(
            "the events after it, or all",
            &sequences.collect::<Vec<_>>(),
            &(first..=EVENTS).collect(),
        )?;
    }
    Ok(())
}

async fn limits<S: TransactionalStore>(store: &S) -> Checked {
    let tenant = tenant();
    let mut streams = Vec::new();
    for (name, n) in [
        ("a", 1),
        ("b", 200),
        ("c", 1),
        ("d", 40),
        ("e", 40),
        ("f", 40),
    ] {
        let stream = stream(&tenant, name)?;
        put(store, &stream, &v1(), n).await?;
        streams.push(stream);
    }
    let mut found = Vec::new();
    let mut chunks = 0;
    while !streams.is_empty() {
        let request = ChunkRequest {
            streams: streams.clone(),
            max_bytes: 3_500,
            events_after: None,
            ..ChunkRequest::default()
        };
        let mut chunk = store.begin(request).await?;
        for process in chunk.take_processes() {
            let readable = process.problem.is_none() != process.events.is_empty();
            holds("a process has neither events nor a problem", readable)?;
            found.push((process.stream, process.problem));
        }
        holds("a chunk covers nothing", chunk.covered() > 0)?;
        streams.drain(..chunk.covered());
        chunks += 1;
    }
    let names = ["a", "b", "c", "d", "e", "f"];
    let mut wanted = Vec::new();
    for name in names {
        let problem = (name == "b").then_some(ChunkProblem::TooLarge);
        wanted.push((stream(&tenant, name)?, problem));
    }
    same("what the chunks hold", &found, &wanted)?;
    holds("one chunk holds more bytes than it may", chunks > 1)
}

async fn notes<S: TransactionalStore>(store: &S) -> Checked {
    let tenant = tenant();
    let mut chunk_streams = Vec::new();
    for name in ["a", "b", "c"] {
        let stream = stream(&tenant, name)?;
        put(store, &stream, &v1(), 1).await?;
        chunk_streams.push(stream);
    }
    let mut chunk = begin(store, &v1(), &tenant).await?;
    for (n, stream) in chunk_streams.iter().enumerate() {
        chunk.migrate(stream, migrated()?, n != 1)?;
    }
    chunk.commit().await?;
    let wanted = vec![chunk_streams[0].clone(), chunk_streams[2].clone()];
    let before = StreamId::new(format!("process/{tenant}")).map_err(|e| Broken(e.to_string()))?;
    same(
        "the notes",
        &store.remembered(Some(&before), 2).await?,
        &wanted,
    )?;
    same(
        "the first",
        &store.remembered(Some(&before), 1).await?,
        &wanted[..1].to_vec(),
    )?;
    store.forget(&wanted[..1]).await?;
    same(
        "what is left",
        &store.remembered(Some(&before), 1).await?,
        &wanted[1..].to_vec(),
    )?;
    store.forget(&wanted[1..]).await?;
    let left = store.remembered(Some(&before), 10).await?;
    holds(
        "a note that was dropped is still there",
        !left.iter().any(|s| wanted.contains(s)),
    )
}

async fn retiring<S: TransactionalStore>(store: &S) -> Checked {
    // The processes of this tenant alone stand at a version of their own, and
    // leave it one by one.
    let tenant = tenant();
    let version = own_version(&tenant);
    let stream_a = stream(&tenant, "a")?;
    put(store, &stream_a, &version, 1).await?;
    same(
        "whether it is forgotten",
        &store.retire(&version, None).await?,
        &false,
    )?;
    same(
        "its versions",
        &store.versions(version.name()).await?,
        &vec![version.clone()],
    )?;
    let newer = WorkflowId::new(version.name().to_owned(), "v2");
    let mut chunk = store.begin(one(&stream_a, 1)).await?;
    chunk.migrate(&stream_a, migrated_between(&version, &newer)?, false)?;
    chunk.commit().await?;
    let both = vec![version.clone(), newer.clone()];
    same(
        "its versions before",
        &store.versions(version.name()).await?,
        &both,
    )?;
    same(
        "whether it is forgotten once empty",
        &store.retire(&version, None).await?,
        &true,
    )?;
    same(
        "its versions after",
        &store.versions(version.name()).await?,
        &vec![newer.clone()],
    )?;
    same(
        "whether it can be forgotten again",
        &store.retire(&version, None).await?,
        &true,
    )?;
    let left = store.arrivals(&version);
    same(
        "whether it can be forgotten unseen",
        &store.retire(&version, left).await?,
        &true,
    )?;
    put(store, &stream(&tenant, "b")?, &version, 1).await?;
    same(
        "whether it is forgotten unseen although one has arrived",
        &store.retire(&version, left).await?,
        &false,
    )?;
    same(
        "its versions once one is born there",
        &store.versions(version.name()).await?,
        &both,
    )?;
    same(
        "whether the newer is forgotten",
        &store.retire(&newer, None).await?,
        &false,
    )?;
    let left = store.arrivals(&newer);
    let mut chunk = store.begin(one(&stream(&tenant, "b")?, 1)).await?;
    chunk.migrate(
        &stream(&tenant, "b")?,
        migrated_between(&version, &newer)?,
        false,
    )?;
    chunk.commit().await?;
    same(
        "whether the newer is forgotten unseen although one was migrated there",
        &store.retire(&newer, left).await?,
        &false,
    )
}

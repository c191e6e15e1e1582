//! Compares a store with the model.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::RangeFull;

use slatedb::config::ScanOptions;
use state_migration::{
    Event, EventStore, Process, ProcessRegistry, RunId, RunKind, Runs, SlateDbStore, StreamId,
    TransactionalStore,
};

use super::counts::Counts;
use super::model::{Model, Wrong};
use super::workflows::Version;
use crate::torture_of_version;

const PAGE: usize = 128;

/// A store, and what it is held to.
#[derive(Clone, Copy)]
pub(super) struct Held<'a> {
    pub(super) store: &'a SlateDbStore,
    pub(super) model: &'a RefCell<Model>,
    pub(super) counts: &'a RefCell<Counts>,
}

/// All events of a stream after a sequence number.
pub(super) async fn read(
    store: &(impl EventStore + ?Sized),
    stream: &StreamId,
    after: u64,
) -> Result<Vec<Event>, state_migration::Error> {
    let mut events: Vec<Event> = Vec::new();
    loop {
        let after = events.last().map_or(after, |event| event.sequence);
        let page = store.read_all(stream, after, PAGE).await?;
        let at_end = page.len() < PAGE;
        events.extend(page);
        if at_end {
            return Ok(events);
        }
    }
}

/// Compares what may have changed since it was compared last.
pub(super) async fn touched(held: Held<'_>) -> Result<(), Wrong> {
    streams(held, false, false).await?;
    keys(held, false).await
}

/// Compares all of the store. `settled`: it was just opened.
pub(super) async fn whole(held: Held<'_>, settled: bool) -> Result<(), Wrong> {
    held.counts
        .borrow_mut()
        .add("comparisons of the whole store", 1);
    streams(held, true, settled).await?;
    keys(held, settled).await?;
    listed(held).await?;
    present(held).await?;
    tables(held).await?;
    runs(held).await
}

async fn streams(held: Held<'_>, all: bool, settled: bool) -> Result<(), Wrong> {
    let store = held.store;
    let count = held.model.borrow().streams.len();
    for n in 0..count {
        let (id, after, before) = {
            let model = held.model.borrow();
            let stream = &model.streams[n];
            let after = if all { 0 } else { stream.durable() };
            (stream.id().clone(), after, stream.len())
        };
        let events = read(store, &id, after).await;
        let events =
            events.map_err(|error| Wrong::unread(format!("{id} cannot be read"), &error))?;
        let head = store.head(&id).await;
        let head = head.map_err(|error| Wrong::unread(format!("{id} has no head"), &error))?;
        let changed = {
            let stream = &mut held.model.borrow_mut().streams[n];
            stream.check(after, &events, settled)?;
            stream.check_head(head.as_ref(), settled)?;
            stream.len() != before
        };
        if changed || all {
            state(held, n).await?;
        }
    }
    Ok(())
}

/// Loads a process as its code does.
async fn state(held: Held<'_>, n: usize) -> Result<(), Wrong> {
    let (identity, version, sum, len) = {
        let model = held.model.borrow();
        let stream = &model.streams[n];
        let Some(version) = stream.version() else {
            return Ok(());
        };
        (stream.identity.clone(), version, stream.sum(), stream.len())
    };
    let store = held.store.clone();
    let stream = identity.stream_id().clone();
    let loaded = torture_of_version!(version, W => {
        let process = Process::<W>::open(identity, store.clone(), store).await;
        process.map(|process| (serde_json::to_value(process.state()), process.sequence()))
    });
    let (state, sequence) =
        loaded.map_err(|error| Wrong::unread(format!("{stream} cannot be loaded"), &error))?;
    if sequence != len || state.ok() != Some(sum.state(version)) {
        return Err(Wrong::other(format!(
            "{stream}, loaded under {version:?}, is in another state than its {len} events add up to"
        )));
    }
    Ok(())
}

async fn keys(held: Held<'_>, settled: bool) -> Result<(), Wrong> {
    let all: Vec<_> = {
        let model = held.model.borrow();
        let keys = model.keys.iter();
        keys.map(|((tenant, _), (key, _))| (tenant.clone(), key.clone()))
            .collect()
    };
    let mut of_process: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    for (tenant, key) in all {
        let seen = held.store.lookup(&tenant, &key).await;
        let seen = seen.map_err(|error| Wrong::unread(format!("{key} cannot be read"), &error))?;
        let mut model = held.model.borrow_mut();
        let process = model.check_key(&tenant, &key, seen.as_ref(), settled)?;
        if let Some(process) = process {
            of_process.entry(process).or_default().push(key.to_string());
        }
    }
    let count = held.model.borrow().streams.len();
    for n in 0..count {
        let identity = held.model.borrow().streams[n].identity.clone();
        let found = held
            .store
            .keys_of(identity.tenant_id(), identity.process_id())
            .await
            .map_err(|error| Wrong::unread("the keys of a process cannot be read", &error))?;
        let mut found: Vec<String> = found.iter().map(ToString::to_string).collect();
        let mut must = of_process.remove(&n).unwrap_or_default();
        found.sort();
        must.sort();
        if found != must {
            return Err(Wrong::other(format!(
                "{} is said to have the keys {found:?}, and has {must:?}",
                identity.stream_id()
            )));
        }
    }
    Ok(())
}

async fn listed(held: Held<'_>) -> Result<(), Wrong> {
    let mut listed: Vec<StreamId> = Vec::new();
    loop {
        let page = held.store.list_streams(None, listed.last(), 7).await;
        let page = page.map_err(|error| Wrong::unread("streams cannot be listed", &error))?;
        let at_end = page.len() < 7;
        listed.extend(page);
        if at_end {
            break;
        }
    }
    let model = held.model.borrow();
    let there = model.streams.iter().filter(|stream| !stream.is_empty());
    let mut must: Vec<_> = there.map(|stream| stream.id().clone()).collect();
    must.sort();
    match listed == must {
        true => Ok(()),
        false => Err(Wrong::other(format!(
            "the streams {listed:?} are listed, and there are {must:?}"
        ))),
    }
}

/// The versions at which processes may be, and what was said of those that are
/// held.
async fn present(held: Held<'_>) -> Result<(), Wrong> {
    let unread = |error| Wrong::unread("what is present cannot be read", &error);
    let mut present = Vec::new();
    for version in Version::ALL {
        let id = version.id();
        let found = held.store.versions(id.name()).await.map_err(unread)?;
        if found.iter().any(|at| at.version == id) {
            present.push(version);
        }
    }
    let streams: Vec<_> = {
        let model = held.model.borrow();
        let streams = model.streams.iter();
        let seen = streams.map(|it| (it.id().clone(), it.version(), it.may_be_held()));
        seen.collect()
    };
    for (stream, version, may_be_held) in streams {
        if version.is_some_and(|version| !present.contains(&version)) {
            return Err(Wrong::other(format!(
                "{stream} is at {version:?}, at which nothing is said to be"
            )));
        }
        let hold = held.store.held(&stream).await.map_err(unread)?;
        if hold.is_some() && !may_be_held {
            return Err(Wrong::other(format!("{stream} is said to be held")));
        }
    }
    Ok(())
}

/// The rows of the database, by a scan that knows nothing of streams.
async fn tables(held: Held<'_>) -> Result<(), Wrong> {
    let seen = count(held.store)
        .await
        .map_err(|error| Wrong::other(format!("the database cannot be scanned: {error}")))?;
    let of = |table: char| seen.get(&table).copied().unwrap_or_default();
    let model = held.model.borrow();
    let events: u64 = model.streams.iter().map(|stream| stream.stored()).sum();
    let streams = model.streams.iter().filter(|stream| !stream.is_empty());
    let streams = streams.count() as u64;
    let told = [of('e'), of('h')];
    if told != [events, streams] || of('r') != of('k') || of('p') > 0 {
        return Err(Wrong::other(format!(
            "the database has the rows {seen:?}, for {events} events of {streams} streams"
        )));
    }
    Ok(())
}

async fn count(store: &SlateDbStore) -> Result<BTreeMap<char, u64>, slatedb::Error> {
    let options = ScanOptions::default().with_read_ahead_bytes(1 << 20);
    let rows = store.db().scan_with_options::<RangeFull>(.., &options);
    let mut rows = rows.await?;
    let mut seen = BTreeMap::new();
    while let Some(row) = rows.next().await? {
        let table = row.key.first().copied().map_or('?', char::from);
        *seen.entry(table).or_default() += 1;
    }
    Ok(seen)
}

/// What runs have counted, against what was migrated.
async fn runs(held: Held<'_>) -> Result<(), Wrong> {
    let unread = |error| Wrong::unread("the runs cannot be read", &error);
    let none = || Wrong::other("the store keeps no runs");
    let runs = Runs::of(held.store).ok_or_else(none)?;
    let mut by_run: BTreeMap<RunId, u64> = BTreeMap::new();
    for stream in &held.model.borrow().streams {
        for run in stream.runs() {
            *by_run.entry(run).or_default() += 1;
        }
    }
    let mut erased = 0;
    for run in runs.list().await.map_err(unread)? {
        let counts = runs.counts(run.id).await.map_err(unread)?;
        erased += counts.erased;
        if run.kind == RunKind::Erase {
            continue;
        }
        let must = by_run.remove(&run.id).unwrap_or_default();
        if counts.migrated != must {
            return Err(Wrong::other(format!(
                "run {} ({}) has counted {} processes, and migrated {must}",
                run.id, run.state, counts.migrated
            )));
        }
        let failures = runs.failures(run.id, None, None, 10_000).await;
        let failures = failures.map_err(unread)?.len() as u64;
        if counts.failed != failures {
            return Err(Wrong::other(format!(
                "run {} ({}) has counted {} failures, and has {failures}",
                run.id, run.state, counts.failed
            )));
        }
    }
    let streams = &held.model.borrow().streams;
    let gone: u64 = streams
        .iter()
        .map(|stream| stream.len() - stream.stored())
        .sum();
    if erased != gone {
        return Err(Wrong::other(format!(
            "{erased} events were counted as erased, and {gone} are gone"
        )));
    }
    match by_run.is_empty() {
        true => Ok(()),
        false => Err(Wrong::other(format!(
            "{by_run:?} migrated processes, and are in no record"
        ))),
    }
}

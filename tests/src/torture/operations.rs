//! The operations of a program beside runs: appends, registrations and reads.

use fastrand::Rng;
use futures_util::future::join_all;
use state_migration::{
    ConversationId, CorrelationId, Error, ErrorKind, EventStore, ExpectedSequence, Head, NewEvent,
    Process, ProcessIdentity, ProcessRegistry, RegistryKey, Snapshot, SnapshotStore,
};

use super::life::Life;
use super::model::{Asked, Wrong};
use super::workflows::{Happened, Version, pad};
use crate::orders::id;
use crate::torture_of_version;

/// Whether a write that failed like this has not happened.
fn is_refused(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Conflict
            | ErrorKind::Migrated { .. }
            | ErrorKind::WrongVersion { .. }
            | ErrorKind::Workflow
    )
}

impl Life<'_> {
    /// Draws a process.
    pub(super) fn any(&self, rng: &mut Rng) -> usize {
        rng.usize(0..self.world.model.borrow().streams.len())
    }

    pub(super) fn identity(&self, n: usize) -> ProcessIdentity {
        self.world.model.borrow().streams[n].identity.clone()
    }

    /// Draws events.
    fn events(&self, rng: &mut Rng) -> Vec<Happened> {
        let count = [1, 1, 1, 2, 5][rng.usize(0..5)];
        let mut model = self.world.model.borrow_mut();
        let mut event = || {
            let token = model.token();
            if rng.u32(0..25) == 0 {
                return Happened::Closed { token };
            }
            let len = match rng.u32(0..300) {
                0 => 150_000,
                1..10 => 3_000,
                _ => rng.usize(0..60),
            };
            Happened::Weighed {
                token,
                grams: rng.u64(0..5_000),
                pad: pad(len),
            }
        };
        (0..count).map(|_| event()).collect()
    }

    /// The question how an append ended, answered.
    pub(super) fn ended(&self, asked: Asked, events: u64, result: Result<(), &Error>) {
        let mut model = self.world.model.borrow_mut();
        match result {
            Ok(()) => {
                model.acknowledge(asked);
                self.world.count("appends");
                self.world.count_all("events acknowledged", events);
            }
            Err(error) if is_refused(error) => {
                model.refuse(asked);
                self.world.count("appends refused");
            }
            Err(_) => self.world.count("appends whose outcome was unknown"),
        }
    }
}

/// The events as the code of a version writes them.
pub(super) fn written(
    version: Version,
    events: &[Happened],
    was_closed: bool,
) -> Result<Vec<NewEvent>, Wrong> {
    let mut closed = was_closed;
    let write = |event: &Happened| {
        closed |= matches!(event, Happened::Closed { .. });
        let new = torture_of_version!(version, W => NewEvent::of::<W>(event));
        new.map(|new| new.finishing(closed))
    };
    let written: Result<Vec<_>, _> = events.iter().map(write).collect();
    written.map_err(|error| Wrong::other(error.to_string()))
}

fn expected(after: u64) -> ExpectedSequence {
    match after {
        0 => ExpectedSequence::NoStream,
        after => ExpectedSequence::Exact(after),
    }
}

fn stands_at(head: Option<&Head>, identity: &ProcessIdentity, rng: &mut Rng) -> Option<Version> {
    match head {
        Some(head) => Version::of(&head.workflow_id),
        None => {
            let line = Version::of(&identity.workflow_id)?.line();
            let born = if rng.u32(0..10) < 7 {
                0
            } else {
                rng.usize(0..line.len())
            };
            line.get(born).copied()
        }
    }
}

/// Appends to one process, by one of the ways that there are.
pub(super) async fn append(life: &Life<'_>, rng: &mut Rng, n: usize) -> Result<(), Wrong> {
    let identity = life.identity(n);
    let Ok(head) = life.store.head(identity.stream_id()).await else {
        life.world.count("reads that failed");
        return Ok(());
    };
    let Some(version) = stands_at(head.as_ref(), &identity, rng) else {
        return Err(Wrong::other(format!("a head of no version: {head:?}")));
    };
    let events = life.events(rng);
    match rng.u32(0..3) {
        0 => by_process(life, n, version, events).await,
        _ => {
            let after = head.as_ref().map_or(0, |head| head.sequence);
            let was_closed = head.is_some_and(|head| head.finished);
            by_store(life, n, (after, was_closed), version, events)
                .await
                .map(drop)
        }
    }
}

async fn by_process(
    life: &Life<'_>,
    n: usize,
    version: Version,
    events: Vec<Happened>,
) -> Result<(), Wrong> {
    let of_process = life.identity(n);
    let identity = ProcessIdentity::new(
        of_process.process_id().clone(),
        of_process.tenant_id().clone(),
        version.id(),
    );
    let (store, snapshots) = (life.store.clone(), life.store.clone());
    torture_of_version!(version, W => {
        match Process::<W>::open(identity, store, snapshots).await {
            Ok(mut process) => {
                let at = process.sequence();
                let asked = life.world.model.borrow_mut().ask(n, at, version, events.clone());
                let appended = process.append(&events).await;
                life.ended(asked, events.len() as u64, appended.as_ref().copied());
            }
            Err(error) if *error.kind() == ErrorKind::Corrupt => {
                return Err(Wrong::unread(format!("process {n} cannot be opened"), &error));
            }
            Err(_) => life.world.count("reads that failed"),
        }
    });
    Ok(())
}

/// Appends after a place; returns whether that was acknowledged, if it is known.
pub(super) async fn by_store(
    life: &Life<'_>,
    n: usize,
    (after, was_closed): (u64, bool),
    version: Version,
    events: Vec<Happened>,
) -> Result<Option<bool>, Wrong> {
    let stream = life.identity(n).stream_id().clone();
    let new = written(version, &events, was_closed)?;
    let count = events.len() as u64;
    let asked = {
        let mut model = life.world.model.borrow_mut();
        model.ask(n, after, version, events)
    };
    let appended = life.store.append(&stream, expected(after), new).await;
    if let Ok(appended) = &appended
        && appended.last_sequence != after + count
    {
        return Err(Wrong::other(format!(
            "an append of {count} after {after} of {stream} ended at {}",
            appended.last_sequence
        )));
    }
    life.ended(asked, count, appended.as_ref().map(drop));
    Ok(match appended {
        Ok(_) => Some(true),
        Err(error) => is_refused(&error).then_some(false),
    })
}

pub(super) async fn append_some(life: &Life<'_>, rng: &mut Rng, times: u32) -> Result<(), Wrong> {
    for _ in 0..times {
        let n = life.any(rng);
        append(life, rng, n).await?;
    }
    Ok(())
}

/// An append at another place than the end conflicts, and writes nothing.
pub(super) async fn wrong_place(life: &Life<'_>, rng: &mut Rng) -> Result<(), Wrong> {
    let n = life.any(rng);
    let identity = life.identity(n);
    let Ok(head) = life.store.head(identity.stream_id()).await else {
        return Ok(());
    };
    let Some(version) = stands_at(head.as_ref(), &identity, rng) else {
        return Ok(());
    };
    let end = head.as_ref().map_or(0, |head| head.sequence);
    let place = match rng.bool() && end > 0 {
        true => rng.u64(0..end),
        false => end + rng.u64(1..4),
    };
    let events = life.events(rng);
    let ended = by_store(life, n, (place, false), version, events).await?;
    match ended {
        Some(true) => Err(Wrong::other(format!(
            "an append after {place} of {} was acknowledged, which ends at {end}",
            identity.stream_id()
        ))),
        _ => Ok(()),
    }
}

/// Code of another version than that of the process writes nothing.
pub(super) async fn wrong_version(life: &Life<'_>, rng: &mut Rng) -> Result<(), Wrong> {
    let n = life.any(rng);
    let identity = life.identity(n);
    let stream = identity.stream_id().clone();
    let Ok(Some(head)) = life.store.head(&stream).await else {
        return Ok(());
    };
    let others = Version::ALL.into_iter();
    let others: Vec<_> = others.filter(|v| v.id() != head.workflow_id).collect();
    let other = others[rng.usize(0..others.len())];
    let result = match rng.u32(0..3) {
        0 => {
            let events = written(other, &life.events(rng), false)?;
            let end = ExpectedSequence::Exact(head.sequence);
            life.store.append(&stream, end, events).await.map(drop)
        }
        1 => {
            let snapshot = Snapshot {
                stream_id: stream.clone(),
                sequence: head.sequence,
                workflow_id: other.id(),
                state_schema_version: 1,
                state: "{}".into(),
            };
            life.store.save(&snapshot).await
        }
        _ => {
            let (process, tenant) = (identity.process_id(), identity.tenant_id());
            let old = ProcessIdentity::new(process.clone(), tenant.clone(), other.id());
            let key = RegistryKey::Process(process.clone());
            life.store.register(tenant, &key, &old).await
        }
    };
    match result {
        Ok(()) => Err(Wrong::other(format!(
            "code of {other:?} wrote to {stream}, which is at {}",
            head.workflow_id
        ))),
        Err(error) => match error.kind() {
            ErrorKind::Migrated { .. } | ErrorKind::WrongVersion { .. } => {
                life.world.count("writes of a wrong version refused");
                Ok(())
            }
            ErrorKind::Conflict => Err(Wrong::other(format!(
                "code of {other:?} got a conflict at {stream}, expected a fence: {error}"
            ))),
            _ => Ok(()),
        },
    }
}

/// Of several that append at the same place, one gets through.
pub(super) async fn race(life: &Life<'_>, rng: &mut Rng, writers: u32) -> Result<(), Wrong> {
    let n = life.any(rng);
    let identity = life.identity(n);
    let Ok(head) = life.store.head(identity.stream_id()).await else {
        return Ok(());
    };
    let Some(version) = stands_at(head.as_ref(), &identity, rng) else {
        return Ok(());
    };
    let end = head.as_ref().map_or(0, |head| head.sequence);
    let closed = head.is_some_and(|head| head.finished);
    let all: Vec<_> = (0..writers).map(|_| life.events(rng)).collect();
    let races = all
        .into_iter()
        .map(|events| by_store(life, n, (end, closed), version, events));
    let results: Result<Vec<_>, _> = join_all(races).await.into_iter().collect();
    let results = results?;
    life.world.count("races");
    let won = results
        .iter()
        .filter(|result| **result == Some(true))
        .count();
    let refused = results
        .iter()
        .filter(|result| **result == Some(false))
        .count();
    if won > 1 || refused == results.len() {
        return Err(Wrong::other(format!(
            "of {writers} appends after {end} of {}, {won} were acknowledged and {refused} refused",
            identity.stream_id()
        )));
    }
    Ok(())
}

pub(super) async fn snapshot(life: &Life<'_>, rng: &mut Rng) -> Result<(), Wrong> {
    let n = life.any(rng);
    let identity = life.identity(n);
    let Ok(Some(head)) = life.store.head(identity.stream_id()).await else {
        return Ok(());
    };
    let Some(version) = Version::of(&head.workflow_id) else {
        return Ok(());
    };
    let (store, snapshots) = (life.store.clone(), life.store.clone());
    let saved = torture_of_version!(version, W => {
        match Process::<W>::open(identity, store, snapshots).await {
            Ok(process) => process.take_snapshot().await,
            Err(error) => Err(error),
        }
    });
    if saved.is_ok() {
        life.world.count("snapshots saved");
    }
    Ok(())
}

/// Puts an entry, or removes one.
pub(super) async fn registry(life: &Life<'_>, rng: &mut Rng) -> Result<(), Wrong> {
    for _ in 0..rng.u32(1..6) {
        let n = life.any(rng);
        let identity = life.identity(n);
        let Ok(Some(head)) = life.store.head(identity.stream_id()).await else {
            continue;
        };
        let tenant = identity.tenant_id();
        let number = rng.u32(0..6);
        let key = match rng.u32(0..3) {
            0 => RegistryKey::Process(identity.process_id().clone()),
            1 => RegistryKey::Conversation(id::<ConversationId>(&format!("c{number}"))),
            _ => RegistryKey::Correlation(id::<CorrelationId>(&format!("c {number}"))),
        };
        let removed = match rng.u32(0..4) {
            0 => match life.store.lookup(tenant, &key).await {
                Ok(Some(entry)) => Some(entry),
                Ok(None) | Err(_) => continue,
            },
            _ => None,
        };
        let becomes = removed.is_none().then_some(n);
        life.world.model.borrow_mut().key(tenant, &key).ask(becomes);
        let result = if let Some(entry) = removed {
            life.store.remove(tenant, &key, &entry).await
        } else {
            let process = identity.process_id().clone();
            let identity = ProcessIdentity::new(process, tenant.clone(), head.workflow_id);
            life.store.register(tenant, &key, &identity).await
        };
        let mut model = life.world.model.borrow_mut();
        match result {
            Ok(()) => {
                model.key(tenant, &key).acknowledge();
                life.world.count("registry entries changed");
            }
            Err(error) if is_refused(&error) => model.key(tenant, &key).refuse(),
            Err(_) => {}
        }
    }
    Ok(())
}

/// Takes a process out of all runs, or puts it back.
pub(super) async fn hold(life: &Life<'_>, rng: &mut Rng) -> Result<(), Wrong> {
    let n = life.any(rng);
    let stream = life.identity(n).stream_id().clone();
    let Ok(Some(_)) = life.store.head(&stream).await else {
        return Ok(());
    };
    let holds = rng.bool();
    let runs = life.runs()?;
    life.world.model.borrow_mut().streams[n].held().ask(holds);
    let result = match holds {
        true => runs.hold(&stream, "the torture", "at random").await,
        false => runs.release(&stream, "the torture", "at random").await,
    };
    if result.is_ok() {
        let mut model = life.world.model.borrow_mut();
        model.streams[n].held().acknowledge();
        life.world.count("processes held or put back");
    }
    Ok(())
}

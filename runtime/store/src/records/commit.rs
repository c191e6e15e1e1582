//! Commit of a batch, on the condition that heads have the expected revisions
//! and rows the expected values.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use state_migration_core::{
    Batch, Commit, Error, ErrorKind, Expected, Head, ReadPoint, RowWrite, RunId, Stale, StreamId,
    Timestamp, WorkflowId,
};

use crate::key::{self, PerStream};
use crate::kv::{Kv, KvTxn};
use crate::record::{self, Closing};
use crate::records::due::OpenRead;
use crate::records::{
    ATTEMPTS, RecordStore, closing, closing_of, put_events, read_head, record_arrivals, rounds_of,
};

/// How long the transaction that read a page can be used to commit it. The
/// limit exists because the engine retains later writes while a transaction is
/// open.
const FRESH: Duration = Duration::from_millis(200);

/// The number of heads read concurrently.
const AT_A_TIME: usize = 16;

/// Commits a batch, which is not yet durable when this returns.
pub(crate) async fn batch<K: Kv>(
    store: &RecordStore<K>,
    batch: &Batch,
    read: ReadPoint,
) -> Result<Commit, Error> {
    store.kv().check_writable()?;
    if batch.is_empty() && batch.guards.is_empty() {
        return Ok(Commit::Written);
    }
    check(batch)?;
    let open = read.into::<OpenRead<K::Txn>>();
    // Any change of a head since the page was read conflicts with this
    // transaction.
    let mut fresh = open
        .filter(|open| open.began.elapsed() < FRESH && open.has_read(heads(batch)))
        .map(|open| open.txn);
    let held = batch.moves.iter().filter(|it| it.head.held);
    let held: Vec<StreamId> = held.map(|it| it.stream.clone()).collect();
    for _ in 0..ATTEMPTS {
        let (mut txn, heads_hold) = match fresh.take() {
            Some(txn) => (txn, true),
            None => (store.kv().begin()?, false),
        };
        let mut stale = Stale {
            streams: held.clone(),
            ..Stale::default()
        };
        if !heads_hold {
            stale.streams.extend(stale_heads(&txn, batch).await?);
        }
        stale.rows = stale_rows(&txn, batch).await?;
        if stale != Stale::default() {
            stale.streams.sort();
            stale.streams.dedup();
            return Ok(Commit::Stale(stale));
        }
        put(&mut txn, batch).await?;
        match txn.commit().await {
            Ok(()) => return Ok(Commit::Written),
            Err(error) if error.is_conflict() => {}
            Err(error) => return Err(error),
        }
    }
    Err(Error::new(
        ErrorKind::Conflict,
        format!(
            "gave up on a batch after {ATTEMPTS} conflicts with concurrent writes; try again later"
        ),
    ))
}

fn check(batch: &Batch) -> Result<(), Error> {
    let mut streams: Vec<&StreamId> = heads(batch).map(|(stream, _)| stream).collect();
    streams.sort();
    match streams.windows(2).find(|pair| pair[0] == pair[1]) {
        None => Ok(()),
        Some(twice) => Err(Error::invalid(format!(
            "a batch changes stream {} twice",
            twice[0]
        ))),
    }
}

/// The heads that a batch changes, as it expects them.
fn heads(batch: &Batch) -> impl Iterator<Item = (&StreamId, &Head)> {
    let moves = batch.moves.iter().map(|it| (&it.stream, &it.head));
    let finished = batch.finished.iter().map(|it| (&it.stream, &it.head));
    let erased = batch.erased.iter().map(|it| (&it.stream, &it.head));
    moves.chain(finished).chain(erased)
}

/// The streams whose heads have another revision than expected, or are gone.
async fn stale_heads<T: KvTxn>(txn: &T, batch: &Batch) -> Result<Vec<StreamId>, Error> {
    // By value: a future that borrows from the batch would not be `Send`.
    let expected: Vec<(StreamId, u64)> = heads(batch)
        .map(|(stream, head)| (stream.clone(), head.revision))
        .collect();
    let reads = expected.into_iter().map(|(stream, revision)| async move {
        let now = read_head(txn, &stream).await;
        (stream, revision, now)
    });
    let mut reads = stream::iter(reads).buffered(AT_A_TIME);
    let mut stale = Vec::new();
    while let Some((stream, revision, now)) = reads.next().await {
        if now?.is_none_or(|now| now.revision != revision) {
            stale.push(stream);
        }
    }
    Ok(stale)
}

/// The rows without the expected value. Guards are marked, so that they still
/// have that value when the batch is committed.
async fn stale_rows<T: KvTxn>(txn: &T, batch: &Batch) -> Result<Vec<Vec<u8>>, Error> {
    let guards = batch.guards.iter().map(|(key, held)| (key, held, true));
    let writes = batch.rows.iter().filter_map(|row| match &row.expected {
        Expected::Anything => None,
        Expected::Exactly(held) => Some((&row.key, held, false)),
    });
    let all: Vec<(&Vec<u8>, &Option<Bytes>, bool)> = guards.chain(writes).collect();
    let mut stale = Vec::new();
    for (key, held, is_guard) in all {
        let row_key = key::run_row(key);
        if txn.get(&row_key).await? != *held {
            stale.push(key.clone());
        }
        if is_guard {
            txn.mark_read(&row_key)?;
        }
    }
    Ok(stale)
}

async fn put<T: KvTxn>(txn: &mut T, batch: &Batch) -> Result<(), Error> {
    let now = Timestamp::now();
    let mut arrivals: BTreeMap<&WorkflowId, Vec<&StreamId>> = BTreeMap::new();
    for version in &batch.present {
        arrivals.entry(version).or_default();
    }
    for it in &batch.moves {
        let head = it.head.after_migration(&it.stream, &it.event)?;
        put_events(txn, &it.stream, &head, std::slice::from_ref(&it.event), now)?;
        if it.update_registry {
            txn.put(
                PerStream::PendingRegistryUpdate.key(&it.stream),
                record::mark(),
            )?;
        }
        if !batch.arrivals_are_known {
            let target = it.event.workflow_id();
            arrivals.entry(target).or_default().push(&it.stream);
        }
    }
    for (version, streams) in arrivals {
        record_arrivals(txn, version, streams).await?;
    }
    for it in &batch.finished {
        let head = it.head.after_finish(it.by);
        txn.put(PerStream::Head.key(&it.stream), record::write_head(&head)?)?;
    }
    for it in &batch.erased {
        let head = it.head.after_erasure(&it.stream, it.before)?;
        for sequence in it.head.first_kept..it.before {
            txn.delete(key::event(&it.stream, sequence))?;
        }
        let snapshot_key = PerStream::Snapshot.key(&it.stream);
        // A snapshot that cannot be read is of no use.
        if let Some(row) = txn.get(&snapshot_key).await?
            && !record::read_snapshot(row, &it.stream)
                .is_ok_and(|found| found.sequence >= it.before)
        {
            txn.delete(snapshot_key)?;
        }
        txn.put(PerStream::Head.key(&it.stream), record::write_head(&head)?)?;
    }
    let mut rounds = BTreeMap::new();
    for (version, stream) in &batch.births {
        if !rounds.contains_key(version) {
            rounds.insert(version, rounds_of(txn, version).await?);
        }
        for round in rounds[version].clone() {
            txn.delete(key::birth(version, round, stream))?;
        }
    }
    if let Some((run, versions)) = &batch.closing {
        for version in versions {
            // The births that an earlier run recorded and did not handle remain
            // in their rounds.
            let (first, round) = rounds_of(txn, version).await?.into_inner();
            let run = *run;
            let closing = Closing { run, round, first };
            let row = record::write_presence(Some(closing));
            txn.put(key::presence(version), row)?;
        }
    }
    for row in &batch.rows {
        write_row(txn, row)?;
    }
    Ok(())
}

/// Writes a row of the bookkeeping.
pub(crate) fn write_row(txn: &mut impl KvTxn, row: &RowWrite) -> Result<(), Error> {
    let key = key::run_row(&row.key);
    match &row.value {
        Some(value) => txn.put(key, value.to_vec()),
        None => txn.delete(key),
    }
}

/// Begins the next round of births at a version. It conflicts with every birth
/// in progress, but not with those already committed.
async fn next_round<K: Kv>(
    store: &RecordStore<K>,
    version: &WorkflowId,
    closing: Closing,
) -> Result<(), Error> {
    let mut txn = store.kv().begin()?;
    if closing_of(&txn, version).await? != Some(closing) {
        return Ok(());
    }
    let next = Closing {
        first: closing.round,
        round: closing.round.saturating_add(1),
        ..closing
    };
    txn.put(key::presence(version), record::write_presence(Some(next)))?;
    match txn.commit().await {
        // The round may also begin later.
        Err(error) if !error.is_conflict() => Err(error),
        _ => Ok(()),
    }
}

/// Ends the closing of a version unless births are left. The range of births is
/// in the read set of a serializable transaction: a birth that read the
/// presence before and commits meanwhile conflicts with it. If births are left,
/// the next round begins.
pub(crate) async fn close<K: Kv>(
    store: &RecordStore<K>,
    version: &WorkflowId,
    run: RunId,
    empty: bool,
) -> Result<bool, Error> {
    use crate::records::ROW;
    use crate::records::rows::Rows;
    store.kv().check_writable()?;
    let presence = key::presence(version);
    for _ in 0..ATTEMPTS {
        let mut txn = store.kv().begin_serializable()?;
        let Some(row) = txn.get(&presence).await? else {
            return Ok(true);
        };
        let Some(closing) = closing(row, version)?.filter(|it| it.run == run) else {
            return Ok(true);
        };
        let rounds = key::births(version, closing.rounds());
        let mut births = Rows::scan(&txn, rounds, ROW).await?;
        let left = births.next().await?;
        drop(births);
        if let Some((row_key, _)) = left {
            let (round, _) = key::read_birth(&row_key, version)?;
            // All births of earlier rounds are removed, and no more can be
            // recorded there.
            if round == closing.round {
                next_round(store, version, closing).await?;
            }
            return Ok(false);
        }
        match empty {
            true => txn.delete(presence.clone())?,
            false => txn.put(presence.clone(), record::write_presence(None))?,
        }
        match txn.commit().await {
            Ok(()) => {
                store.flush().await?;
                return Ok(true);
            }
            Err(error) if error.is_conflict() => {}
            Err(error) => return Err(error),
        }
    }
    // Every attempt conflicted with births, so births are left.
    Ok(false)
}

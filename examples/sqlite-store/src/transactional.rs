//! The operations that only a store with transactions over all parts can offer.

use std::collections::BTreeSet;

use async_trait::async_trait;
use bytes::Bytes;
use rusqlite::{OptionalExtension, Transaction, params};
use state_migration::{
    Batch, Commit, DueFilter, DuePage, DueRequest, Error, ErrorKind, Expected, Head, Hold,
    Partitioning, Presence, ReadPoint, RowWrite, RunId, Stale, StoreId, StreamId, StreamRange,
    Timestamp, TransactionalStore, Verdict, WorkflowId,
};

use crate::convert::{self, integer, limit, number, put_head, read_head};
use crate::events::{put_events, record_arrival};
use crate::{Failure, SqliteStore, corrupt, page};

fn row(transaction: &Transaction<'_>, key: &[u8]) -> Result<Option<Bytes>, Failure> {
    let mut query = transaction.prepare_cached("SELECT value FROM run_rows WHERE key = ?1")?;
    let value: Option<Vec<u8>> = query.query_row([key], |row| row.get(0)).optional()?;
    Ok(value.map(Bytes::from))
}

fn put_row(transaction: &Transaction<'_>, row: &RowWrite) -> Result<(), Failure> {
    match &row.value {
        Some(value) => transaction
            .prepare_cached("INSERT OR REPLACE INTO run_rows VALUES (?1, ?2)")?
            .execute(params![row.key, &value[..]])?,
        None => transaction
            .prepare_cached("DELETE FROM run_rows WHERE key = ?1")?
            .execute([&row.key])?,
    };
    Ok(())
}

/// The run that closes a version; `None` if the version is open or not present.
fn closing(transaction: &Transaction<'_>, version: &WorkflowId) -> Result<Option<RunId>, Failure> {
    let run: Option<Option<String>> = transaction
        .prepare_cached("SELECT closing FROM versions WHERE name = ?1 AND version = ?2")?
        .query_row([version.name(), version.version()], |row| row.get(0))
        .optional()?;
    run.flatten().map(|run| run_id(&run)).transpose()
}

fn run_id(run: &str) -> Result<RunId, Failure> {
    run.parse().map_err(|_| corrupt("the id of a run", run))
}

/// The streams in the result of a query.
fn streams(
    transaction: &Transaction<'_>,
    query: &str,
    parameters: impl rusqlite::Params,
) -> Result<Vec<StreamId>, Failure> {
    let mut query = transaction.prepare_cached(query)?;
    let mut rows = query.query(parameters)?;
    let mut streams = Vec::new();
    while let Some(row) = rows.next()? {
        streams.push(convert::stream(row)?);
    }
    Ok(streams)
}

/// Checks a batch: whether it changes each stream once, and what in it is stale.
fn check(transaction: &Transaction<'_>, batch: &Batch) -> Result<Stale, Failure> {
    let moves = batch.moves.iter().map(|it| (&it.stream, &it.head, true));
    let finished = batch
        .finished
        .iter()
        .map(|it| (&it.stream, &it.head, false));
    let erased = batch.erased.iter().map(|it| (&it.stream, &it.head, false));
    let (mut seen, mut stale) = (BTreeSet::new(), Stale::default());
    for (stream, head, is_move) in moves.chain(finished).chain(erased) {
        if !seen.insert(stream) {
            let text = format!("a batch changes stream {stream} twice");
            return Err(Error::new(ErrorKind::Invalid, text).into());
        }
        let now = read_head(transaction, stream)?;
        let is_as_read = |now: Head| now.revision == head.revision && !(is_move && now.held);
        if !now.is_some_and(is_as_read) {
            stale.streams.push(stream.clone());
        }
    }
    let guards = batch.guards.iter().map(|(key, value)| (key, value));
    let rows = batch.rows.iter().filter_map(|row| match &row.expected {
        Expected::Anything => None,
        Expected::Exactly(value) => Some((&row.key, value)),
    });
    for (key, value) in guards.chain(rows) {
        if row(transaction, key)? != *value {
            stale.rows.push(key.clone());
        }
    }
    Ok(stale)
}

fn commit(transaction: &Transaction<'_>, batch: &Batch) -> Result<Commit, Failure> {
    let stale = check(transaction, batch)?;
    if stale != Stale::default() {
        return Ok(Commit::Stale(stale));
    }
    for it in &batch.moves {
        let head = it.head.after_migration(&it.stream, &it.event)?;
        record_arrival(transaction, &head.workflow_id, &it.stream)?;
        put_events(
            transaction,
            &it.stream,
            &head,
            std::slice::from_ref(&it.event),
        )?;
        if it.update_registry {
            transaction
                .prepare_cached("INSERT OR IGNORE INTO pending_registry_updates VALUES (?1)")?
                .execute([it.stream.as_str()])?;
        }
    }
    for it in &batch.finished {
        put_head(transaction, &it.stream, &it.head.after_finish(it.by))?;
    }
    for it in &batch.erased {
        let head = it.head.after_erasure(&it.stream, it.before)?;
        for table in ["events", "snapshots"] {
            let delete = format!("DELETE FROM {table} WHERE stream = ?1 AND sequence < ?2");
            transaction
                .prepare_cached(&delete)?
                .execute((it.stream.as_str(), it.before.cast_signed()))?;
        }
        put_head(transaction, &it.stream, &head)?;
    }
    for (version, stream) in &batch.births {
        transaction
            .prepare_cached("DELETE FROM births WHERE name = ?1 AND version = ?2 AND stream = ?3")?
            .execute([version.name(), version.version(), stream.as_str()])?;
    }
    for version in &batch.present {
        transaction
            .prepare_cached("INSERT OR IGNORE INTO versions VALUES (?1, ?2, NULL)")?
            .execute([version.name(), version.version()])?;
    }
    if let Some((run, versions)) = &batch.closing {
        for version in versions {
            transaction
                .prepare_cached("INSERT OR REPLACE INTO versions VALUES (?1, ?2, ?3)")?
                .execute([version.name(), version.version(), &run.to_string()])?;
        }
    }
    for row in &batch.rows {
        put_row(transaction, row)?;
    }
    Ok(Commit::Written)
}

/// Splits each range at every `step`-th of its heads.
fn cut(within: &[StreamRange], heads: &[Vec<StreamId>], step: usize) -> Vec<StreamRange> {
    let mut ranges = Vec::new();
    for (range, streams) in within.iter().zip(heads) {
        let mut after = range.after.clone();
        // The last part of a range ends where the range ends, and takes what is left.
        let parts = (streams.len() / step).max(1);
        for part in 1..parts {
            let through = streams.get(part * step - 1).cloned();
            ranges.push(StreamRange {
                after: std::mem::replace(&mut after, through.clone()),
                through,
            });
        }
        ranges.push(StreamRange {
            after,
            through: range.through.clone(),
        });
    }
    ranges
}

#[async_trait]
impl TransactionalStore for SqliteStore {
    fn store_id(&self) -> StoreId {
        self.shared.id
    }

    async fn versions(&self, name: &str) -> Result<Vec<Presence>, Error> {
        let name = name.to_owned();
        self.read(move |transaction| {
            let mut query = transaction.prepare_cached("SELECT * FROM versions WHERE name = ?1")?;
            let mut rows = query.query([&name])?;
            let mut versions = Vec::new();
            while let Some(row) = rows.next()? {
                let closing: Option<String> = row.get("closing")?;
                versions.push(Presence {
                    version: convert::version(row)?,
                    closing: closing.map(|run| run_id(&run)).transpose()?,
                });
            }
            versions.sort_by(|a, b| a.version.cmp(&b.version));
            Ok(versions)
        })
        .await
    }

    async fn split(
        &self,
        within: &[StreamRange],
        filter: &dyn DueFilter,
        parts: usize,
        at_least: usize,
    ) -> Result<Partitioning, Error> {
        let ranges = within.to_vec();
        let heads = self.read(move |transaction| {
            let read = |range| page::heads_of(transaction, range, usize::MAX);
            ranges.iter().map(read).collect::<Result<Vec<_>, _>>()
        });
        let mut split = Partitioning {
            due: Some(Default::default()),
            ..Partitioning::default()
        };
        let mut all = Vec::new();
        for heads in heads.await? {
            split.heads += heads.len() as u64;
            for (stream, head) in &heads {
                let is_due = matches!(
                    page::verdict(filter, stream, head),
                    Some(Verdict::Due | Verdict::Head)
                );
                if let Some(due) = split.due.as_mut().filter(|_| is_due) {
                    *due.entry(head.workflow_id.clone()).or_default() += 1;
                }
            }
            all.push(
                heads
                    .into_iter()
                    .map(|(stream, _)| stream)
                    .collect::<Vec<_>>(),
            );
        }
        let total: usize = all.iter().map(Vec::len).sum();
        let step = total.div_ceil(parts.max(1)).max(at_least).max(1);
        split.ranges = cut(within, &all, step);
        Ok(split)
    }

    async fn read_due(&self, request: DueRequest) -> Result<DuePage, Error> {
        self.read(move |transaction| page::read(transaction, &request))
            .await
    }

    async fn commit_unflushed(&self, batch: &Batch, _: ReadPoint) -> Result<Commit, Error> {
        let batch = batch.clone();
        self.write(move |transaction| commit(transaction, &batch))
            .await
    }

    async fn births(&self, version: &WorkflowId, most: usize) -> Result<Vec<StreamId>, Error> {
        let version = version.clone();
        self.read(move |transaction| {
            streams(
                transaction,
                "SELECT stream FROM births WHERE name = ?1 AND version = ?2 \
                 ORDER BY stream LIMIT ?3",
                params![version.name(), version.version(), limit(most)],
            )
        })
        .await
    }

    async fn end_closing(
        &self,
        version: &WorkflowId,
        run: RunId,
        empty: bool,
    ) -> Result<bool, Error> {
        let version = version.clone();
        self.write(move |transaction| {
            if closing(transaction, &version)? != Some(run) {
                return Ok(true);
            }
            let at = [version.name(), version.version()];
            let has_births: bool = transaction.query_row(
                "SELECT EXISTS (SELECT 1 FROM births WHERE name = ?1 AND version = ?2)",
                at,
                |row| row.get(0),
            )?;
            if has_births {
                return Ok(false);
            }
            transaction.execute(
                match empty {
                    true => "DELETE FROM versions WHERE name = ?1 AND version = ?2",
                    false => "UPDATE versions SET closing = NULL WHERE name = ?1 AND version = ?2",
                },
                at,
            )?;
            Ok(true)
        })
        .await
    }

    async fn hold(
        &self,
        stream: &StreamId,
        hold: Option<Hold>,
        record: RowWrite,
    ) -> Result<Option<Head>, Error> {
        let stream = stream.clone();
        self.write(move |transaction| {
            let Some(head) = read_head(transaction, &stream)? else {
                return Ok(None);
            };
            let head = head.after_hold(hold.is_some());
            put_head(transaction, &stream, &head)?;
            match hold {
                Some(Hold {
                    actor,
                    reason,
                    time,
                }) => transaction.execute(
                    "INSERT OR REPLACE INTO holds VALUES (?1, ?2, ?3, ?4)",
                    params![
                        stream.as_str(),
                        &*actor,
                        &*reason,
                        integer(time.as_micros())
                    ],
                )?,
                None => {
                    transaction.execute("DELETE FROM holds WHERE stream = ?1", [stream.as_str()])?
                }
            };
            put_row(transaction, &record)?;
            Ok(Some(head))
        })
        .await
    }

    async fn held(&self, stream: &StreamId) -> Result<Option<Hold>, Error> {
        let stream = stream.clone();
        self.read(move |transaction| {
            let mut query = transaction.prepare_cached("SELECT * FROM holds WHERE stream = ?1")?;
            let mut rows = query.query([stream.as_str()])?;
            let Some(row) = rows.next()? else {
                return Ok(None);
            };
            let (actor, reason): (String, String) = (row.get("actor")?, row.get("reason")?);
            Ok(Some(Hold {
                actor: actor.into(),
                reason: reason.into(),
                time: Timestamp::from_micros(number(row, "time")?),
            }))
        })
        .await
    }

    async fn pending_registry_updates(
        &self,
        after: Option<&StreamId>,
        most: usize,
    ) -> Result<Vec<StreamId>, Error> {
        let after = after.map_or("", StreamId::as_str).to_owned();
        self.read(move |transaction| {
            streams(
                transaction,
                "SELECT stream FROM pending_registry_updates WHERE stream > ?1 \
                 ORDER BY stream LIMIT ?2",
                params![after, limit(most)],
            )
        })
        .await
    }

    async fn forget(&self, streams: &[StreamId]) -> Result<(), Error> {
        let streams = streams.to_vec();
        self.write(move |transaction| {
            for stream in &streams {
                transaction
                    .prepare_cached("DELETE FROM pending_registry_updates WHERE stream = ?1")?
                    .execute([stream.as_str()])?;
            }
            Ok(())
        })
        .await
    }

    async fn rows(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        most: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, Error> {
        let (prefix, after) = (prefix.to_vec(), after.unwrap_or_default().to_vec());
        self.read(move |transaction| {
            let mut query = transaction.prepare_cached(
                "SELECT key, value FROM run_rows WHERE key >= ?1 AND key > ?2 ORDER BY key",
            )?;
            let mut found = query.query([&prefix, &after])?;
            let mut rows = Vec::new();
            while rows.len() < most
                && let Some(row) = found.next()?
            {
                let (key, value): (Vec<u8>, Vec<u8>) = (row.get(0)?, row.get(1)?);
                if !key.starts_with(&prefix) {
                    break;
                }
                rows.push((key.into(), value.into()));
            }
            Ok(rows)
        })
        .await
    }
}

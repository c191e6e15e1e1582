//! Event streams.

use std::sync::Arc;

use async_trait::async_trait;
use rusqlite::{Row, Transaction, named_params, params};
use state_migration::{
    Appended, DurableStoreId, Error, Event, EventStore, ExpectedSequence, Head, NewEvent, StreamId,
    Timestamp, TransactionalStore, WorkflowId,
};

use crate::convert::{self, integer, limit, number, put_head, read_head};
use crate::{Failure, SqliteStore, corrupt};

/// Puts events after the end of a stream, and its new head.
pub(crate) fn put_events(
    transaction: &Transaction<'_>,
    stream: &StreamId,
    head: &Head,
    events: &[NewEvent],
) -> Result<(), Failure> {
    let time = integer(Timestamp::now().as_micros());
    let first = head.sequence - events.len() as u64 + 1;
    let mut insert = transaction.prepare_cached(
        "INSERT INTO events VALUES (:stream, :sequence, :event_id, :time, :name, :version, \
         :event_type, :schema, :payload, :metadata, :finishes)",
    )?;
    for (event, sequence) in events.iter().zip(first..) {
        insert.execute(named_params! {
            ":stream": stream.as_str(),
            ":sequence": integer(sequence),
            ":event_id": event.event_id().to_string(),
            ":time": time,
            ":name": event.workflow_id().name(),
            ":version": event.workflow_id().version(),
            ":event_type": event.event_type(),
            ":schema": event.schema_version(),
            ":payload": &event.payload()[..],
            ":metadata": serde_json::json!(event.metadata()).to_string(),
            ":finishes": event.finishes(),
        })?;
    }
    put_head(transaction, stream, head)
}

/// Records that a process arrives at a version, by its first event or by a
/// migration. While a run closes the version, the arrival is recorded for it.
pub(crate) fn record_arrival(
    transaction: &Transaction<'_>,
    version: &WorkflowId,
    stream: &StreamId,
) -> Result<(), Failure> {
    let at = (version.name(), version.version());
    transaction
        .prepare_cached("INSERT OR IGNORE INTO versions VALUES (?1, ?2, NULL)")?
        .execute(at)?;
    transaction
        .prepare_cached(
            "INSERT OR IGNORE INTO births SELECT name, version, ?3 FROM versions \
             WHERE name = ?1 AND version = ?2 AND closing IS NOT NULL",
        )?
        .execute(params![at.0, at.1, stream.as_str()])?;
    Ok(())
}

fn event(row: &Row<'_>, stream: &StreamId) -> Result<Event, Failure> {
    let (id, metadata): (String, String) = (row.get("event_id")?, row.get("metadata")?);
    let (event_type, payload): (String, Vec<u8>) = (row.get("event_type")?, row.get("payload")?);
    Ok(Event {
        event_id: id.parse().map_err(|_| corrupt("the id of an event", &id))?,
        stream_id: stream.clone(),
        sequence: number(row, "sequence")?,
        time: Timestamp::from_micros(number(row, "time")?),
        workflow_id: convert::version(row)?,
        event_type: event_type.into(),
        schema_version: row.get("schema")?,
        payload: payload.into(),
        metadata: serde_json::from_str(&metadata)
            .map_err(|_| corrupt("the metadata of an event", &metadata))?,
        finishes: row.get("finishes")?,
    })
}

#[async_trait]
impl EventStore for SqliteStore {
    async fn append(
        &self,
        stream: &StreamId,
        expected: ExpectedSequence,
        events: Vec<NewEvent>,
    ) -> Result<Appended, Error> {
        let stream = stream.clone();
        self.write(move |transaction| {
            let before = read_head(transaction, &stream)?;
            let head = Head::after_append(before.as_ref(), &stream, expected, &events)?;
            if before.is_none_or(|before| before.workflow_id != head.workflow_id) {
                record_arrival(transaction, &head.workflow_id, &stream)?;
            }
            put_events(transaction, &stream, &head, &events)?;
            Ok(Appended {
                last_sequence: head.sequence,
            })
        })
        .await
    }

    async fn read_all(
        &self,
        stream: &StreamId,
        after: u64,
        most: usize,
    ) -> Result<Vec<Event>, Error> {
        let stream = stream.clone();
        self.read(move |transaction| {
            let mut query = transaction.prepare_cached(
                "SELECT * FROM events WHERE stream = ?1 AND sequence > ?2 ORDER BY sequence LIMIT ?3",
            )?;
            let mut rows = query.query(params![stream.as_str(), integer(after), limit(most)])?;
            let mut events = Vec::new();
            while let Some(row) = rows.next()? {
                events.push(event(row, &stream)?);
            }
            Ok(events)
        })
        .await
    }

    async fn head(&self, stream: &StreamId) -> Result<Option<Head>, Error> {
        let stream = stream.clone();
        self.read(move |transaction| read_head(transaction, &stream))
            .await
    }

    async fn list_streams(
        &self,
        prefix: Option<&str>,
        after: Option<&StreamId>,
        most: usize,
    ) -> Result<Vec<StreamId>, Error> {
        let prefix = prefix.unwrap_or_default().to_owned();
        let after = after.map_or("", StreamId::as_str).to_owned();
        self.read(move |transaction| {
            // `LIKE` would take `_` and `%` in the prefix for wildcards, and compare
            // letters without case.
            let mut query = transaction.prepare_cached(
                "SELECT stream FROM heads WHERE stream >= ?1 AND stream > ?2 ORDER BY stream",
            )?;
            let mut rows = query.query([&prefix, &after])?;
            let mut streams = Vec::new();
            while streams.len() < most
                && let Some(row) = rows.next()?
            {
                let stream = convert::stream(row)?;
                if !stream.as_str().starts_with(&prefix) {
                    break;
                }
                streams.push(stream);
            }
            Ok(streams)
        })
        .await
    }

    async fn durable_id(&self) -> Result<Option<DurableStoreId>, Error> {
        Ok(Some(self.shared.durable_id))
    }

    fn transactional(&self) -> Option<Arc<dyn TransactionalStore>> {
        Some(Arc::new(self.clone()))
    }
}

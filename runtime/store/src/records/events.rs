//! Event streams: events and heads.

use std::sync::Arc;

use async_trait::async_trait;
use state_migration_core::{
    Appended, DurableStoreId, Error, Event, EventStore, ExpectedSequence, Head, NewEvent, StreamId,
    Timestamp, TransactionalStore,
};

use crate::key::{self, PerStream};
use crate::kv::{Kv, KvTxn};
use crate::record;
use crate::records::rows::Rows;
use crate::records::{NotDurable, ROW, RecordStore, put_events, read_head, record_arrivals};

/// Expected size of an event, in bytes.
const EVENT: usize = 512;

impl<K: Kv> RecordStore<K> {
    /// Appends like [`EventStore::append`], but returns before the events are
    /// durable. For imports, where one flush serves many appends.
    ///
    /// # Errors
    /// Those of [`EventStore::append`].
    pub async fn append_unflushed(
        &self,
        stream: &StreamId,
        expected: ExpectedSequence,
        events: Vec<NewEvent>,
    ) -> Result<NotDurable<Appended>, Error> {
        let write = self.write();
        let events = &events;
        let appended = self
            .transact("an append to", stream.as_str(), |mut txn| async move {
                let before = read_head(&txn, stream).await?;
                let head = Head::after_append(before.as_ref(), stream, expected, events)?;
                let last = before.as_ref().map_or(0, |before| before.sequence);
                check_no_later_event(&txn, stream, last).await?;
                let is_migration = head.baseline == Some(head.sequence);
                if before.is_none() || is_migration {
                    record_arrivals(&mut txn, &head.workflow_id, [stream]).await?;
                }
                put_events(&mut txn, stream, &head, events, Timestamp::now())?;
                Ok((
                    txn,
                    Appended {
                        last_sequence: head.sequence,
                    },
                ))
            })
            .await?;
        Ok(self.not_durable(appended, write))
    }
}

#[async_trait]
impl<K: Kv> EventStore for RecordStore<K> {
    async fn append(
        &self,
        stream: &StreamId,
        expected: ExpectedSequence,
        events: Vec<NewEvent>,
    ) -> Result<Appended, Error> {
        self.append_unflushed(stream, expected, events)
            .await?
            .durable()
            .await
    }

    async fn read_all(
        &self,
        stream: &StreamId,
        after: u64,
        limit: usize,
    ) -> Result<Vec<Event>, Error> {
        let mut after = after;
        loop {
            let read = self.read_after(stream, after, limit).await;
            match read {
                Err(error) if error.is_of_record() => {
                    // Events that were erased are no damage, also if that happened meanwhile.
                    let head = read_head(&self.kv().view()?, stream).await;
                    match head
                        .ok()
                        .flatten()
                        .filter(|head| head.first_kept > after + 1)
                    {
                        Some(head) => after = head.first_kept - 1,
                        None => return Err(error),
                    }
                }
                read => return read,
            }
        }
    }

    async fn head(&self, stream: &StreamId) -> Result<Option<Head>, Error> {
        read_head(&self.kv().view()?, stream).await
    }

    async fn list_streams(
        &self,
        prefix: Option<&str>,
        after: Option<&StreamId>,
        limit: usize,
    ) -> Result<Vec<StreamId>, Error> {
        let range = PerStream::Head.range(prefix.unwrap_or_default(), after);
        let bytes = limit.saturating_mul(ROW);
        let view = self.kv().view()?;
        let mut rows = Rows::scan(&view, range, bytes).await?;
        let mut streams = Vec::new();
        while streams.len() < limit {
            let Some((row_key, _)) = rows.next().await? else {
                break;
            };
            streams.push(PerStream::Head.stream(&row_key)?);
        }
        Ok(streams)
    }

    async fn flush(&self) -> Result<(), Error> {
        RecordStore::flush(self).await
    }

    async fn durable_id(&self) -> Result<Option<DurableStoreId>, Error> {
        self.kv().durable_id().await
    }

    fn transactional(&self) -> Option<Arc<dyn TransactionalStore>> {
        Some(Arc::new(self.clone()))
    }
}

impl<K: Kv> RecordStore<K> {
    /// Reads events after one that is not erased.
    async fn read_after(
        &self,
        stream: &StreamId,
        after: u64,
        limit: usize,
    ) -> Result<Vec<Event>, Error> {
        let view = self.kv().view()?;
        let mut events = Vec::new();
        read_more(&view, stream, after, limit, &mut events).await?;
        if events.len() < limit
            && let Ok(Some(head)) = read_head(&view, stream).await
            && head.sequence > after + events.len() as u64
        {
            // If reads are not as of one instant, more events may exist by now.
            if !view.is_of_one_instant() {
                read_more(&view, stream, after, limit, &mut events).await?;
            }
            let last = after + events.len() as u64;
            if events.len() < limit && head.sequence > last {
                return Err(Error::missing_event(stream, last + 1));
            }
        }
        Ok(events)
    }
}

/// Continues reading after these events, up to `limit` in all.
async fn read_more<T: KvTxn>(
    view: &T,
    stream: &StreamId,
    after: u64,
    limit: usize,
    events: &mut Vec<Event>,
) -> Result<(), Error> {
    let prefix = key::event_prefix(stream);
    let range = key::events_after(stream, after + events.len() as u64);
    let bytes = (limit - events.len()).saturating_mul(EVENT);
    let mut rows = Rows::scan(view, range, bytes).await?;
    while events.len() < limit {
        let Some((row_key, row)) = rows.next().await? else {
            break;
        };
        let expected = after + 1 + events.len() as u64;
        let sequence = key::sequence_in(&row_key, &prefix);
        if sequence != Some(expected) {
            return Err(Error::missing_event(stream, expected));
        }
        events.push(
            record::read_event(row, stream, expected)
                .map_err(|bad| bad.of(format_args!("event {expected} of stream {stream}")))?,
        );
    }
    Ok(())
}

/// Rejects an append over an event that a damaged head does not include.
async fn check_no_later_event<T: KvTxn>(
    txn: &T,
    stream: &StreamId,
    last: u64,
) -> Result<(), Error> {
    let next = last.saturating_add(1);
    match txn.get(&key::event(stream, next)).await? {
        None => Ok(()),
        Some(_) => Err(event_after_head(stream, next)),
    }
}

pub(crate) fn event_after_head(stream: &StreamId, sequence: u64) -> Error {
    Error::corrupt(format!(
        "event {sequence} of stream {stream} exists, but the head ends before it; restore the head from a backup (nothing was changed)"
    ))
}

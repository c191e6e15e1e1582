//! Event streams: events and heads.

use std::sync::Arc;

use async_trait::async_trait;
use state_migration_core::store_api::fence;
use state_migration_core::{
    Appended, DurableStoreId, Error, ErrorKind, Event, EventStore, ExpectedSequence, Head,
    MIGRATED, NewEvent, StreamId, Timestamp, TransactionalStore, baseline, is_reserved,
};

use crate::key::{self, PerStream};
use crate::kv::{Kv, KvTxn};
use crate::record;
use crate::records::rows::Rows;
use crate::records::{NotDurable, ROW, RecordStore, next_sequence, read_head, record_arrivals};

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
        check_events(stream, &events)?;
        let write = self.write();
        let events = &events;
        let appended = self
            .transact("an append to", stream.as_str(), |mut txn| async move {
                let head = read_head(&txn, stream).await?;
                // The fence is checked first, so that code of an old version
                // learns that the process has moved, not only that another
                // writer was faster.
                if let (Some(head), Some(event)) = (&head, events.first())
                    && !is_reserved(event.event_type())
                {
                    fence::check(stream, event.workflow_id(), &head.workflow_id)?;
                }
                check_expected(stream, expected, head.as_ref())?;
                let appended = match (head, events.as_slice()) {
                    (Some(head), [event]) if is_reserved(event.event_type()) => {
                        migrate(&mut txn, stream, &head, event).await?
                    }
                    (head, events) => append(&mut txn, stream, head, events).await?,
                };
                Ok((txn, appended))
            })
            .await?;
        Ok(self.not_durable(appended, write))
    }
}

fn check_events(stream: &StreamId, events: &[NewEvent]) -> Result<(), Error> {
    let [first, rest @ ..] = events else {
        return Err(Error::invalid(format!(
            "an append to {stream} has no events"
        )));
    };
    if let Some(other) = rest.iter().find(|e| e.workflow_id() != first.workflow_id()) {
        return Err(Error::invalid(format!(
            "an append to {stream} mixes events of {} and {}",
            first.workflow_id(),
            other.workflow_id()
        )));
    }
    let reserved = events.iter().find(|e| is_reserved(e.event_type()));
    if reserved.is_some() && events.len() > 1 {
        return Err(Error::invalid(format!(
            "an append to {stream} mixes a `{MIGRATED}` event with others"
        )));
    }
    Ok(())
}

fn check_expected(
    stream: &StreamId,
    expected: ExpectedSequence,
    head: Option<&Head>,
) -> Result<(), Error> {
    let last = head.map_or(0, |head| head.sequence);
    if last == expected.last() {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Conflict,
        format!(
            "stream {stream} ends at event {last}, not at {}; load the process again and retry",
            expected.last()
        ),
    ))
}

async fn append<T: KvTxn>(
    txn: &mut T,
    stream: &StreamId,
    head: Option<Head>,
    events: &[NewEvent],
) -> Result<Appended, Error> {
    let (Some(first), Some(last)) = (events.first(), events.last()) else {
        return Err(Error::invalid("an append has no events"));
    };
    let code = first.workflow_id();
    if head.is_none() {
        if is_reserved(first.event_type()) {
            return Err(Error::invalid(format!(
                "stream {stream} has no events, so it cannot be migrated"
            )));
        }
        record_arrivals(txn, code, [stream]).await?;
    }
    let mut sequence = head.as_ref().map_or(0, |head| head.sequence);
    check_no_later_event(txn, stream, sequence).await?;
    let now = Timestamp::now();
    for event in events {
        sequence = next_sequence(stream, sequence)?;
        txn.put(
            key::event(stream, sequence),
            record::write_event(event, now)?,
        )?;
    }
    let before = head.unwrap_or_else(|| Head::of(0, code.clone()));
    let new_head = Head {
        sequence,
        revision: before.revision + 1,
        finished: last.finishes(),
        finished_by: None,
        ..before
    };
    txn.put(PerStream::Head.key(stream), record::write_head(&new_head)?)?;
    Ok(Appended {
        last_sequence: sequence,
    })
}

/// A `$migrated` event appended through [`EventStore::append`], which is the
/// form of migration without a transaction over all stores. A held process
/// rejects it.
async fn migrate<K: KvTxn>(
    txn: &mut K,
    stream: &StreamId,
    head: &Head,
    event: &NewEvent,
) -> Result<Appended, Error> {
    if event.event_type() != MIGRATED {
        return Err(Error::invalid(format!(
            "the event type {:?} is reserved",
            event.event_type()
        )));
    }
    let baseline = baseline::parse(event.schema_version(), event.payload())
        .map_err(|bad| bad.at(stream, head.sequence + 1))?;
    if baseline.target() != *event.workflow_id() {
        return Err(Error::invalid(format!(
            "a `{MIGRATED}` event for {stream} is of version {}, but its baseline is of version {}",
            baseline.target(),
            event.workflow_id()
        )));
    }
    fence::check(stream, &baseline.source(), &head.workflow_id)?;
    fence::check_hold(stream, head)?;
    check_no_later_event(txn, stream, head.sequence).await?;
    record_arrivals(txn, event.workflow_id(), [stream]).await?;
    crate::records::put_migration(txn, stream, head, event, Timestamp::now())?;
    Ok(Appended {
        last_sequence: head.sequence + 1,
    })
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
    let next = next_sequence(stream, last)?;
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

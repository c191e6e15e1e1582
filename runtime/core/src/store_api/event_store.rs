//! Stores of event streams.

use std::sync::Arc;

use async_trait::async_trait;

use crate::error::Error;
use crate::event::{Event, NewEvent, is_reserved};
use crate::id::{DurableStoreId, StreamId};
use crate::store_api::{Head, TransactionalStore};

/// The end of the stream that a writer expects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExpectedSequence {
    /// The stream has no events yet.
    NoStream,
    /// The last event has this sequence number.
    Exact(u64),
}

impl ExpectedSequence {
    /// The sequence number of the last event; 0 for a stream without events.
    #[must_use]
    pub fn last(self) -> u64 {
        match self {
            Self::NoStream => 0,
            Self::Exact(sequence) => sequence,
        }
    }
}

/// The end of the stream after an append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// The sequence number of the last event appended.
    pub last_sequence: u64,
}

/// A store of event streams.
///
/// Rules that every implementation follows, and that the
/// `conformance` suite checks:
///
/// - Sequence numbers start at 1 and have no gaps. The first events of a stream may have been
///   [erased](crate::Erasure): a read then starts at the first one that is left.
/// - An append is atomic, and happens only if the stream ends at `expected`;
///   otherwise it fails with [`ErrorKind::Conflict`].
/// - All events of a stream have the same version up to a `$migrated` event,
///   whose `workflow_id` is the version from there on. An append with another
///   version fails with [`ErrorKind::Migrated`] or [`ErrorKind::WrongVersion`].
/// - `$migrated` events are stored like all others.
/// - A write returns when it is durable.
///
/// [`Head::after_append`] has the rules of an append. Implementations use the
/// attribute `#[async_trait]` of the crate `async-trait`.
///
/// [`ErrorKind::Conflict`]: crate::ErrorKind::Conflict
/// [`ErrorKind::Migrated`]: crate::ErrorKind::Migrated
/// [`ErrorKind::WrongVersion`]: crate::ErrorKind::WrongVersion
#[async_trait]
pub trait EventStore: Send + Sync {
    /// Appends events to a stream that ends at `expected`.
    ///
    /// # Errors
    /// Those of [`Head::after_append`], or the store could not be written.
    async fn append(
        &self,
        stream: &StreamId,
        expected: ExpectedSequence,
        events: Vec<NewEvent>,
    ) -> Result<Appended, Error>;

    /// At most `limit` events with sequence numbers above `after`, in order,
    /// including those of reserved types. Fewer than `limit` means the end.
    ///
    /// # Errors
    /// The store could not be read, or contains an unreadable record.
    async fn read_all(
        &self,
        stream: &StreamId,
        after: u64,
        limit: usize,
    ) -> Result<Vec<Event>, Error>;

    /// At most `limit` domain events with sequence numbers above `after`, in
    /// order: the events that a projection needs. Fewer than `limit` means the
    /// end.
    ///
    /// # Errors
    /// The store could not be read, or contains an unreadable record.
    async fn read(&self, stream: &StreamId, after: u64, limit: usize) -> Result<Vec<Event>, Error> {
        let mut events = Vec::new();
        let mut after = after;
        while events.len() < limit {
            let wanted = limit - events.len();
            let page = self.read_all(stream, after, wanted).await?;
            let at_end = page.len() < wanted;
            after = page.last().map_or(after, |event| event.sequence);
            events.extend(
                page.into_iter()
                    .filter(|event| !is_reserved(&event.event_type)),
            );
            if at_end {
                break;
            }
        }
        Ok(events)
    }

    /// The head of a stream; `None` if it has no events.
    ///
    /// # Errors
    /// The store could not be read.
    async fn head(&self, stream: &StreamId) -> Result<Option<Head>, Error>;

    /// At most `limit` streams whose ids start with `prefix`, sorted, after
    /// `after`. Fewer than `limit` means the end.
    ///
    /// # Errors
    /// The store could not be read.
    async fn list_streams(
        &self,
        prefix: Option<&str>,
        after: Option<&StreamId>,
        limit: usize,
    ) -> Result<Vec<StreamId>, Error>;

    /// Returns when every readable event is durable. A store in which only
    /// durable events are readable has nothing to do here.
    ///
    /// # Errors
    /// Readable events may not be durable.
    async fn flush(&self) -> Result<(), Error> {
        Ok(())
    }

    /// The id that the store got when it was made and that it keeps, the same
    /// in every program; `None` if it keeps none.
    ///
    /// A confirmed plan is for the store with this id only: `run --plan` of the
    /// command-line tool refuses a plan that was made for another store. Without
    /// an id, a plan is accepted for every such store. A copy of a store has the
    /// id of the original, so this does not tell a copy from its original.
    ///
    /// # Errors
    /// The store could not be read.
    async fn durable_id(&self) -> Result<Option<DurableStoreId>, Error> {
        Ok(None)
    }

    /// A handle of the store as one that commits events, snapshots and process
    /// registry in one transaction; `None` if it cannot.
    fn transactional(&self) -> Option<Arc<dyn TransactionalStore>> {
        None
    }
}

macro_rules! forward {
    ($($for:tt)*) => {
        #[async_trait]
        impl<S: EventStore + ?Sized> EventStore for $($for)* {
            async fn append(
                &self,
                stream: &StreamId,
                expected: ExpectedSequence,
                events: Vec<NewEvent>,
            ) -> Result<Appended, Error> {
                (**self).append(stream, expected, events).await
            }
            async fn read_all(
                &self,
                stream: &StreamId,
                after: u64,
                limit: usize,
            ) -> Result<Vec<Event>, Error> {
                (**self).read_all(stream, after, limit).await
            }
            async fn read(
                &self,
                stream: &StreamId,
                after: u64,
                limit: usize,
            ) -> Result<Vec<Event>, Error> {
                (**self).read(stream, after, limit).await
            }
            async fn head(&self, stream: &StreamId) -> Result<Option<Head>, Error> {
                (**self).head(stream).await
            }
            async fn list_streams(
                &self,
                prefix: Option<&str>,
                after: Option<&StreamId>,
                limit: usize,
            ) -> Result<Vec<StreamId>, Error> {
                (**self).list_streams(prefix, after, limit).await
            }
            async fn flush(&self) -> Result<(), Error> {
                (**self).flush().await
            }
            async fn durable_id(&self) -> Result<Option<DurableStoreId>, Error> {
                (**self).durable_id().await
            }
            fn transactional(&self) -> Option<Arc<dyn TransactionalStore>> {
                (**self).transactional()
            }
        }
    };
}
forward!(Arc<S>);
forward!(Box<S>);
forward!(&S);

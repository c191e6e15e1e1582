//! The store over a key-value engine: one algorithm for SlateDB and memory.
//!
//! The head of a stream is the only point of conflict. Every write reads the
//! head in its transaction, under snapshot isolation, and either rewrites it or
//! marks it as read. The check of the version and the write are therefore
//! atomic, and two transactions conflict only if both concern the same stream
//! or row.

mod commit;
mod due;
mod entries;
mod events;
mod heads;
#[cfg(test)]
mod interleaved_writes;
mod rows;
mod snapshots;
mod transactional;
#[cfg(test)]
mod truncated_scans;

use std::fmt;
use std::future::Future;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use async_trait::async_trait;
use bytes::Bytes;
use state_migration_core::{Error, ErrorKind, Head, NewEvent, StreamId, Timestamp, WorkflowId};

use crate::key;
use crate::kv::{Kv, KvTxn};
use crate::record::{self, Closing};
use crate::write_activity::{Activity, Write};

/// Expected size of a small row with its key, in bytes.
const ROW: usize = 128;

/// The number of attempts of a write that conflicts with other transactions.
const ATTEMPTS: usize = 32;

/// Events, snapshots and process registry in one key-value engine.
///
/// Use it as `SlateDbStore`, as `SlateDbReader` or as
/// [`MemoryStore`](crate::MemoryStore). Clones are handles of the same store.
pub struct RecordStore<K> {
    inner: Arc<Inner<K>>,
}

struct Inner<K> {
    kv: K,
    /// The number of heads for each process of the last page.
    spread: AtomicUsize,
    /// The writes of users, which exclude a run's batches and notes.
    activity: Arc<Activity>,
}

impl<K> Clone for RecordStore<K> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
        }
    }
}

impl<K: Kv> fmt::Debug for RecordStore<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecordStore")
            .field("store_id", &self.inner.kv.store_id())
            .finish_non_exhaustive()
    }
}

/// The result of a write that is committed and visible, but not yet durable: a
/// crash may still lose it.
///
/// Writes become durable in the order in which they were made. To make many
/// durable, wait only for the last one, or flush the store.
#[must_use = "the write is not durable yet; call `durable`, or flush the store"]
pub struct NotDurable<T> {
    value: T,
    until: Arc<dyn Flush>,
    /// Counts the write as in progress until it is dropped.
    write: Write,
}

impl<T> NotDurable<T> {
    /// The result, whether or not the write is durable.
    pub fn value(&self) -> &T {
        &self.value
    }

    /// Waits until the write is durable.
    ///
    /// # Errors
    /// The write may be lost: [`ErrorKind::OutcomeUnknown`], or
    /// [`ErrorKind::Fenced`] when another writer has taken the database over.
    pub async fn durable(self) -> Result<T, Error> {
        let Self {
            value,
            until,
            write,
        } = self;
        until.flush().await?;
        drop(write);
        Ok(value)
    }
}

impl<T: fmt::Debug> fmt::Debug for NotDurable<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("NotDurable").field(&self.value).finish()
    }
}

#[async_trait]
trait Flush: Send + Sync {
    async fn flush(&self) -> Result<(), Error>;
}

#[async_trait]
impl<K: Kv> Flush for Inner<K> {
    async fn flush(&self) -> Result<(), Error> {
        self.kv.flush().await
    }
}

impl<K: Kv> RecordStore<K> {
    pub(crate) fn over(kv: K) -> Self {
        let activity = Activity::of(kv.store_id());
        Self {
            inner: Arc::new(Inner {
                kv,
                spread: AtomicUsize::new(1),
                activity,
            }),
        }
    }

    pub(crate) fn kv(&self) -> &K {
        &self.inner.kv
    }

    /// Returns when every write that has returned is durable.
    ///
    /// # Errors
    /// The writes may be lost.
    pub async fn flush(&self) -> Result<(), Error> {
        Flush::flush(&*self.inner).await
    }

    /// The number of rows read through this handle and its clones: the cost of
    /// a run, independent of the machine.
    #[must_use]
    pub fn rows_read(&self) -> u64 {
        self.kv().rows_read().get()
    }

    /// The counter of users' writes.
    #[cfg(feature = "slatedb")]
    pub(crate) fn activity(&self) -> Arc<Activity> {
        self.inner.activity.clone()
    }

    /// Begins a user's write. Runs yield to it until it is durable.
    fn write(&self) -> Write {
        self.inner.activity.begin()
    }

    fn not_durable<T>(&self, value: T, write: Write) -> NotDurable<T> {
        NotDurable {
            value,
            until: self.inner.clone(),
            write,
        }
    }

    /// Runs a transaction, and repeats it from its start after a conflict.
    async fn transact<T, F, Fut>(&self, what: &str, of: &str, attempt: F) -> Result<T, Error>
    where
        F: Fn(K::Txn) -> Fut,
        Fut: Future<Output = Result<(K::Txn, T), Error>>,
    {
        self.kv().check_writable()?;
        for _ in 0..ATTEMPTS {
            let (txn, value) = attempt(self.kv().begin()?).await?;
            match txn.commit().await {
                Ok(()) => return Ok(value),
                Err(error) if error.is_conflict() => {}
                Err(error) => return Err(error),
            }
        }
        Err(Error::new(
            ErrorKind::Conflict,
            format!(
                "gave up on {what} {of} after {ATTEMPTS} conflicts with concurrent writes; try again later"
            ),
        ))
    }
}

async fn read_head(txn: &impl KvTxn, stream: &StreamId) -> Result<Option<Head>, Error> {
    txn.get(&key::PerStream::Head.key(stream))
        .await?
        .map(|row| decode_head(row, stream))
        .transpose()
}

fn decode_head(row: Bytes, stream: &StreamId) -> Result<Head, Error> {
    record::read_head(row).map_err(|bad| bad.of(format_args!("the head of stream {stream}")))
}

/// Puts events at the end of a stream, and the head that ends with the last of them.
fn put_events<T: KvTxn>(
    txn: &mut T,
    stream: &StreamId,
    head: &Head,
    events: &[NewEvent],
    now: Timestamp,
) -> Result<(), Error> {
    let before = head.sequence.saturating_sub(events.len() as u64);
    for (event, sequence) in events.iter().zip(before + 1..) {
        txn.put(
            key::event(stream, sequence),
            record::write_event(event, now)?,
        )?;
    }
    txn.put(key::PerStream::Head.key(stream), record::write_head(head)?)
}

/// Records that processes arrive at a version, by a birth or by a migration.
///
/// While a run closes the version, each arrival is recorded, so that the run
/// finds the processes that it has already scanned past. The presence row is
/// marked as read, so this conflicts with beginning or ending to close it.
async fn record_arrivals<T: KvTxn>(
    txn: &mut T,
    version: &WorkflowId,
    streams: impl IntoIterator<Item = &StreamId>,
) -> Result<(), Error> {
    let key = key::presence(version);
    let Some(row) = txn.get(&key).await? else {
        return txn.put(key, record::write_presence(None));
    };
    txn.mark_read(&key)?;
    if let Some(closing) = closing(row, version)? {
        for stream in streams {
            let key = key::birth(version, closing.round, stream);
            txn.put(key, record::mark())?;
        }
    }
    Ok(())
}

/// The closing in a presence row, if a run closes the version.
fn closing(row: Bytes, version: &WorkflowId) -> Result<Option<Closing>, Error> {
    record::read_presence(row)
        .map_err(|bad| bad.of(format_args!("the note that processes may be at {version}")))
}

/// The rounds that may contain births at a version; the first if no run closes
/// it.
async fn rounds_of<T: KvTxn>(txn: &T, version: &WorkflowId) -> Result<RangeInclusive<u32>, Error> {
    let closing = closing_of(txn, version).await?;
    Ok(closing.map_or(0..=0, |closing| closing.rounds()))
}

/// The closing of a version, if a run closes it.
async fn closing_of<T: KvTxn>(txn: &T, version: &WorkflowId) -> Result<Option<Closing>, Error> {
    match txn.get(&key::presence(version)).await? {
        Some(row) => closing(row, version),
        None => Ok(None),
    }
}

//! What the record store needs of a key-value engine: ordered keys, and
//! transactions under snapshot isolation that can mark keys as read. SlateDB and
//! the in-memory engine implement it.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

use crate::key::KeyRange;
use state_migration_core::{Error, StoreId};

/// How many rows have been read through all handles on an engine.
#[derive(Debug, Clone, Default)]
pub struct RowsRead(Arc<AtomicU64>);

impl RowsRead {
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn add(&self, rows: u64) {
        self.0.fetch_add(rows, Ordering::Relaxed);
    }

    /// A counter of its own, which is added when it is dropped.
    pub(crate) fn count(&self) -> RowCount {
        RowCount {
            rows: 0,
            total: self.clone(),
        }
    }
}

/// The rows that one scan has read.
#[derive(Debug)]
pub struct RowCount {
    rows: u64,
    total: RowsRead,
}

impl RowCount {
    pub(crate) fn one_more(&mut self) {
        self.rows += 1;
    }
}

impl Drop for RowCount {
    fn drop(&mut self) {
        self.total.add(self.rows);
    }
}

/// An engine. Clones are handles on the same data.
pub trait Kv: Clone + Send + Sync + 'static {
    #[doc(hidden)]
    type Txn: KvTxn;

    /// Which data this is a handle on.
    fn store_id(&self) -> StoreId;

    /// Refuses if this is a handle for reading only.
    fn check_writable(&self) -> Result<(), Error> {
        Ok(())
    }

    /// A transaction under snapshot isolation: it commits only if nothing that
    /// it writes or has [marked](KvTxn::mark_read) was written since. Of a handle
    /// for reading only, a view.
    fn begin(&self) -> Result<Self::Txn, Error>;

    /// A serializable transaction: all that it reads counts as marked, ranges
    /// included.
    fn begin_serializable(&self) -> Result<Self::Txn, Error>;

    /// A view of one instant, for reading only; nothing it reads is tracked.
    ///
    /// Where an engine cannot hold an instant, each `get` and each scan has
    /// one of its own, which is never before that of an earlier one.
    fn view(&self) -> Result<Self::Txn, Error>;

    /// Where reads are counted.
    fn rows_read(&self) -> &RowsRead;

    /// Whether this handle is the only one that can write.
    fn is_single_writer(&self) -> bool;

    /// Where keys of a range stand, so that it can be cut into even parts: some
    /// keys, or what they start with, each with about how many rows follow up to
    /// the next one. `None` where only reading all of them would tell.
    fn marks(
        &self,
        range: &KeyRange,
    ) -> impl Future<Output = Result<Option<Vec<(Bytes, u64)>>, Error>> + Send {
        let _ = range;
        async { Ok(None) }
    }

    /// Returns when every commit that has returned is durable.
    fn flush(&self) -> impl Future<Output = Result<(), Error>> + Send;
}

/// A transaction, or a view.
pub trait KvTxn: Send + Sync + 'static {
    #[doc(hidden)]
    type Scan: KvScan;

    /// Whether all that is read through it is of one instant.
    fn is_of_one_instant(&self) -> bool {
        true
    }

    /// The value under a key. Writes of this transaction itself are not seen.
    fn get(&self, key: &[u8]) -> impl Future<Output = Result<Option<Bytes>, Error>> + Send;

    /// Starts to read a range in order. Writes of this transaction itself are not seen.
    fn scan(&self, range: KeyRange) -> impl Future<Output = Result<Self::Scan, Error>> + Send {
        self.scan_part(range, usize::MAX)
    }

    /// The same for one who will read about so many bytes of it, so that no
    /// more is fetched ahead.
    fn scan_part(
        &self,
        range: KeyRange,
        bytes: usize,
    ) -> impl Future<Output = Result<Self::Scan, Error>> + Send;

    /// Makes the commit conflict with whoever writes this key, whether or not
    /// there is such a row.
    fn mark_read(&self, key: &[u8]) -> Result<(), Error>;

    /// Writes a value when the transaction commits.
    fn put(&mut self, key: Vec<u8>, value: Vec<u8>) -> Result<(), Error>;

    /// Removes a key when the transaction commits.
    fn delete(&mut self, key: Vec<u8>) -> Result<(), Error>;

    /// Commits. Not yet durable when it returns.
    ///
    /// A conflict is [`ErrorKind::Conflict`](state_migration_core::ErrorKind::Conflict): nothing was written.
    fn commit(self) -> impl Future<Output = Result<(), Error>> + Send;
}

/// A read of a range, in order.
///
/// Dropping a future of `next` or `seek` before it is done spoils the scan:
/// every later call is an error, never a silent end.
pub trait KvScan: Send + 'static {
    /// The next row; `None` at the end.
    fn next(&mut self) -> impl Future<Output = Result<Option<(Bytes, Bytes)>, Error>> + Send;

    /// Goes on at the first row with a key of at least `key`, which must be
    /// above every key returned so far.
    fn seek(&mut self, key: &[u8]) -> impl Future<Output = Result<(), Error>> + Send;
}

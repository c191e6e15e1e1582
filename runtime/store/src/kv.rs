//! The key-value engine that the record store needs: ordered keys, and
//! transactions under snapshot isolation that can mark keys as read. SlateDB
//! and the in-memory engine implement it.

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use state_migration_core::store_api::transactional;
use state_migration_core::{DurableStoreId, Error, Rehearsal, RehearsalNeeds, StoreId};

use crate::key::{self, KeyRange};
use crate::record;

/// Counts the rows read through all handles of an engine.
#[derive(Debug, Clone, Default)]
pub struct RowsRead(Arc<AtomicU64>);

impl RowsRead {
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn add(&self, rows: u64) {
        self.0.fetch_add(rows, Ordering::Relaxed);
    }

    /// A local counter, which is added to this one when it is dropped.
    pub(crate) fn count(&self) -> RowCount {
        RowCount {
            rows: 0,
            total: self.clone(),
        }
    }
}

/// Counts the rows that one scan has read.
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

/// A key-value engine. Clones are handles of the same data.
pub trait Kv: Clone + Send + Sync + 'static {
    #[doc(hidden)]
    type Txn: KvTxn;

    /// The id of the data.
    fn store_id(&self) -> StoreId;

    /// The id that the data keeps, if it has one.
    fn durable_id(&self) -> impl Future<Output = Result<Option<DurableStoreId>, Error>> + Send {
        async {
            let row = self.view()?.get(&key::meta(key::STORE_ID)).await?;
            let id = row.map(record::read_store_id).transpose();
            id.map_err(|bad| bad.of("the id of the store"))
        }
    }

    /// A copy of the data as of this instant, for a rehearsal.
    fn rehearsal(
        &self,
        needs: RehearsalNeeds,
    ) -> impl Future<Output = Result<Box<dyn Rehearsal>, Error>> + Send {
        let _ = needs;
        async { Err(transactional::cannot_rehearse()) }
    }

    /// Fails if this handle is read-only.
    fn check_writable(&self) -> Result<(), Error> {
        Ok(())
    }

    /// A transaction under snapshot isolation: it commits only if nothing that
    /// it writes or has [marked](KvTxn::mark_read) was written since it began.
    /// A read-only handle returns a view.
    fn begin(&self) -> Result<Self::Txn, Error>;

    /// A serializable transaction: everything that it reads counts as marked,
    /// including ranges.
    fn begin_serializable(&self) -> Result<Self::Txn, Error>;

    /// A read-only view as of one instant; its reads are not tracked.
    ///
    /// If an engine cannot hold an instant, each `get` and each scan is as of
    /// its own instant, which is never before that of an earlier read.
    fn view(&self) -> Result<Self::Txn, Error>;

    /// The counter of rows read.
    fn rows_read(&self) -> &RowsRead;

    /// Whether this handle is the only one that can write.
    fn is_single_writer(&self) -> bool;

    /// A folder on the local disk for files of the programs that have this open.
    fn scratch_folder(&self) -> Option<PathBuf> {
        None
    }

    /// What is wrong with the storage; `None` if its last requests were answered.
    fn trouble(&self) -> Option<String> {
        None
    }

    /// Keys, or prefixes of keys, at which ranges can be split evenly, each
    /// with the approximate number of rows up to the next one. `None` if that
    /// requires reading all rows.
    fn marks(
        &self,
        ranges: &[KeyRange],
    ) -> impl Future<Output = Result<Option<Vec<(Bytes, u64)>>, Error>> + Send {
        let _ = ranges;
        async { Ok(None) }
    }

    /// Returns when every commit that has returned is durable.
    fn flush(&self) -> impl Future<Output = Result<(), Error>> + Send;
}

/// A transaction or a view.
pub trait KvTxn: Send + Sync + 'static {
    #[doc(hidden)]
    type Scan: KvScan;

    /// Whether all reads through it are as of one instant.
    fn is_of_one_instant(&self) -> bool {
        true
    }

    /// The value of a key. The transaction's own writes are not visible.
    fn get(&self, key: &[u8]) -> impl Future<Output = Result<Option<Bytes>, Error>> + Send;

    /// Starts an ordered scan of a range. The transaction's own writes are not
    /// visible.
    fn scan(&self, range: KeyRange) -> impl Future<Output = Result<Self::Scan, Error>> + Send {
        self.scan_part(range, usize::MAX)
    }

    /// The same for a caller that expects to read about `bytes` of the range,
    /// so that no more is prefetched.
    fn scan_part(
        &self,
        range: KeyRange,
        bytes: usize,
    ) -> impl Future<Output = Result<Self::Scan, Error>> + Send;

    /// Makes the commit conflict with every concurrent write of this key,
    /// whether or not the key exists.
    fn mark_read(&self, key: &[u8]) -> Result<(), Error>;

    /// Writes a value when the transaction commits.
    fn put(&mut self, key: Vec<u8>, value: Vec<u8>) -> Result<(), Error>;

    /// Removes a key when the transaction commits.
    fn delete(&mut self, key: Vec<u8>) -> Result<(), Error>;

    /// Commits. The commit is not yet durable when this returns.
    ///
    /// A conflict is
    /// [`ErrorKind::Conflict`](state_migration_core::ErrorKind::Conflict):
    /// nothing was written.
    fn commit(self) -> impl Future<Output = Result<(), Error>> + Send;
}

/// An ordered scan of a range.
///
/// Dropping an unfinished future of `next` or `seek` invalidates the scan:
/// every later call is an error, never a silent end.
pub trait KvScan: Send + 'static {
    /// The next row; `None` at the end.
    fn next(&mut self) -> impl Future<Output = Result<Option<(Bytes, Bytes)>, Error>> + Send;

    /// Continues at the first row with a key of at least `key`, which must be
    /// above every key returned so far.
    fn seek(&mut self, key: &[u8]) -> impl Future<Output = Result<(), Error>> + Send;
}

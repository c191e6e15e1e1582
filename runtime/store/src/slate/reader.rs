//! A read-only store, while another process writes to it.

use std::path::{Path as FolderPath, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use slatedb::DbReader;
use slatedb::admin::Admin;
use state_migration_core::{Error, ErrorKind, Rehearsal, RehearsalNeeds, StoreId};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use crate::key::{self, KeyRange};
use crate::kv::{Kv, KvTxn, RowsRead};
use crate::records::RecordStore;
use crate::slate::kv::{Files, SlateDbScan, error, marks, scan_options};
use crate::slate::trouble::storage_trouble;
use crate::slate::{SlateDbStore, SlateDbStoreBuilder, rehearsal};

/// The number of polls, and the time, that a reader has to catch up before it
/// is considered lost.
const POLLS_TO_CATCH_UP: u32 = 30;
const TIME_TO_CATCH_UP: Duration = Duration::from_secs(5);

/// A read-only [`SlateDbStore`], to inspect a store that another process has
/// open for writing.
///
/// It creates no file, no folder and no checkpoint, and does not fence the
/// writer. Every write fails with
/// [`ErrorKind::Invalid`](state_migration_core::ErrorKind::Invalid). Permission
/// to read the files is sufficient.
///
/// # What it sees
///
/// - What the writer has made durable, up to a second later (or [an interval
///   that you set](crate::SlateDbStoreBuilder::with_reader_options)): the
///   reader polls for new files. An event whose append has just returned
///   elsewhere may not be visible yet, so do not take it for lost; read again
///   after a moment. While the object store does not answer, the reader stays
///   at its last state.
/// - One instant in each read: a
///   [head](state_migration_core::EventStore::head), a page of events, of
///   streams or of heads, a snapshot, a registry entry. No read is of an
///   earlier instant than one that returned before it.
/// - One instant of each process of a
///   [page](state_migration_core::TransactionalStore::read_due): its head is
///   read first, and then its events up to there.
/// - A [`Process`](state_migration_core::Process) as of some instant of its
///   stream.
///
/// # What is not guaranteed
///
/// SlateDB has no snapshots for a reader. While a writer is active:
///
/// - Two reads may be of different instants: two pages of a list, two
///   processes, a process and its registry entry. A process that moves from one
///   version to another between two reads of heads may be found at both or at
///   neither, and a dry run
///   sees each process as of when it reads it.
/// - The writer's garbage collection can delete the files of a read that takes
///   longer than they are kept: 15 minutes unless the writer is configured
///   otherwise. Such a read fails with
///   [`ErrorKind::Unavailable`](state_migration_core::ErrorKind::Unavailable),
///   and never ends early without an error; start it again.
/// - A reader that is suspended for long, 5 minutes unless the writer is
///   configured otherwise, may need files that garbage collection has deleted.
///   When the reader detects that, every read fails with
///   [`ErrorKind::Unavailable`](state_migration_core::ErrorKind::Unavailable)
///   instead of showing an old state indefinitely; open another reader.
///
/// Rows that the writer has not yet moved out of its log are kept in memory, at
/// most 144 MiB unless the writer is configured otherwise.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use state_migration::{
///     EventStore, ExpectedSequence, NewEvent, ProcessId, SlateDbReader, SlateDbStore, StreamId,
///     TenantId, WorkflowId,
/// };
///
/// # let folder = tempfile::tempdir()?;
/// # let folder = folder.path();
/// let store = SlateDbStore::open_local(folder).await?;
/// let stream = StreamId::for_process(&TenantId::new("shop")?, &ProcessId::new("17")?);
/// let event = || NewEvent::new(WorkflowId::new("order", "v1"), "OrderPlaced", 1, "{}");
/// store.append(&stream, ExpectedSequence::NoStream, vec![event()?]).await?;
///
/// // In another process, say.
/// let reader = SlateDbReader::open_local(folder).await?;
/// assert_eq!(reader.read(&stream, 0, 10).await?.len(), 1);
/// let refused = reader.append(&stream, ExpectedSequence::Exact(1), vec![event()?]).await;
/// assert!(refused.is_err());
/// reader.close().await?;
///
/// // The writer continues.
/// store.append(&stream, ExpectedSequence::Exact(1), vec![event()?]).await?;
/// # Ok(())
/// # }
/// ```
pub type SlateDbReader = RecordStore<SlateDbReaderKv>;

impl SlateDbReader {
    /// Opens the store in a folder of the local disk read-only. For other
    /// locations, see [`open_reader`](crate::SlateDbStoreBuilder::open_reader).
    ///
    /// # Errors
    /// There is no store, something else, or a store of a newer format. Or the
    /// folder cannot be read.
    pub async fn open_local(folder: impl AsRef<FolderPath>) -> Result<Self, Error> {
        SlateDbStore::local_builder(folder)?.open_reader().await
    }

    /// Stops polling, and closes all handles of this reader. Dropping the last
    /// handle does the same, some time later.
    ///
    /// # Errors
    /// The polling task had failed.
    pub async fn close(&self) -> Result<(), Error> {
        self.kv()
            .reader()
            .close()
            .await
            .map_err(|e| error("the reader could not be closed", e))
    }
}

/// The engine of [`SlateDbReader`].
#[derive(Clone)]
pub struct SlateDbReaderKv {
    open: Arc<Open>,
    files: Files,
    id: StoreId,
    rows_read: RowsRead,
    /// How the database is opened.
    builder: Arc<SlateDbStoreBuilder>,
}

/// An open reader, which closes with its last handle.
struct Open {
    reader: Arc<DbReader>,
    /// Whether the reader can no longer follow the writer.
    lost: Arc<AtomicBool>,
    watch: JoinHandle<()>,
    runtime: Handle,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.watch.abort();
        // SlateDB polls until the reader is closed.
        let reader = self.reader.clone();
        self.runtime.spawn(async move {
            // There is no caller to report an error to.
            let _ = reader.close().await;
        });
    }
}

/// Detects when a reader can no longer follow the writer.
///
/// SlateDB's reader requests the manifest after its current one. If garbage
/// collection has deleted that manifest, the reader assumes that its own is the
/// newest. `admin` lists the manifests instead.
async fn watch(reader: Arc<DbReader>, admin: Admin, lost: Arc<AtomicBool>, interval: Duration) {
    let mut newest = 0;
    loop {
        tokio::time::sleep(interval).await;
        // The reader had many polls to reach the manifest that was the newest a
        // while ago.
        if reader.manifest().id() < newest {
            lost.store(true, Ordering::Relaxed);
            return;
        }
        // Without an answer there is nothing to compare with.
        if let Ok(Some(manifest)) = admin.read_manifest(None).await {
            newest = manifest.id();
        }
    }
}

impl SlateDbReaderKv {
    pub(crate) fn files(&self) -> &Files {
        &self.files
    }

    /// Must be called in the Tokio runtime in which the reader was opened.
    pub(crate) fn new(
        reader: DbReader,
        builder: &SlateDbStoreBuilder,
        files: Files,
        admin: Admin,
        poll: Duration,
    ) -> Self {
        let reader = Arc::new(reader);
        let lost = Arc::new(AtomicBool::new(false));
        let interval = poll.saturating_mul(POLLS_TO_CATCH_UP).max(TIME_TO_CATCH_UP);
        let watch = tokio::spawn(watch(reader.clone(), admin, lost.clone(), interval));
        Self {
            open: Arc::new(Open {
                reader,
                lost,
                watch,
                runtime: Handle::current(),
            }),
            files,
            id: StoreId::unique(),
            rows_read: RowsRead::default(),
            builder: Arc::new(builder.clone()),
        }
    }

    /// The reader, if it still follows the writer.
    fn following(&self) -> Result<&DbReader, Error> {
        if self.open.lost.load(Ordering::Relaxed) {
            return Err(Error::new(
                ErrorKind::Unavailable,
                "the reader can no longer follow the writer, because garbage collection removed files that it needs; open another reader",
            ));
        }
        Ok(self.reader())
    }

    pub(crate) fn reader(&self) -> &DbReader {
        &self.open.reader
    }
}

fn refused() -> Error {
    Error::invalid(
        "the store is open for reading only; open it with `SlateDbStore` to write, which fences the current writer",
    )
}

impl Kv for SlateDbReaderKv {
    type Txn = SlateDbReaderTxn;

    /// Only if no program has the store open, and the last one closed it: only the
    /// writer can tell what is in the log alone.
    async fn rehearsal(&self, needs: RehearsalNeeds) -> Result<Box<dyn Rehearsal>, Error> {
        rehearsal::of_reader(self.reader(), &self.builder, &self.files, needs).await
    }

    fn store_id(&self) -> StoreId {
        self.id
    }

    fn check_writable(&self) -> Result<(), Error> {
        Err(refused())
    }

    fn begin(&self) -> Result<SlateDbReaderTxn, Error> {
        self.view()
    }

    fn begin_serializable(&self) -> Result<SlateDbReaderTxn, Error> {
        Err(refused())
    }

    fn view(&self) -> Result<SlateDbReaderTxn, Error> {
        Ok(SlateDbReaderTxn { kv: self.clone() })
    }

    fn rows_read(&self) -> &RowsRead {
        &self.rows_read
    }

    fn is_single_writer(&self) -> bool {
        // A reader is not a writer.
        false
    }

    fn scratch_folder(&self) -> Option<PathBuf> {
        self.files.scratch.clone()
    }

    fn trouble(&self) -> Option<String> {
        storage_trouble()
    }

    async fn marks(&self, ranges: &[KeyRange]) -> Result<Option<Vec<(Bytes, u64)>>, Error> {
        let manifest = self.following()?.manifest();
        Ok(marks(&manifest, &self.files, ranges).await.ok())
    }

    async fn flush(&self) -> Result<(), Error> {
        Ok(())
    }
}

/// A view of [`SlateDbReaderKv`]: each read is as of its own instant.
///
/// After every poll, SlateDB's reader replaces its files and its log at once,
/// only ever by newer ones; a get or a scan keeps those that were current when
/// it began.
pub struct SlateDbReaderTxn {
    kv: SlateDbReaderKv,
}

impl KvTxn for SlateDbReaderTxn {
    type Scan = SlateDbScan;

    fn is_of_one_instant(&self) -> bool {
        false
    }

    async fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Error> {
        self.kv.rows_read.add(1);
        let row = self.kv.following()?.get(key).await;
        row.map_err(|e| error(&format!("{} could not be read", key::name(key)), e))
    }

    async fn scan_part(&self, range: KeyRange, bytes: usize) -> Result<SlateDbScan, Error> {
        let count = self.kv.rows_read.count();
        if range.is_empty() {
            return Ok(SlateDbScan::nothing(range.end, count));
        }
        let reader = self.kv.following()?;
        let rows = reader
            .scan_with_options(range.clone(), &scan_options(bytes))
            .await;
        SlateDbScan::of(rows, range.end, count)
    }

    fn mark_read(&self, _: &[u8]) -> Result<(), Error> {
        Err(refused())
    }

    fn put(&mut self, _: Vec<u8>, _: Vec<u8>) -> Result<(), Error> {
        Err(refused())
    }

    fn delete(&mut self, _: Vec<u8>) -> Result<(), Error> {
        Err(refused())
    }

    async fn commit(self) -> Result<(), Error> {
        Err(refused())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::kv::KvScan;
    use state_migration_core::{EventStore, ExpectedSequence, NewEvent, StreamId, WorkflowId};

    /// A store with one stream, whose events have the given size.
    async fn store(folder: &FolderPath, events: usize, bytes: usize) -> (SlateDbStore, StreamId) {
        let store = SlateDbStore::open_local(folder).await.unwrap();
        let stream = StreamId::new("process/shop/17").unwrap();
        let payload = format!("\"{}\"", "x".repeat(bytes));
        let event = NewEvent::new(WorkflowId::new("order", "v1"), "OrderPlaced", 1, payload);
        let events = vec![event.unwrap(); events];
        let appended = store.append(&stream, ExpectedSequence::NoStream, events);
        appended.await.unwrap();
        (store, stream)
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_scan_whose_file_is_removed_half_way_fails_and_does_not_end() {
        let folder = tempfile::tempdir().unwrap();
        // More than a scan prefetches.
        let (store, stream) = store(folder.path(), 256, 64 << 10).await;
        store.close().await.unwrap();
        let reader = SlateDbReader::open_local(folder.path()).await.unwrap();
        let view = reader.kv().view().unwrap();
        let mut rows = view.scan(key::events_after(&stream, 0)).await.unwrap();
        assert!(rows.next().await.unwrap().is_some());
        std::fs::remove_dir_all(folder.path().join("compacted")).unwrap();
        let mut read = 1;
        let failed = loop {
            match rows.next().await {
                Ok(row) => assert!(row.is_some(), "the scan ended after {read} rows"),
                Err(error) => break error,
            }
            read += 1;
        };
        assert!(read < 256);
        assert_eq!(*failed.kind(), ErrorKind::Unavailable, "{failed}");
        assert!(rows.next().await.is_err());
        assert!(rows.seek(&key::event(&stream, 200)).await.is_err());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn dropping_the_last_handle_stops_the_look_for_news() {
        let folder = tempfile::tempdir().unwrap();
        let _writer = store(folder.path(), 1, 1).await;
        let reader = SlateDbReader::open_local(folder.path()).await.unwrap();
        // A remaining part of SlateDB's reader could still publish its status.
        let mut published = reader.kv().reader().subscribe();
        let another = reader.clone();
        drop(reader);
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert!(published.has_changed().is_ok());
        drop(another);
        let ended = async { while published.changed().await.is_ok() {} };
        let ended = tokio::time::timeout(Duration::from_secs(60), ended).await;
        assert!(ended.is_ok(), "it still looks");
    }
}

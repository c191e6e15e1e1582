//! Stores to test with, and copies of all that is in them.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use slatedb::config::Settings;
use state_migration::{
    DueFilter, DueOf, DuePage, DueRequest, Error, Head, MemoryStore, SlateDbStore, StreamId,
    StreamRange, TransactionalStore, Verdict, WorkflowId,
};
use tempfile::TempDir;

/// A SlateDB store in a folder that goes with it.
pub struct OnDisk {
    store: SlateDbStore,
    folder: TempDir,
}

impl OnDisk {
    /// A fresh store.
    ///
    /// # Errors
    /// The folder or the store cannot be made.
    pub async fn new() -> Result<Self, Box<dyn std::error::Error>> {
        Self::with_settings(|_| ()).await
    }

    /// A fresh store whose database has other settings.
    ///
    /// # Errors
    /// The folder or the store cannot be made.
    pub async fn with_settings(
        change: impl FnOnce(&mut Settings),
    ) -> Result<Self, Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let builder = SlateDbStore::local_builder(folder.path())?;
        let store = builder.with_settings(change).open().await?;
        Ok(Self { store, folder })
    }

    /// The folder of the store.
    #[must_use]
    pub fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// Closes the store and opens it again.
    ///
    /// # Errors
    /// The store cannot be closed or opened.
    pub async fn reopen(self) -> Result<Self, Error> {
        self.store.close().await?;
        let store = SlateDbStore::open_local(self.folder.path()).await?;
        Ok(Self {
            store,
            folder: self.folder,
        })
    }
}

impl Deref for OnDisk {
    type Target = SlateDbStore;
    fn deref(&self) -> &SlateDbStore {
        &self.store
    }
}

/// Copies a folder with all that is in it.
///
/// # Errors
/// One of the two cannot be used.
pub fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &to)?;
        } else {
            std::fs::copy(entry.path(), to)?;
        }
    }
    Ok(())
}

/// Everything in a folder, byte for byte; `None` for a folder.
///
/// # Errors
/// The folder cannot be read.
pub fn contents(folder: &Path) -> std::io::Result<BTreeMap<PathBuf, Option<Vec<u8>>>> {
    let mut all = BTreeMap::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            all.append(&mut contents(&path)?);
            all.insert(path, None);
        } else {
            let bytes = std::fs::read(&path)?;
            all.insert(path, Some(bytes));
        }
    }
    Ok(all)
}

/// Every key and value of a SlateDB store outside of the bookkeeping of runs,
/// by a full scan of the database.
///
/// # Errors
/// The database cannot be read.
pub async fn dump(store: &SlateDbStore) -> Result<Vec<(Bytes, Bytes)>, slatedb::Error> {
    Ok(without_runs(dump_all(store).await?))
}

/// Leaves out the rows that runs keep about themselves.
#[must_use]
pub fn without_runs(rows: Vec<(Bytes, Bytes)>) -> Vec<(Bytes, Bytes)> {
    let of_runs = |(key, _): &(Bytes, Bytes)| key.starts_with(b"u");
    rows.into_iter().filter(|row| !of_runs(row)).collect()
}

/// Every key and value of a SlateDB store, by a full scan of the database.
///
/// # Errors
/// The database cannot be read.
pub async fn dump_all(store: &SlateDbStore) -> Result<Vec<(Bytes, Bytes)>, slatedb::Error> {
    let mut rows = store.db().scan::<std::ops::RangeFull>(..).await?;
    let mut all = Vec::new();
    while let Some(row) = rows.next().await? {
        all.push((row.key, row.value));
    }
    Ok(all)
}

/// The keys that differ between two dumps, readable.
#[must_use]
pub fn differences(before: &[(Bytes, Bytes)], after: &[(Bytes, Bytes)]) -> Vec<String> {
    let (before, after): (BTreeMap<_, _>, BTreeMap<_, _>) = (
        before.iter().cloned().collect(),
        after.iter().cloned().collect(),
    );
    let changed = before
        .iter()
        .filter(|(key, value)| after.get(*key) != Some(value));
    let added = after.iter().filter(|(key, _)| !before.contains_key(*key));
    changed
        .chain(added)
        .map(|(key, _)| key.escape_ascii().to_string())
        .collect()
}

/// A store with its rows laid bare: to see that nothing was written, and to damage it.
#[async_trait]
pub trait Rows {
    /// Every key and value, in order.
    ///
    /// # Errors
    /// The store cannot be read.
    async fn all_rows(&self) -> Result<Vec<(Bytes, Bytes)>, slatedb::Error>;

    /// Every key and value outside of the bookkeeping of runs, in order.
    ///
    /// # Errors
    /// The store cannot be read.
    async fn rows(&self) -> Result<Vec<(Bytes, Bytes)>, slatedb::Error> {
        self.all_rows().await.map(without_runs)
    }

    /// Puts a row as it is, past all rules.
    ///
    /// # Errors
    /// The store cannot be written.
    async fn put_row(&self, key: Vec<u8>, value: Vec<u8>) -> Result<(), slatedb::Error>;
}

#[async_trait]
impl Rows for MemoryStore {
    async fn all_rows(&self) -> Result<Vec<(Bytes, Bytes)>, slatedb::Error> {
        Ok(self.dump())
    }
    async fn put_row(&self, key: Vec<u8>, value: Vec<u8>) -> Result<(), slatedb::Error> {
        self.put_raw(key, value);
        Ok(())
    }
}

#[async_trait]
impl Rows for SlateDbStore {
    async fn all_rows(&self) -> Result<Vec<(Bytes, Bytes)>, slatedb::Error> {
        dump_all(self).await
    }
    async fn put_row(&self, key: Vec<u8>, value: Vec<u8>) -> Result<(), slatedb::Error> {
        self.db().put(key, value).await?;
        self.db().flush().await
    }
}

/// The key of the head of a stream whose id holds no zero byte.
#[must_use]
pub fn head_key(stream: &StreamId) -> Vec<u8> {
    [b"h", stream.as_str().as_bytes(), &[0, 1]].concat()
}

/// The key of an event of a stream whose id holds no zero byte.
#[must_use]
pub fn event_key(stream: &StreamId, sequence: u64) -> Vec<u8> {
    let prefix = [b"e", stream.as_str().as_bytes(), &[0, 1]].concat();
    [prefix, sequence.to_be_bytes().to_vec()].concat()
}

/// Looks at processes of some versions, or of all.
struct Look {
    versions: Option<BTreeSet<WorkflowId>>,
    verdict: Verdict,
}

impl DueFilter for Look {
    fn versions(&self) -> Option<&BTreeSet<WorkflowId>> {
        self.versions.as_ref()
    }
    fn verdict(&self, _: &StreamId, _: &Head) -> Verdict {
        self.verdict
    }
}

fn request(of: DueOf, look: Look) -> DueRequest {
    DueRequest {
        of,
        filter: Arc::new(look),
        max_processes: 512,
        max_heads: 4_096,
        max_bytes: 64 << 20,
        max_process_bytes: 64 << 20,
        events_after: None,
        snapshots: Arc::default(),
        all_events: false,
        whole_history: false,
    }
}

/// Reads some processes, sorted by stream, as a run does.
///
/// # Errors
/// The store cannot be read.
pub async fn page_of(
    store: &(impl TransactionalStore + ?Sized),
    streams: Vec<StreamId>,
) -> Result<DuePage, Error> {
    let look = Look {
        versions: None,
        verdict: Verdict::Due,
    };
    let request = request(DueOf::Streams(streams), look);
    store.read_due(request).await
}

/// The streams of the processes that are at a version, by their heads.
///
/// # Errors
/// The store cannot be read.
pub async fn streams_at(
    store: &(impl TransactionalStore + ?Sized),
    version: &WorkflowId,
) -> Result<Vec<StreamId>, Error> {
    let (mut streams, mut range) = (Vec::new(), StreamRange::default());
    loop {
        let look = Look {
            versions: Some([version.clone()].into()),
            verdict: Verdict::Head,
        };
        let page = store
            .read_due(request(DueOf::Range(range.clone()), look))
            .await?;
        streams.extend(page.processes.into_iter().map(|process| process.stream));
        if page.at_end {
            return Ok(streams);
        }
        range.after = page.up_to;
    }
}

//! The in-memory engine: for tests, and to measure the runner without a disk.
//!
//! It stores the same keys and records as SlateDB and has the same
//! transactions: reads are as of one instant, and a commit fails when a key
//! that it marked as read or writes has changed since. Nothing is durable: the
//! data is gone with the last handle.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use imbl::OrdMap;
use state_migration_core::store_api::claim;
use state_migration_core::{
    DurableStoreId, Error, ErrorKind, EventStore, Rehearsal, RehearsalNeeds, SnapshotStore, StoreId,
};

use crate::key::{self, KeyRange};
use crate::kv::{Kv, KvScan, KvTxn, RowCount, RowsRead};
use crate::records::RecordStore;

/// A store in memory: events, snapshots and process registry in one.
///
/// Clones are handles of the same data.
///
/// ```
/// use state_migration::{EventStore, MemoryStore, ProcessRegistry, SnapshotStore};
///
/// let store = MemoryStore::new();
/// let another_handle = store.clone();
/// assert_eq!(SnapshotStore::store_id(&store), ProcessRegistry::store_id(&another_handle));
/// ```
pub type MemoryStore = RecordStore<MemoryKv>;

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::over(MemoryKv::default())
    }

    /// Every key and value, in order: to compare stores byte for byte.
    #[must_use]
    pub fn dump(&self) -> Vec<(Bytes, Bytes)> {
        let map = self.kv().state().rows.clone();
        map.into_iter().collect()
    }

    /// Puts a raw row without any check: to test how damage is handled.
    pub fn put_raw(&self, key: impl Into<Bytes>, value: impl Into<Bytes>) {
        self.kv().state().rows.insert(key.into(), value.into());
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

/// The engine of [`MemoryStore`].
#[derive(Clone)]
pub struct MemoryKv {
    id: StoreId,
    durable_id: DurableStoreId,
    rows_read: RowsRead,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    rows: OrdMap<Bytes, Bytes>,
    /// The number of committed transactions.
    commits: u64,
    /// The keys of recent commits, back to the start of the oldest open
    /// transaction.
    recent: VecDeque<(u64, Vec<Bytes>)>,
    /// The number of open transactions, by the count of commits at their start.
    open: BTreeMap<u64, usize>,
}

impl Default for MemoryKv {
    fn default() -> Self {
        Self {
            id: StoreId::unique(),
            durable_id: DurableStoreId::random(),
            rows_read: RowsRead::default(),
            state: Arc::default(),
        }
    }
}

/// The number of rows from one mark to the next.
const MARK: usize = 64;

impl MemoryKv {
    fn txn(&self, serializable: bool) -> MemoryTxn {
        let mut state = self.state();
        let began = state.commits;
        *state.open.entry(began).or_default() += 1;
        MemoryTxn {
            kv: self.clone(),
            rows: state.rows.clone(),
            began,
            serializable,
            read_keys: Mutex::default(),
            read_ranges: Mutex::default(),
            writes: HashMap::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No code that can panic runs while the lock is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kv for MemoryKv {
    type Txn = MemoryTxn;

    fn store_id(&self) -> StoreId {
        self.id
    }

    /// Not a row, so that two stores with the same content are equal byte for byte.
    async fn durable_id(&self) -> Result<Option<DurableStoreId>, Error> {
        Ok(Some(self.durable_id))
    }

    async fn rehearsal(&self, _: RehearsalNeeds) -> Result<Box<dyn Rehearsal>, Error> {
        let copy = Self::default();
        let mut rows = self.state().rows.clone();
        rows.remove(&key::run_row(claim::CLAIM)[..]);
        copy.state().rows = rows;
        Ok(Box::new(MemoryRehearsal(MemoryStore::over(copy))))
    }

    fn begin(&self) -> Result<MemoryTxn, Error> {
        Ok(self.txn(false))
    }

    fn begin_serializable(&self) -> Result<MemoryTxn, Error> {
        Ok(self.txn(true))
    }

    fn view(&self) -> Result<MemoryTxn, Error> {
        self.begin()
    }

    async fn marks(&self, ranges: &[KeyRange]) -> Result<Option<Vec<(Bytes, u64)>>, Error> {
        // Iterates over keys in memory, which counts as no row read.
        let rows = self.state().rows.clone();
        let mut marks = Vec::new();
        for range in ranges {
            let (start, end) = (
                Bound::Included(&range.start[..]),
                Bound::Excluded(&range.end[..]),
            );
            let keys = rows.range::<_, [u8]>((start, end));
            let keys = keys.step_by(MARK);
            marks.extend(keys.map(|(key, _)| (key.clone(), MARK as u64)));
        }
        Ok(Some(marks))
    }

    fn rows_read(&self) -> &RowsRead {
        &self.rows_read
    }

    fn is_single_writer(&self) -> bool {
        // Other handles can write at any time.
        false
    }

    async fn flush(&self) -> Result<(), Error> {
        Ok(())
    }
}

/// A copy of a store in memory.
struct MemoryRehearsal(MemoryStore);

#[async_trait]
impl Rehearsal for MemoryRehearsal {
    fn name(&self) -> &str {
        "memory"
    }

    fn location(&self) -> Option<String> {
        None
    }

    fn events(&self) -> Arc<dyn EventStore> {
        Arc::new(self.0.clone())
    }

    fn snapshots(&self) -> Arc<dyn SnapshotStore> {
        Arc::new(self.0.clone())
    }

    /// The copy is gone with its last handle.
    async fn end(&self, _: &str, _: bool) -> Result<(), Error> {
        Ok(())
    }
}

/// A transaction of [`MemoryKv`].
pub struct MemoryTxn {
    kv: MemoryKv,
    rows: OrdMap<Bytes, Bytes>,
    began: u64,
    /// Whether all reads count as marked.
    serializable: bool,
    read_keys: Mutex<HashSet<Bytes>>,
    read_ranges: Mutex<Vec<KeyRange>>,
    writes: HashMap<Bytes, Option<Bytes>>,
}

impl MemoryTxn {
    fn conflicts_with(&self, key: &Bytes) -> bool {
        let read_keys = self
            .read_keys
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let read_ranges = self
            .read_ranges
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        self.writes.contains_key(key)
            || read_keys.contains(key)
            || read_ranges
                .iter()
                .any(|range| range.start[..] <= key[..] && key[..] < range.end[..])
    }
}

impl KvTxn for MemoryTxn {
    type Scan = MemoryScan;

    async fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Error> {
        if self.serializable {
            self.mark_read(key)?;
        }
        self.kv.rows_read.add(1);
        Ok(self.rows.get(key).cloned())
    }

    async fn scan_part(&self, range: KeyRange, _: usize) -> Result<MemoryScan, Error> {
        if self.serializable {
            let ranges = self.read_ranges.lock();
            let mut ranges = ranges.unwrap_or_else(PoisonError::into_inner);
            ranges.push(range.clone());
        }
        Ok(MemoryScan {
            rows: self.rows.clone(),
            count: self.kv.rows_read.count(),
            page: VecDeque::new(),
            next: Bound::Included(range.start.into()),
            end: range.end.into(),
        })
    }

    fn mark_read(&self, key: &[u8]) -> Result<(), Error> {
        let keys = self.read_keys.lock();
        let mut keys = keys.unwrap_or_else(PoisonError::into_inner);
        keys.insert(Bytes::copy_from_slice(key));
        Ok(())
    }

    fn put(&mut self, key: Vec<u8>, value: Vec<u8>) -> Result<(), Error> {
        self.writes.insert(key.into(), Some(value.into()));
        Ok(())
    }

    fn delete(&mut self, key: Vec<u8>) -> Result<(), Error> {
        self.writes.insert(key.into(), None);
        Ok(())
    }

    async fn commit(mut self) -> Result<(), Error> {
        if self.writes.is_empty() {
            return Ok(());
        }
        let kv = self.kv.clone();
        let mut state = kv.state();
        let changed_since = state
            .recent
            .iter()
            .filter(|(at, _)| *at > self.began)
            .any(|(_, keys)| keys.iter().any(|key| self.conflicts_with(key)));
        if changed_since {
            drop(state);
            return Err(Error::new(
                ErrorKind::Conflict,
                "conflict with another transaction; load again and retry",
            ));
        }
        let writes = std::mem::take(&mut self.writes);
        state.commits += 1;
        let at = state.commits;
        let keys = writes.keys().cloned().collect();
        for (key, value) in writes {
            match value {
                Some(value) => state.rows.insert(key, value),
                None => state.rows.remove(&key),
            };
        }
        state.recent.push_back((at, keys));
        drop(state);
        Ok(())
    }
}

impl Drop for MemoryTxn {
    fn drop(&mut self) {
        let mut state = self.kv.state();
        if let Some(open) = state.open.get_mut(&self.began) {
            *open -= 1;
            if *open == 0 {
                state.open.remove(&self.began);
            }
        }
        let oldest = state.open.keys().next().copied().unwrap_or(u64::MAX);
        while state.recent.front().is_some_and(|(at, _)| *at <= oldest) {
            state.recent.pop_front();
        }
    }
}

/// The number of rows that a scan takes from the map at a time.
const PAGE: usize = 32;

/// A scan of [`MemoryKv`].
pub struct MemoryScan {
    rows: OrdMap<Bytes, Bytes>,
    count: RowCount,
    /// Rows taken from the map and not returned yet.
    page: VecDeque<(Bytes, Bytes)>,
    next: Bound<Bytes>,
    end: Bytes,
}

impl MemoryScan {
    fn fill(&mut self) {
        let (Bound::Included(from) | Bound::Excluded(from)) = &self.next else {
            return;
        };
        if *from >= self.end {
            return;
        }
        let rest = (self.next.clone(), Bound::Excluded(self.end.clone()));
        let rows = self.rows.range(rest).take(PAGE);
        self.page
            .extend(rows.map(|(key, value)| (key.clone(), value.clone())));
        self.next = match self.page.back() {
            Some((last, _)) if self.page.len() == PAGE => Bound::Excluded(last.clone()),
            _ => Bound::Unbounded,
        };
    }
}

impl KvScan for MemoryScan {
    async fn next(&mut self) -> Result<Option<(Bytes, Bytes)>, Error> {
        if self.page.is_empty() {
            self.fill();
        }
        let row = self.page.pop_front();
        if row.is_some() {
            self.count.one_more();
        }
        Ok(row)
    }

    async fn seek(&mut self, key: &[u8]) -> Result<(), Error> {
        while self.page.front().is_some_and(|(at, _)| at[..] < *key) {
            self.page.pop_front();
        }
        if self.page.is_empty() {
            self.next = Bound::Included(Bytes::copy_from_slice(key));
        }
        Ok(())
    }
}

//! A store whose answers to writes get lost: some before the write has happened,
//! some after. It also knows which chunks it was asked for.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use state_migration::{
    Appended, AtVersion, Chunk, ChunkProcess, ChunkRequest, Decision, Error, ErrorKind, Event,
    EventStore, ExpectedSequence, Head, NewEvent, Snapshot, SnapshotStore, Split, StoreId,
    StreamId, StreamRange, Traffic, TransactionalStore, WorkflowId,
};

/// Which answers get lost.
#[derive(Debug, Default)]
pub struct Losses {
    writes: AtomicU64,
    /// Every so many writes one answer is lost; 0: none.
    pub every: AtomicU64,
    flushes: AtomicU64,
    /// Of how many flushes the answers are lost, every other one.
    pub flushes_to_lose: AtomicU64,
    /// How many writes have happened whose answers were lost.
    pub after: AtomicU64,
    /// How many writes have not happened whose answers were lost.
    pub before: AtomicU64,
}

enum Loss {
    None,
    Before,
    After,
}

impl Losses {
    fn next(&self) -> Loss {
        let every = self.every.load(Ordering::SeqCst);
        if every == 0 {
            return Loss::None;
        }
        let write = self.writes.fetch_add(1, Ordering::SeqCst);
        match (write % every, write / every % 2) {
            (0, 0) => {
                self.after.fetch_add(1, Ordering::SeqCst);
                Loss::After
            }
            (0, _) => {
                self.before.fetch_add(1, Ordering::SeqCst);
                Loss::Before
            }
            _ => Loss::None,
        }
    }
}

fn lost<T>() -> Result<T, Error> {
    Err(Error::new(ErrorKind::OutcomeUnknown, "the answer was lost"))
}

/// The chunks of processes that a store was asked for.
#[derive(Debug, Default)]
pub struct Chunks {
    sizes: Mutex<Vec<usize>>,
    open: AtomicUsize,
    most_open: AtomicUsize,
}

impl Chunks {
    /// How many processes each of them had.
    #[must_use]
    pub fn sizes(&self) -> Vec<usize> {
        let sizes = self.sizes.lock().unwrap_or_else(PoisonError::into_inner);
        sizes.clone()
    }

    /// How many were open at once.
    #[must_use]
    pub fn most_open(&self) -> usize {
        self.most_open.load(Ordering::SeqCst)
    }

    fn begin(self: &Arc<Self>, processes: usize) -> Option<OpenChunk> {
        if processes == 0 {
            return None;
        }
        let mut sizes = self.sizes.lock().unwrap_or_else(PoisonError::into_inner);
        sizes.push(processes);
        let open = self.open.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_open.fetch_max(open, Ordering::SeqCst);
        Some(OpenChunk(self.clone()))
    }
}

struct OpenChunk(Arc<Chunks>);

impl Drop for OpenChunk {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A store over another one that loses answers.
#[derive(Clone)]
pub struct Lossy<S> {
    inner: S,
    store: Arc<dyn TransactionalStore>,
    /// Which are lost.
    pub losses: Arc<Losses>,
    /// Which chunks it was asked for.
    pub chunks: Arc<Chunks>,
}

impl<S: EventStore> Lossy<S> {
    /// A store that loses nothing, until [`losses`](Lossy::losses) says otherwise.
    ///
    /// # Errors
    /// The store is not transactional.
    pub fn over(inner: S) -> Result<Self, Error> {
        let store = inner
            .transactional()
            .ok_or_else(|| Error::new(ErrorKind::Invalid, "the store is not transactional"))?;
        Ok(Self {
            inner,
            store,
            losses: Arc::default(),
            chunks: Arc::default(),
        })
    }
}

#[async_trait]
impl<S: EventStore + Clone + 'static> EventStore for Lossy<S> {
    async fn append(
        &self,
        stream: &StreamId,
        expected: ExpectedSequence,
        events: Vec<NewEvent>,
    ) -> Result<Appended, Error> {
        match self.losses.next() {
            Loss::Before => lost(),
            Loss::After => {
                self.inner.append(stream, expected, events).await?;
                lost()
            }
            Loss::None => self.inner.append(stream, expected, events).await,
        }
    }
    async fn read_all(
        &self,
        stream: &StreamId,
        after: u64,
        limit: usize,
    ) -> Result<Vec<Event>, Error> {
        self.inner.read_all(stream, after, limit).await
    }
    async fn head(&self, stream: &StreamId) -> Result<Option<Head>, Error> {
        self.inner.head(stream).await
    }
    async fn list_streams(
        &self,
        prefix: Option<&str>,
        after: Option<&StreamId>,
        limit: usize,
    ) -> Result<Vec<StreamId>, Error> {
        self.inner.list_streams(prefix, after, limit).await
    }
    async fn flush(&self) -> Result<(), Error> {
        self.inner.flush().await?;
        let flush = self.losses.flushes.fetch_add(1, Ordering::SeqCst);
        let left = &self.losses.flushes_to_lose;
        let loses = flush.is_multiple_of(2)
            && left
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
                    left.checked_sub(1)
                })
                .is_ok();
        if loses { lost() } else { Ok(()) }
    }
    fn transactional(&self) -> Option<Arc<dyn TransactionalStore>> {
        Some(Arc::new(self.clone()))
    }
}

#[async_trait]
impl<S: SnapshotStore> SnapshotStore for Lossy<S> {
    async fn save(&self, snapshot: &Snapshot) -> Result<(), Error> {
        self.inner.save(snapshot).await
    }
    async fn load(&self, stream: &StreamId) -> Result<Option<Snapshot>, Error> {
        self.inner.load(stream).await
    }
    async fn delete(&self, stream: &StreamId) -> Result<(), Error> {
        self.inner.delete(stream).await
    }
    fn store_id(&self) -> Option<StoreId> {
        self.inner.store_id()
    }
}

#[async_trait]
impl<S: EventStore + Clone + 'static> TransactionalStore for Lossy<S> {
    fn store_id(&self) -> StoreId {
        self.store.store_id()
    }
    async fn versions(&self, name: &str) -> Result<Vec<WorkflowId>, Error> {
        self.store.versions(name).await
    }
    async fn split(
        &self,
        versions: &[WorkflowId],
        parts: usize,
        at_least: usize,
    ) -> Result<Split, Error> {
        self.store.split(versions, parts, at_least).await
    }
    async fn streams_at(
        &self,
        version: &WorkflowId,
        range: &StreamRange,
        limit: usize,
    ) -> Result<Vec<AtVersion>, Error> {
        self.store.streams_at(version, range, limit).await
    }
    async fn begin(&self, request: ChunkRequest) -> Result<Box<dyn Chunk>, Error> {
        let open = self.chunks.begin(request.streams.len());
        Ok(Box::new(LossyChunk {
            _open: open,
            inner: self.store.begin(request).await?,
            losses: self.losses.clone(),
        }))
    }
    async fn retire(&self, version: &WorkflowId, left: Option<u64>) -> Result<bool, Error> {
        self.store.retire(version, left).await
    }
    fn arrivals(&self, version: &WorkflowId) -> Option<u64> {
        self.store.arrivals(version)
    }
    async fn remembered(
        &self,
        after: Option<&StreamId>,
        limit: usize,
    ) -> Result<Vec<StreamId>, Error> {
        self.store.remembered(after, limit).await
    }
    async fn forget(&self, streams: &[StreamId]) -> Result<(), Error> {
        self.store.forget(streams).await
    }
    async fn rows(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, Error> {
        self.store.rows(prefix, after, limit).await
    }
    fn is_single_writer(&self) -> bool {
        self.store.is_single_writer()
    }
    async fn announce(&self, versions: &[WorkflowId]) -> Result<(), Error> {
        self.store.announce(versions).await
    }
    fn traffic(&self) -> Traffic {
        self.store.traffic()
    }
}

struct LossyChunk {
    _open: Option<OpenChunk>,
    inner: Box<dyn Chunk>,
    losses: Arc<Losses>,
}

#[async_trait]
impl Chunk for LossyChunk {
    fn take_processes(&mut self) -> Vec<ChunkProcess> {
        self.inner.take_processes()
    }
    fn covered(&self) -> usize {
        self.inner.covered()
    }
    fn migrate(&mut self, stream: &StreamId, event: NewEvent, remember: bool) -> Result<(), Error> {
        self.inner.migrate(stream, event, remember)
    }
    fn decide(&mut self, version: &WorkflowId, stream: &StreamId, decision: Decision) {
        self.inner.decide(version, stream, decision);
    }
    async fn row(&mut self, key: &[u8]) -> Result<Option<Bytes>, Error> {
        self.inner.row(key).await
    }
    fn put_row(&mut self, key: Vec<u8>, row: Option<Vec<u8>>) {
        self.inner.put_row(key, row);
    }
    async fn commit(self: Box<Self>) -> Result<(), Error> {
        match self.losses.next() {
            Loss::Before => lost(),
            Loss::After => {
                self.inner.commit().await?;
                lost()
            }
            Loss::None => self.inner.commit().await,
        }
    }
    async fn commit_unflushed(self: Box<Self>) -> Result<(), Error> {
        match self.losses.next() {
            Loss::Before => lost(),
            Loss::After => {
                self.inner.commit_unflushed().await?;
                lost()
            }
            Loss::None => self.inner.commit_unflushed().await,
        }
    }
}

//! A store whose answers to writes get lost: some before the write has happened,
//! some after; and some writes of which take their time. It also knows which pages
//! of processes were read.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use state_migration::{
    Appended, Batch, Commit, DueFilter, DuePage, DueRequest, Error, ErrorKind, Event, EventStore,
    ExpectedSequence, Head, Hold, NewEvent, Partitioning, Presence, ReadPoint, RowWrite, RunId,
    Snapshot, SnapshotStore, StoreId, StreamId, StreamRange, TransactionalStore, WorkflowId,
    WriteActivity,
};

/// Which answers get lost.
#[derive(Debug, Default)]
pub struct Losses {
    writes: AtomicU64,
    /// The number of writes for each lost answer; 0 loses none.
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

/// The pages of processes that were read of a store.
#[derive(Debug, Default)]
pub struct Pages {
    sizes: Mutex<Vec<usize>>,
    calls: AtomicUsize,
    most_calls: AtomicUsize,
}

impl Pages {
    /// How many processes each of them had.
    #[must_use]
    pub fn sizes(&self) -> Vec<usize> {
        let sizes = self.sizes.lock().unwrap_or_else(PoisonError::into_inner);
        sizes.clone()
    }

    /// How many pages were being read, or committed, at once.
    #[must_use]
    pub fn most_calls(&self) -> usize {
        self.most_calls.load(Ordering::SeqCst)
    }

    fn read(&self, processes: usize) {
        let mut sizes = self.sizes.lock().unwrap_or_else(PoisonError::into_inner);
        sizes.extend((processes > 0).then_some(processes));
    }

    fn call(&self) -> Call<'_> {
        let calls = self.calls.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_calls.fetch_max(calls, Ordering::SeqCst);
        Call(self)
    }
}

/// A page is being read or committed.
struct Call<'a>(&'a Pages);

impl Drop for Call<'_> {
    fn drop(&mut self) {
        self.0.calls.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Whether the answer to a batch is lost after the batch was written.
pub type Loses = dyn Fn(&Batch) -> bool + Send + Sync;

/// For how long a worker stops before a batch is committed, and after.
pub type Stops = dyn Fn(&Batch) -> (Duration, Duration) + Send + Sync;

/// A store over another one that loses answers.
#[derive(Clone)]
pub struct Lossy<S> {
    inner: S,
    store: Arc<dyn TransactionalStore>,
    /// Which are lost.
    pub losses: Arc<Losses>,
    /// Which pages were read.
    pub pages: Arc<Pages>,
    stops: Arc<Stops>,
    loses: Arc<Loses>,
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
            pages: Arc::default(),
            stops: Arc::new(|_| (Duration::ZERO, Duration::ZERO)),
            loses: Arc::new(|_| false),
        })
    }

    /// The same that loses the answers to some batches.
    #[must_use]
    pub fn losing(mut self, loses: impl Fn(&Batch) -> bool + Send + Sync + 'static) -> Self {
        self.loses = Arc::new(loses);
        self
    }

    /// The same with workers that stop as they commit.
    #[must_use]
    pub fn stopping(
        mut self,
        stops: impl Fn(&Batch) -> (Duration, Duration) + Send + Sync + 'static,
    ) -> Self {
        self.stops = Arc::new(stops);
        self
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
    async fn versions(&self, name: &str) -> Result<Vec<Presence>, Error> {
        self.store.versions(name).await
    }
    async fn split(
        &self,
        within: &[StreamRange],
        filter: &dyn DueFilter,
        parts: usize,
        at_least: usize,
    ) -> Result<Partitioning, Error> {
        self.store.split(within, filter, parts, at_least).await
    }
    async fn read_due(&self, request: DueRequest) -> Result<DuePage, Error> {
        let _call = self.pages.call();
        let page = self.store.read_due(request).await?;
        self.pages.read(page.processes.len());
        Ok(page)
    }
    async fn commit_unflushed(&self, batch: &Batch, read: ReadPoint) -> Result<Commit, Error> {
        let _call = self.pages.call();
        let (before, after) = (self.stops)(batch);
        tokio::time::sleep(before).await;
        let committed = match self.losses.next() {
            Loss::Before => lost(),
            Loss::After => {
                // The answer that nothing was written is lost as well.
                let _ = self.store.commit_unflushed(batch, read).await?;
                lost()
            }
            Loss::None => {
                let committed = self.store.commit_unflushed(batch, read).await;
                match (self.loses)(batch) {
                    true => committed.and_then(|_| lost()),
                    false => committed,
                }
            }
        };
        tokio::time::sleep(after).await;
        committed
    }
    async fn births(&self, version: &WorkflowId, limit: usize) -> Result<Vec<StreamId>, Error> {
        self.store.births(version, limit).await
    }
    async fn end_closing(
        &self,
        version: &WorkflowId,
        run: RunId,
        empty: bool,
    ) -> Result<bool, Error> {
        self.store.end_closing(version, run, empty).await
    }
    async fn hold(
        &self,
        stream: &StreamId,
        hold: Option<Hold>,
        record: RowWrite,
    ) -> Result<Option<Head>, Error> {
        self.store.hold(stream, hold, record).await
    }
    async fn held(&self, stream: &StreamId) -> Result<Option<Hold>, Error> {
        self.store.held(stream).await
    }
    async fn pending_registry_updates(
        &self,
        after: Option<&StreamId>,
        limit: usize,
    ) -> Result<Vec<StreamId>, Error> {
        self.store.pending_registry_updates(after, limit).await
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
    fn write_activity(&self) -> WriteActivity {
        self.store.write_activity()
    }
}

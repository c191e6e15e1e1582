//! Stores over other stores that fail on demand, and know nothing of transactions.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use state_migration::{
    Appended, Error, ErrorKind, Event, EventStore, ExpectedSequence, Head, NewEvent, ProcessId,
    ProcessIdentity, ProcessRegistry, RegistryKey, Snapshot, SnapshotStore, StreamId, TenantId,
};

/// How many calls of each kind fail from now on.
#[derive(Debug)]
pub struct Faults {
    /// Calls of the event store that are answered before it stops answering.
    pub answers: AtomicUsize,
    /// Calls of `list_streams`.
    pub list: AtomicUsize,
    /// Calls of `append`.
    pub append: AtomicUsize,
    /// Calls of `append` that succeed, but say they do not.
    pub append_answer: AtomicUsize,
    /// Calls of `append` that do nothing and whose outcome is unknown.
    pub append_unknown: AtomicUsize,
    /// Calls of `append` that succeed, and whose answer is lost because the event store
    /// stops answering.
    pub last_append: AtomicUsize,
    /// Calls of `save`.
    pub save: AtomicUsize,
    /// Calls of `register`.
    pub register: AtomicUsize,
    /// Calls of `lookup`.
    pub lookup: AtomicUsize,
}

/// All calls from now on.
pub const ALL: usize = usize::MAX;

impl Default for Faults {
    fn default() -> Self {
        Self {
            answers: AtomicUsize::new(ALL),
            list: AtomicUsize::default(),
            append: AtomicUsize::default(),
            append_answer: AtomicUsize::default(),
            append_unknown: AtomicUsize::default(),
            last_append: AtomicUsize::default(),
            save: AtomicUsize::default(),
            register: AtomicUsize::default(),
            lookup: AtomicUsize::default(),
        }
    }
}

impl Faults {
    /// Fails if the event store has stopped answering.
    fn answer(&self) -> Result<(), Error> {
        match Self::strike(&self.answers, "") {
            Err(_) => Ok(()),
            Ok(()) => Err(Error::new(ErrorKind::Unavailable, "no answer on demand")),
        }
    }

    fn strike(count: &AtomicUsize, what: &str) -> Result<(), Error> {
        let due = count.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| match n {
            0 => None,
            ALL => Some(ALL),
            n => Some(n - 1),
        });
        match due {
            Ok(_) => Err(Error::new(
                ErrorKind::Unavailable,
                format!("{what} failed on demand"),
            )),
            Err(_) => Ok(()),
        }
    }
}

/// A store over another one that fails on demand.
#[derive(Debug, Clone)]
pub struct Faulty<S> {
    inner: S,
    /// What fails.
    pub faults: Arc<Faults>,
}

impl<S> Faulty<S> {
    /// A store that works, until [`faults`](Faulty::faults) says otherwise.
    pub fn over(inner: S) -> Self {
        Self {
            inner,
            faults: Arc::default(),
        }
    }
}

#[async_trait]
impl<S: EventStore> EventStore for Faulty<S> {
    async fn append(
        &self,
        stream: &StreamId,
        expected: ExpectedSequence,
        events: Vec<NewEvent>,
    ) -> Result<Appended, Error> {
        self.faults.answer()?;
        Faults::strike(&self.faults.append, "append")?;
        let unknown = |_| Error::new(ErrorKind::OutcomeUnknown, "no answer to append on demand");
        Faults::strike(&self.faults.append_unknown, "append").map_err(unknown)?;
        let appended = self.inner.append(stream, expected, events).await?;
        if let Err(lost) = Faults::strike(&self.faults.last_append, "append") {
            self.faults.answers.store(0, Ordering::SeqCst);
            return Err(unknown(lost));
        }
        Faults::strike(&self.faults.append_answer, "the answer of append")?;
        Ok(appended)
    }
    async fn read_all(
        &self,
        stream: &StreamId,
        after: u64,
        limit: usize,
    ) -> Result<Vec<Event>, Error> {
        self.faults.answer()?;
        self.inner.read_all(stream, after, limit).await
    }
    async fn head(&self, stream: &StreamId) -> Result<Option<Head>, Error> {
        self.faults.answer()?;
        self.inner.head(stream).await
    }
    async fn list_streams(
        &self,
        prefix: Option<&str>,
        after: Option<&StreamId>,
        limit: usize,
    ) -> Result<Vec<StreamId>, Error> {
        self.faults.answer()?;
        Faults::strike(&self.faults.list, "list_streams")?;
        self.inner.list_streams(prefix, after, limit).await
    }
}

#[async_trait]
impl<S: SnapshotStore> SnapshotStore for Faulty<S> {
    async fn save(&self, snapshot: &Snapshot) -> Result<(), Error> {
        Faults::strike(&self.faults.save, "save")?;
        self.inner.save(snapshot).await
    }
    async fn load(&self, stream: &StreamId) -> Result<Option<Snapshot>, Error> {
        self.inner.load(stream).await
    }
    async fn delete(&self, stream: &StreamId) -> Result<(), Error> {
        self.inner.delete(stream).await
    }
}

#[async_trait]
impl<S: ProcessRegistry> ProcessRegistry for Faulty<S> {
    async fn register(
        &self,
        tenant: &TenantId,
        key: &RegistryKey,
        identity: &ProcessIdentity,
    ) -> Result<(), Error> {
        Faults::strike(&self.faults.register, "register")?;
        self.inner.register(tenant, key, identity).await
    }
    async fn lookup(
        &self,
        tenant: &TenantId,
        key: &RegistryKey,
    ) -> Result<Option<ProcessIdentity>, Error> {
        Faults::strike(&self.faults.lookup, "lookup")?;
        self.inner.lookup(tenant, key).await
    }
    async fn remove(
        &self,
        tenant: &TenantId,
        key: &RegistryKey,
        identity: &ProcessIdentity,
    ) -> Result<(), Error> {
        self.inner.remove(tenant, key, identity).await
    }
    async fn keys_of(
        &self,
        tenant: &TenantId,
        process: &ProcessId,
    ) -> Result<Vec<RegistryKey>, Error> {
        self.inner.keys_of(tenant, process).await
    }
}

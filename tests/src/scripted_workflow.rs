//! Jobs in two versions, whose code does what a test tells it to.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use state_migration::{
    BoxError, ConversionError, Error, EventPayload, EventStore, ExpectedSequence, Fingerprint,
    MemoryStore, MigrationRegistry, MigrationRunner, NewEvent, RecordStore, SlateDbStore,
    SnapshotStore, StateMigration, StreamId, Workflow, WorkflowId,
};

use crate::orders::id;
use crate::stores::Rows;

/// What can happen to a job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum JobEvent {
    /// It began.
    Begun {
        /// Its number.
        n: u64,
        /// What the code is to do with it.
        fate: String,
    },
    /// It went a step further.
    Step,
    /// It is over.
    Over,
}

impl EventPayload for JobEvent {
    fn event_type(&self) -> &'static str {
        match self {
            Self::Begun { .. } => "JobBegun",
            Self::Step => "JobStep",
            Self::Over => "JobOver",
        }
    }
}

/// The state of a job, in both versions.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// Its number.
    pub n: u64,
    /// What the code is to do with it.
    pub fate: String,
    /// How many steps it went.
    pub steps: u64,
    /// Whether it is over.
    pub over: bool,
}

/// The schema version that no code reads.
pub const REFUSED_BY_UPCAST: u32 = 9;

/// The fate of a job whose first step panics.
pub const PANICS_IN_APPLY: &str = "panics in apply";

fn apply(mut job: Job, event: &JobEvent) -> Job {
    match event {
        JobEvent::Begun { n, fate } => {
            job.n = *n;
            job.fate.clone_from(fate);
        }
        JobEvent::Step => {
            assert_ne!(job.fate, PANICS_IN_APPLY, "a step too far");
            job.steps += 1;
        }
        JobEvent::Over => job.over = true,
    }
    job
}

/// Jobs under v1.
pub struct JobV1;
/// Jobs under v2.
pub struct JobV2;

impl Workflow for JobV1 {
    const NAME: &'static str = "job";
    const VERSION: &'static str = "v1";
    type State = Job;
    type Event = JobEvent;

    fn apply(job: Job, event: &JobEvent) -> Job {
        let job = apply(job, event);
        if job.n >= WATCHED {
            *lock(&APPLIED).entry(job.n).or_default() += 1;
        }
        job
    }

    fn upcast<'a>(_: &str, version: u32, payload: &'a [u8]) -> Result<Cow<'a, [u8]>, BoxError> {
        if version == REFUSED_BY_UPCAST {
            return Err("that layout was never released".into());
        }
        Ok(Cow::Borrowed(payload))
    }

    fn is_finished(job: &Job) -> bool {
        job.over
    }
}

impl Workflow for JobV2 {
    const NAME: &'static str = "job";
    const VERSION: &'static str = "v2";
    type State = Job;
    type Event = JobEvent;

    fn apply(job: Job, event: &JobEvent) -> Job {
        apply(job, event)
    }

    fn is_finished(job: &Job) -> bool {
        job.over
    }
}

/// From this number on, it is counted how often events of a job are folded.
pub const WATCHED: u64 = 1_000_000;

static APPLIED: Mutex<BTreeMap<u64, u64>> = Mutex::new(BTreeMap::new());

/// How many events of job `n` have been folded under v1 so far.
#[must_use]
pub fn applied(n: u64) -> u64 {
    lock(&APPLIED).get(&n).copied().unwrap_or_default()
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How often each job was converted.
#[derive(Clone, Default)]
pub struct Seen(Arc<Mutex<BTreeMap<u64, u64>>>);

impl Seen {
    /// By number.
    #[must_use]
    pub fn all(&self) -> BTreeMap<u64, u64> {
        lock(&self.0).clone()
    }

    /// How often job `n` was.
    #[must_use]
    pub fn of(&self, n: u64) -> u64 {
        lock(&self.0).get(&n).copied().unwrap_or_default()
    }

    /// How many conversions there were.
    #[must_use]
    pub fn total(&self) -> u64 {
        lock(&self.0).values().sum()
    }

    fn count(&self, n: u64) {
        *lock(&self.0).entry(n).or_default() += 1;
    }
}

type Convert = dyn Fn(&mut Job) -> Result<(), ConversionError> + Send + Sync;

/// The migration from v1 to v2, with a conversion that a test brings.
pub struct Upgrade {
    from: WorkflowId,
    to: WorkflowId,
    fingerprint: Fingerprint,
    convert: Box<Convert>,
    seen: Seen,
}

impl Upgrade {
    /// One that changes nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::with(|_| Ok(()))
    }

    /// One that does this.
    pub fn with(
        convert: impl Fn(&mut Job) -> Result<(), ConversionError> + Send + Sync + 'static,
    ) -> Self {
        Self {
            from: WorkflowId::of::<JobV1>(),
            to: WorkflowId::of::<JobV2>(),
            fingerprint: Fingerprint::new(1),
            convert: Box::new(convert),
            seen: Seen::default(),
        }
    }

    /// One that refuses some jobs.
    pub fn refusing(refused: impl Fn(u64) -> bool + Send + Sync + 'static) -> Self {
        Self::with(move |job| match refused(job.n) {
            true => Err("not this one".into()),
            false => Ok(()),
        })
    }

    /// As if it was other code.
    #[must_use]
    pub fn fingerprint(mut self, fingerprint: u64) -> Self {
        self.fingerprint = Fingerprint::new(fingerprint);
        self
    }

    /// What it has converted, now and later.
    #[must_use]
    pub fn seen(&self) -> Seen {
        self.seen.clone()
    }

    /// A runner of it over one store.
    pub fn runner<S: Store>(self, store: &S) -> MigrationRunner<Self, S, S> {
        MigrationRunner::new(self, store.clone(), store.clone())
    }
}

impl Default for Upgrade {
    fn default() -> Self {
        Self::new()
    }
}

impl StateMigration for Upgrade {
    type FromWorkflow = JobV1;
    type ToWorkflow = JobV2;

    fn source_workflow_id(&self) -> &WorkflowId {
        &self.from
    }

    fn target_workflow_id(&self) -> &WorkflowId {
        &self.to
    }

    fn migrate(&self, mut job: Job) -> Result<Job, ConversionError> {
        self.seen.count(job.n);
        (self.convert)(&mut job)?;
        Ok(job)
    }

    fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }
}

/// A registry of one migration.
///
/// # Errors
/// It does not fit.
pub fn registry(upgrade: Upgrade) -> Result<MigrationRegistry, state_migration::RegistryError> {
    MigrationRegistry::builder().with(upgrade).build()
}

/// A store that holds all, with its rows laid bare.
pub trait Store: EventStore + SnapshotStore + Rows + Clone + 'static {
    /// How many rows were read so far.
    fn count_of_rows_read(&self) -> u64;
}

impl Store for MemoryStore {
    fn count_of_rows_read(&self) -> u64 {
        RecordStore::rows_read(self)
    }
}

impl Store for SlateDbStore {
    fn count_of_rows_read(&self) -> u64 {
        RecordStore::rows_read(self)
    }
}

/// The stream of job `n`.
#[must_use]
pub fn stream(n: u64) -> StreamId {
    id(&format!("process/yard/{n:07}"))
}

/// An event as code of a version writes it.
///
/// # Errors
/// It cannot be written.
pub fn event(version: &'static str, event: &JobEvent) -> Result<NewEvent, Error> {
    let payload = serde_json::to_vec(event).unwrap_or_default();
    NewEvent::new(
        WorkflowId::new("job", version),
        event.event_type(),
        1,
        payload,
    )
}

/// Appends events at the end of a stream.
///
/// # Errors
/// The store refused them.
pub async fn append(
    store: &(impl EventStore + ?Sized),
    stream: &StreamId,
    events: Vec<NewEvent>,
) -> Result<(), Error> {
    let expected = match store.head(stream).await? {
        Some(head) => ExpectedSequence::Exact(head.sequence),
        None => ExpectedSequence::NoStream,
    };
    store.append(stream, expected, events).await.map(drop)
}

/// Puts job `n` into a store, at v1, with one step.
///
/// # Errors
/// The store refused it.
pub async fn put(store: &(impl EventStore + ?Sized), n: u64) -> Result<(), Error> {
    put_fated(store, n, "").await
}

/// Puts job `n` into a store, at v1, with one step and a fate.
///
/// # Errors
/// The store refused it.
pub async fn put_fated(
    store: &(impl EventStore + ?Sized),
    n: u64,
    fate: &str,
) -> Result<(), Error> {
    put_at(store, n, "v1", fate).await
}

/// Puts job `n` into a store, at some version.
///
/// # Errors
/// The store refused it.
pub async fn put_at(
    store: &(impl EventStore + ?Sized),
    n: u64,
    version: &'static str,
    fate: &str,
) -> Result<(), Error> {
    let fate = fate.to_owned();
    let begun = event(version, &JobEvent::Begun { n, fate })?;
    let step = event(version, &JobEvent::Step)?;
    append(store, &stream(n), vec![begun, step]).await
}

/// The version at which job `n` stands.
///
/// # Errors
/// The store could not be read, or has no such job.
pub async fn version(store: &(impl EventStore + ?Sized), n: u64) -> Result<String, Error> {
    let head = store.head(&stream(n)).await?;
    let head = head.ok_or_else(|| {
        Error::new(
            state_migration::ErrorKind::Invalid,
            format!("there is no job {n}"),
        )
    })?;
    Ok(head.workflow_id.version().to_owned())
}

/// The numbers of the given jobs that are at v2.
///
/// # Errors
/// The store could not be read.
pub async fn at_v2(
    store: &(impl EventStore + ?Sized),
    jobs: impl IntoIterator<Item = u64>,
) -> Result<Vec<u64>, Error> {
    let mut found = Vec::new();
    for n in jobs {
        if version(store, n).await? == "v2" {
            found.push(n);
        }
    }
    Ok(found)
}

//! An object store that fails on purpose: before a request and after it, late,
//! out of order, and with lists that are out of date. It also is where a
//! simulated crash happens: at the k-th write, before or after it.

use std::collections::BTreeMap;
use std::fmt;
use std::future::{Future, pending};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use fastrand::Rng;
use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt, TryStreamExt};
use slatedb::object_store::memory::InMemory;
use slatedb::object_store::path::Path;
use slatedb::object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, ObjectStoreExt as _, PutMultipartOptions, PutOptions, PutPayload, PutResult,
    Result, UploadPart,
};
use tokio::sync::Notify;

use super::clock::LifeClock;
use super::counts::Counts;

/// What a world keeps over the lives of its programs.
#[derive(Debug, Default)]
pub struct Bucket {
    objects: InMemory,
    /// When each object was written, by the clock of the world.
    written: Mutex<BTreeMap<Path, DateTime<Utc>>>,
}

/// How often requests fail, in thousandths.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rates {
    /// Requests that do not happen and fail.
    pub before: u32,
    /// Writes that happen, and whose answer is lost.
    pub after: u32,
    /// Requests that take long, before they happen or after.
    pub slow: u32,
    /// Lists of data files that do not show the newest.
    pub stale: u32,
}

impl Rates {
    /// Nothing fails.
    pub const NONE: Self = Self {
        before: 0,
        after: 0,
        slow: 0,
        stale: 0,
    };
    /// Now and then.
    pub const LIGHT: Self = Self {
        before: 30,
        after: 30,
        slow: 50,
        stale: 100,
    };
    /// All the time.
    pub const HEAVY: Self = Self {
        before: 150,
        after: 150,
        slow: 250,
        stale: 500,
    };
}

/// Drives the faults of one life.
#[derive(Debug)]
pub struct Faults {
    state: Mutex<State>,
    dead: AtomicBool,
    died: Notify,
    clock: Arc<LifeClock>,
}

#[derive(Debug)]
struct State {
    rng: Rng,
    rates: Rates,
    /// The number of requests, starting with the next one, that all fail.
    outage: u32,
    /// The number of the write, counted from now, at which the program dies.
    crash_in: Option<u32>,
    begun: u64,
    /// The latest request that is answered.
    answered: u64,
    counts: Counts,
}

/// What becomes of a request.
#[derive(Debug, Default)]
struct Fate {
    number: u64,
    wait_before: Option<Duration>,
    wait_after: Option<Duration>,
    fails_before: bool,
    fails_after: bool,
    dies_before: bool,
    dies_after: bool,
}

impl Faults {
    /// Faults that do not happen until they are asked for.
    #[must_use]
    pub fn new(clock: Arc<LifeClock>) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                rng: Rng::with_seed(0),
                rates: Rates::NONE,
                outage: 0,
                crash_in: None,
                begun: 0,
                answered: 0,
                counts: Counts::default(),
            }),
            dead: AtomicBool::new(false),
            died: Notify::new(),
            clock,
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on requests fail like this.
    pub fn set(&self, seed: u64, rates: Rates) {
        let mut state = self.state();
        state.rng = Rng::with_seed(seed);
        state.rates = rates;
        state.outage = 0;
    }

    /// All of the next requests fail.
    pub fn outage(&self, requests: u32) {
        self.state().outage = requests;
    }

    /// Lets the program die at the write with this number, counted from now.
    pub fn crash_in(&self, writes: Option<u32>) {
        self.state().crash_in = writes;
    }

    /// The program dies now.
    pub fn die(&self) {
        self.dead.store(true, Ordering::SeqCst);
        self.died.notify_waiters();
    }

    /// Returns when the program is dead.
    pub async fn death(&self) {
        loop {
            let died = self.died.notified();
            if self.dead.load(Ordering::SeqCst) {
                return;
            }
            died.await;
        }
    }

    /// What was injected.
    pub fn take_counts(&self) -> Counts {
        std::mem::take(&mut self.state().counts)
    }

    fn fate(&self, kind: &'static str, writes: bool) -> Fate {
        let mut state = self.state();
        let State {
            rng, rates, begun, ..
        } = &mut *state;
        *begun += 1;
        let mut fate = Fate {
            number: *begun,
            ..Fate::default()
        };
        let mut hits = |rate: u32| rate > 0 && rng.u32(0..1_000) < rate;
        let (before, after, slow) = (hits(rates.before), hits(rates.after), hits(rates.slow));
        let late = Duration::from_millis(rng.u64(1..400));
        if slow && rng.bool() {
            fate.wait_before = Some(late);
        } else if slow {
            fate.wait_after = Some(late);
        }
        if writes && let Some(left) = &mut state.crash_in {
            *left = left.saturating_sub(1);
            if *left == 0 {
                state.crash_in = None;
                if state.rng.bool() {
                    fate.dies_before = true;
                } else {
                    fate.dies_after = true;
                }
                return fate;
            }
        }
        if state.outage > 0 {
            state.outage -= 1;
            fate.fails_before = true;
            state.counts.add("fault: outage", 1);
        } else if before {
            fate.fails_before = true;
            state.counts.add(kind, 1);
        } else if after && writes {
            fate.fails_after = true;
        }
        if slow {
            state.counts.add("fault: slow request", 1);
        }
        fate
    }

    async fn died_if(&self, dies: bool) {
        if dies {
            self.die();
        }
        if self.dead.load(Ordering::SeqCst) {
            // The program is dead, so the answer never arrives.
            pending::<()>().await;
        }
    }

    async fn request<T>(
        &self,
        kind: &'static str,
        writes: bool,
        act: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        self.died_if(false).await;
        let fate = self.fate(kind, writes);
        if let Some(wait) = fate.wait_before {
            tokio::time::sleep(wait).await;
        }
        self.died_if(fate.dies_before).await;
        if fate.fails_before {
            return Err(failed("the request did not arrive"));
        }
        let answer = act.await;
        self.died_if(fate.dies_after).await;
        if let Some(wait) = fate.wait_after {
            tokio::time::sleep(wait).await;
            self.died_if(false).await;
        }
        let mut state = self.state();
        if state.answered > fate.number {
            state.counts.add("fault: out of order", 1);
        }
        state.answered = state.answered.max(fate.number);
        if fate.fails_after && answer.is_ok() {
            state.counts.add("fault: answer lost", 1);
            return Err(failed("the answer was lost"));
        }
        answer
    }

    /// Whether this list is out of date.
    fn is_stale(&self) -> bool {
        let mut state = self.state();
        let stale = state.rates.stale;
        stale > 0 && state.rng.u32(0..1_000) < stale
    }
}

fn failed(why: &'static str) -> Error {
    Error::Generic {
        store: "torture",
        source: why.into(),
    }
}

/// How long a file may be missing from lists that are out of date.
const STALE: i64 = 20_000;

/// The object store of one life.
#[derive(Debug, Clone)]
pub struct FaultyStore {
    bucket: Arc<Bucket>,
    faults: Arc<Faults>,
}

impl FaultyStore {
    /// The bucket of a world, as one life sees it.
    #[must_use]
    pub fn new(bucket: Arc<Bucket>, faults: Arc<Faults>) -> Self {
        Self { bucket, faults }
    }

    fn written(&self) -> MutexGuard<'_, BTreeMap<Path, DateTime<Utc>>> {
        let written = self.bucket.written.lock();
        written.unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, location: &Path) {
        let now = self.faults.clock.true_time();
        self.written().insert(location.clone(), now);
    }

    /// The object as the clock of the world has it.
    fn dated(&self, mut meta: ObjectMeta) -> ObjectMeta {
        if let Some(written) = self.written().get(&meta.location) {
            meta.last_modified = *written;
        }
        meta
    }

    async fn all(&self, prefix: Option<Path>) -> Result<Vec<ObjectMeta>> {
        let list = async {
            let found: Vec<_> = self
                .bucket
                .objects
                .list(prefix.as_ref())
                .try_collect()
                .await?;
            Ok(found)
        };
        let found = self
            .faults
            .request("fault: list failed", false, list)
            .await?;
        let mut found: Vec<_> = found.into_iter().map(|meta| self.dated(meta)).collect();
        if self.faults.is_stale() {
            let all = found.len();
            let since = self.faults.clock.true_time().timestamp_millis() - STALE;
            found.retain(|meta| {
                !meta.location.as_ref().contains("compacted/")
                    || meta.last_modified.timestamp_millis() < since
            });
            if found.len() < all {
                self.faults.state().counts.add("fault: stale list", 1);
            }
        }
        Ok(found)
    }
}

impl fmt::Display for FaultyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a bucket with faults")
    }
}

#[async_trait]
impl ObjectStore for FaultyStore {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        opts: PutOptions,
    ) -> Result<PutResult> {
        let put = async {
            let put = self.bucket.objects.put_opts(location, payload, opts).await;
            if put.is_ok() {
                self.note(location);
            }
            put
        };
        self.faults.request("fault: write failed", true, put).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let begin = self.bucket.objects.put_multipart_opts(location, opts);
        let inner = self
            .faults
            .request("fault: write failed", false, begin)
            .await?;
        Ok(Box::new(Upload {
            inner,
            location: location.clone(),
            store: self.clone(),
        }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let get = self.bucket.objects.get_opts(location, options);
        let mut got = self
            .faults
            .request("fault: read failed", false, get)
            .await?;
        got.meta = self.dated(got.meta);
        Ok(got)
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let store = self.clone();
        locations
            .then(move |location| {
                let store = store.clone();
                async move {
                    let location = location?;
                    let delete = store.bucket.objects.delete(&location);
                    store
                        .faults
                        .request("fault: delete failed", true, delete)
                        .await?;
                    Ok(location)
                }
            })
            .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (store, prefix) = (self.clone(), prefix.cloned());
        stream::once(async move { store.all(prefix).await })
            .map_ok(|found| stream::iter(found.into_iter().map(Ok)))
            .try_flatten()
            .boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let list = self.bucket.objects.list_with_delimiter(prefix);
        let mut found = self
            .faults
            .request("fault: list failed", false, list)
            .await?;
        let objects = std::mem::take(&mut found.objects);
        found.objects = objects.into_iter().map(|meta| self.dated(meta)).collect();
        Ok(found)
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let copy = async {
            let copied = self.bucket.objects.copy_opts(from, to, options).await;
            if copied.is_ok() {
                self.note(to);
            }
            copied
        };
        self.faults.request("fault: write failed", true, copy).await
    }
}

#[derive(Debug)]
struct Upload {
    inner: Box<dyn MultipartUpload>,
    location: Path,
    store: FaultyStore,
}

#[async_trait]
impl MultipartUpload for Upload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.inner.put_part(data)
    }
    async fn complete(&mut self) -> Result<PutResult> {
        let Self {
            inner,
            location,
            store,
        } = self;
        let complete = async {
            let done = inner.complete().await;
            if done.is_ok() {
                store.note(location);
            }
            done
        };
        // An upload cannot be completed twice, so its answer is not lost.
        store.faults.died_if(false).await;
        let fate = store.faults.fate("fault: write failed", true);
        if let Some(wait) = fate.wait_before {
            tokio::time::sleep(wait).await;
        }
        store.faults.died_if(fate.dies_before).await;
        if fate.fails_before {
            return Err(failed("the request did not arrive"));
        }
        let done = complete.await;
        store.faults.died_if(fate.dies_after).await;
        if let Some(wait) = fate.wait_after {
            tokio::time::sleep(wait).await;
            store.faults.died_if(false).await;
        }
        done
    }
    async fn abort(&mut self) -> Result<()> {
        self.inner.abort().await
    }
}

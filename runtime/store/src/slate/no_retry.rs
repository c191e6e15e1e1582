//! An object store that marks those of its errors for which a retry is useless.
//! SlateDB retries every error without a specific type: to it, a file that is
//! too short looks like an outage, and so do wrong credentials.

use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt as _, TryStreamExt as _};
use slatedb::object_store::path::Path;
use slatedb::object_store::{
    CopyOptions, Error, GetOptions, GetRange, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result,
};
use slatedb_common::retry::NonRetryable;
use tokio::time::timeout;

use crate::slate::answer::{self, Cloud};
use crate::slate::gradual::Gradual;
use crate::slate::trouble::{self, Requests};

/// The error for a file that ends before the range to be read.
#[derive(Debug)]
pub(crate) struct TruncatedFile {
    pub(crate) file: Path,
    bytes: u64,
}

impl fmt::Display for TruncatedFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, bytes } = self;
        write!(
            f,
            "{file} ends after {bytes} bytes, before the end of the requested range"
        )
    }
}

impl std::error::Error for TruncatedFile {}

/// How long an object store may be without an answer. SlateDB would wait for an answer to
/// a request without limit.
#[derive(Debug)]
struct Patience {
    limit: Duration,
    /// For each kind of requests, the begin of the first one without an answer since the
    /// last answer. A full disk answers reads.
    unanswered_since: [Mutex<Option<Instant>>; 2],
}

impl Patience {
    fn new(limit: Duration) -> Self {
        Self {
            limit,
            unanswered_since: Default::default(),
        }
    }

    fn since(&self, of: Requests) -> MutexGuard<'_, Option<Instant>> {
        let since = &self.unanswered_since[of as usize];
        since.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the answer to a request. An error that says that the object store has been
    /// without an answer for too long is not retried.
    async fn of<T>(&self, of: Requests, request: impl Future<Output = Result<T>>) -> Result<T> {
        let began = Instant::now();
        let answer = match timeout(self.limit, request).await {
            Ok(Err(error @ Error::Generic { .. })) => Err(error),
            Ok(answer) => {
                *self.since(of) = None;
                return answer;
            }
            Err(_) => Err(no_answer(self.limit)),
        };
        let since = *self.since(of).get_or_insert(began);
        answer.map_err(|error| match since.elapsed() >= self.limit {
            true => final_error(Box::new(error)),
            false => error,
        })
    }
}

fn no_answer(limit: Duration) -> Error {
    let seconds = limit.as_secs_f64();
    Error::Generic {
        store: STORE,
        source: format!("a request had no answer for {seconds} seconds").into(),
    }
}

/// An error that SlateDB does not retry.
fn final_error(source: Box<dyn std::error::Error + Send + Sync>) -> Error {
    Error::Generic {
        store: STORE,
        source: Box::new(NonRetryable(source)),
    }
}

/// The name of the object store in an error.
const STORE: &str = "object store";

/// An object store whose files may be damaged.
#[derive(Debug)]
pub(crate) struct Storage {
    inner: Arc<dyn ObjectStore>,
    patience: Option<Patience>,
    cloud: Cloud,
    /// Whether [answers](answer) are reported without retries.
    fails_fast: Arc<AtomicBool>,
    gradual: Option<Gradual>,
}

/// While this exists, [answers](answer) are reported without retries.
pub(crate) struct FailFastGuard(Arc<AtomicBool>);

impl Drop for FailFastGuard {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

impl Storage {
    /// The storage for a database that is being opened. Once the database is
    /// open, the requests are retried, because permissions may be restored.
    pub(crate) fn opening(
        inner: Arc<dyn ObjectStore>,
        gradual: Option<Gradual>,
        patience: Option<Duration>,
    ) -> (Arc<dyn ObjectStore>, FailFastGuard) {
        let fails_fast = Arc::new(AtomicBool::new(true));
        let opening = FailFastGuard(fails_fast.clone());
        let storage = Self {
            cloud: Cloud::of(&inner),
            inner,
            patience: patience.map(Patience::new),
            fails_fast,
            gradual,
        };
        (Arc::new(storage), opening)
    }

    async fn answer<T>(&self, of: Requests, request: impl Future<Output = Result<T>>) -> Result<T> {
        let answer = match &self.patience {
            Some(patience) => patience.of(of, request).await,
            None => request.await,
        };
        let trouble = match &answer {
            Err(error @ Error::Generic { .. }) => {
                let answer = answer::of(error, self.cloud).map(|answer| answer.sentence);
                let way_out = || answer::way_out(error).unwrap_or_else(|| error.to_string());
                Some(answer.unwrap_or_else(way_out))
            }
            _ => None,
        };
        trouble::set(of, trouble);
        answer
    }

    fn judged(&self, error: Error) -> Error {
        judged(error, self.cloud, &self.fails_fast)
    }

    async fn unread<'a>(
        &self,
        file: &Path,
        ranges: impl IntoIterator<Item = &'a GetRange>,
        error: Error,
    ) -> Error {
        let Error::Generic { store, .. } = &error else {
            return self.judged(error);
        };
        let store = *store;
        let look = GetOptions {
            head: true,
            ..GetOptions::default()
        };
        // If this request fails too, it says nothing about the file.
        let Ok(there) = self.inner.get_opts(file, look).await else {
            return self.judged(error);
        };
        let bytes = there.meta.size;
        if ranges.into_iter().all(|range| is_in(range, bytes)) {
            return self.judged(error);
        }
        let file = file.clone();
        Error::Generic {
            store,
            source: Box::new(NonRetryable(Box::new(TruncatedFile { file, bytes }))),
        }
    }
}

fn judged(error: Error, cloud: Cloud, fails_fast: &AtomicBool) -> Error {
    let Some(answer) = answer::of(&error, cloud) else {
        return match fails_fast.load(Ordering::Relaxed) && answer::is_full(&error) {
            true => final_error(Box::new(error)),
            false => error,
        };
    };
    let source: Box<dyn std::error::Error + Send + Sync> = Box::new(answer);
    match fails_fast.load(Ordering::Relaxed) {
        true => final_error(source),
        false => Error::Generic {
            store: STORE,
            source,
        },
    }
}

fn all_judged(
    listed: BoxStream<'static, Result<ObjectMeta>>,
    cloud: Cloud,
    fails_fast: Arc<AtomicBool>,
) -> BoxStream<'static, Result<ObjectMeta>> {
    listed
        .map_err(move |error| judged(error, cloud, &fails_fast))
        .boxed()
}

/// Whether a file of this size contains a part of the range.
fn is_in(range: &GetRange, bytes: u64) -> bool {
    match range {
        GetRange::Bounded(range) => range.start < range.end && range.start < bytes,
        GetRange::Offset(start) => *start < bytes,
        GetRange::Suffix(_) => true,
    }
}

impl fmt::Display for Storage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

#[async_trait]
impl ObjectStore for Storage {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        let put = self.inner.put_opts(location, payload, options);
        let put = self.answer(Requests::Writes, put).await;
        put.map_err(|error| self.judged(error))
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let put = self.inner.put_multipart_opts(location, options);
        let put = self.answer(Requests::Writes, put).await;
        let upload = put.map_err(|error| self.judged(error))?;
        Ok(match &self.gradual {
            Some(gradual) => gradual.upload(location, upload),
            None => upload,
        })
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let range = options.range.clone();
        match self
            .answer(Requests::Reads, self.inner.get_opts(location, options))
            .await
        {
            Ok(got) => Ok(got),
            Err(error) => Err(self.unread(location, &range, error).await),
        }
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        match self
            .answer(Requests::Reads, self.inner.get_ranges(location, ranges))
            .await
        {
            Ok(got) => Ok(got),
            Err(error) => {
                let ranges: Vec<GetRange> = ranges.iter().cloned().map(Into::into).collect();
                Err(self.unread(location, &ranges, error).await)
            }
        }
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        all_judged(self.inner.list(prefix), self.cloud, self.fails_fast.clone())
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        let listed = self.inner.list_with_offset(prefix, offset);
        all_judged(listed, self.cloud, self.fails_fast.clone())
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let listed = self.inner.list_with_delimiter(prefix);
        let listed = self.answer(Requests::Reads, listed).await;
        listed.map_err(|error| self.judged(error))
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let copied = self
            .answer(Requests::Writes, self.inner.copy_opts(from, to, options))
            .await;
        copied.map_err(|error| self.judged(error))
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        let renamed = self.inner.rename_opts(from, to, options);
        let renamed = self.answer(Requests::Writes, renamed).await;
        renamed.map_err(|error| self.judged(error))
    }
}

//! Files whose n-th write is the last thing that this program does.

use std::fmt;
use std::process::Command;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use futures_util::lock::Mutex;
use futures_util::stream::BoxStream;
use slatedb::object_store::local::LocalFileSystem;
use slatedb::object_store::path::Path;
use slatedb::object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, UploadPart,
};

/// Where a program is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kill {
    /// Before its n-th write to the object store happens.
    Before(u64),
    /// After it has happened, before it is answered.
    After(u64),
}

impl fmt::Display for Kill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Before(n) => write!(f, "before:{n}"),
            Self::After(n) => write!(f, "after:{n}"),
        }
    }
}

impl FromStr for Kill {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let bad = || format!("{text:?} is not before:N or after:N");
        let (when, n) = text.split_once(':').ok_or_else(bad)?;
        let n = n.parse().map_err(|_| bad())?;
        match when {
            "before" => Ok(Self::Before(n)),
            "after" => Ok(Self::After(n)),
            _ => Err(bad()),
        }
    }
}

/// The writes of a program, one at a time, so that none happens beside the last.
#[derive(Debug)]
struct Writes {
    kill: Option<Kill>,
    made: AtomicU64,
    gate: Mutex<()>,
}

impl Writes {
    async fn make<T>(&self, write: impl Future<Output = Result<T>>) -> Result<T> {
        let _gate = self.gate.lock().await;
        let n = self.made.fetch_add(1, Ordering::SeqCst) + 1;
        if self.kill == Some(Kill::Before(n)) {
            die();
        }
        let made = write.await;
        if self.kill == Some(Kill::After(n)) {
            die();
        }
        made
    }
}

/// Ends this program by a signal that it cannot catch, and makes no step more.
fn die() -> ! {
    let id = std::process::id().to_string();
    loop {
        // Without `kill` the test fails for want of a signal, and does not hang.
        if Command::new("kill").args(["-KILL", &id]).status().is_err() {
            std::process::exit(1);
        }
    }
}

/// Files of the local disk that kill the program that writes to them.
#[derive(Debug, Clone)]
pub struct Killer {
    inner: Arc<LocalFileSystem>,
    writes: Arc<Writes>,
}

impl Killer {
    /// Files in a folder; without a `kill` writes are only counted.
    #[must_use]
    pub fn over(inner: LocalFileSystem, kill: Option<Kill>) -> Self {
        Self {
            inner: Arc::new(inner),
            writes: Arc::new(Writes {
                kill,
                made: AtomicU64::new(0),
                gate: Mutex::new(()),
            }),
        }
    }

    /// How many writes there were.
    #[must_use]
    pub fn writes(&self) -> u64 {
        self.writes.made.load(Ordering::SeqCst)
    }
}

impl fmt::Display for Killer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Killer({})", self.inner)
    }
}

#[async_trait]
impl ObjectStore for Killer {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        opts: PutOptions,
    ) -> Result<PutResult> {
        let put = self.inner.put_opts(location, payload, opts);
        self.writes.make(put).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        // Nothing is there for others before it is complete.
        let inner = self.inner.put_multipart_opts(location, opts).await?;
        let writes = self.writes.clone();
        Ok(Box::new(Upload { inner, writes }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let copy = self.inner.copy_opts(from, to, options);
        self.writes.make(copy).await
    }
}

#[derive(Debug)]
struct Upload {
    inner: Box<dyn MultipartUpload>,
    writes: Arc<Writes>,
}

#[async_trait]
impl MultipartUpload for Upload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.inner.put_part(data)
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let writes = self.writes.clone();
        writes.make(self.inner.complete()).await
    }

    async fn abort(&mut self) -> Result<()> {
        self.inner.abort().await
    }
}

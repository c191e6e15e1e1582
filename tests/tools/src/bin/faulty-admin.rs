//! The operator's tool for orders in `FAULTY_FOLDER`, whose object store fails
//! as `FAULT` says: `denied` denies everything, `reads:N` all after N reads of files of data,
//! `read-only` all that writes,
//! `hangs:N` gives no answer to a write after N of them,
//! `full:N` has room for N more files, `stays-full:N` too, with more retries, `log-only` for none but those of the log and
//! manifests, and `unclosable` has none for the mark by which a program says that it
//! has closed the store.

use std::fmt;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use slatedb::object_store::local::LocalFileSystem;
use slatedb::object_store::path::Path;
use slatedb::object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use state_migration::SlateDbStore;
use state_migration::cli::Cli;
use state_migration_tests as _;

fn main() -> ExitCode {
    Cli::new()
        .configure_store(|builder| {
            let (Some(folder), Ok(fault)) =
                (std::env::var_os("FAULTY_FOLDER"), std::env::var("FAULT"))
            else {
                return builder;
            };
            let Ok(inner) = LocalFileSystem::new_with_prefix(folder) else {
                return builder;
            };
            let faulty = Faulty {
                inner,
                denies: fault == "denied",
                reads: fault.starts_with("reads"),
                room: AtomicU64::new(match fault.split_once(':') {
                    Some((_, files)) => files.parse().unwrap_or_default(),
                    None => 0,
                }),
                full: fault.starts_with("full") || fault.starts_with("stays-full"),
                hangs: fault.starts_with("hangs"),
                log_only: fault == "log-only",
                unclosable: fault == "unclosable",
            };
            SlateDbStore::builder(Path::default(), Arc::new(faulty)).with_settings(|settings| {
                // Of more than ten seconds, or of less than one.
                let is_long = fault.starts_with("stays-full");
                settings.object_store_max_retries = Some(if is_long { 15 } else { 3 });
                if let Some(collector) = &mut settings.garbage_collector_options {
                    collector.boundary_files_enabled = false;
                }
            })
        })
        .main()
}

/// An object store that fails.
#[derive(Debug)]
struct Faulty {
    inner: LocalFileSystem,
    denies: bool,
    reads: bool,
    full: bool,
    hangs: bool,
    log_only: bool,
    unclosable: bool,
    room: AtomicU64,
}

impl fmt::Display for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Faulty({})", self.inner)
    }
}

impl Faulty {
    fn denied(path: &Path) -> Error {
        Error::PermissionDenied {
            path: path.to_string(),
            source: "the signature does not match".into(),
        }
    }

    fn one_less(&self) -> std::result::Result<(), u64> {
        let one_less = |room: u64| room.checked_sub(1);
        let room = &self.room;
        let room = room.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less);
        room.map(drop)
    }

    fn reading(&self, path: &Path) -> Result<()> {
        if self.denies {
            return Err(Self::denied(path));
        }
        Ok(())
    }

    fn writing(&self, path: &Path, payload: &PutPayload) -> Result<()> {
        let is_mark = || {
            let in_log = path.as_ref().starts_with("wal/");
            in_log
                && payload
                    .iter()
                    .any(|part| part.windows(7).any(|w| w == b"\"epoch\""))
        };
        if self.unclosable && !is_mark() {
            return Ok(());
        }
        if self.log_only && !path.as_ref().starts_with("compacted/") {
            return Ok(());
        }
        if !self.full && !self.log_only && !self.unclosable {
            return Err(Self::denied(path));
        }
        self.one_less().map_err(|_| Error::Generic {
            store: "Faulty",
            source: Box::new(std::io::Error::from(std::io::ErrorKind::StorageFull)),
        })
    }
}

#[async_trait]
impl ObjectStore for Faulty {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        opts: PutOptions,
    ) -> Result<PutResult> {
        match self.hangs {
            true if self.one_less().is_err() => std::future::pending().await,
            true => {}
            false => self.writing(location, &payload)?,
        }
        self.inner.put_opts(location, payload, opts).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.writing(location, &PutPayload::new())?;
        self.inner.put_multipart_opts(location, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.reading(location)?;
        let is_data = location.as_ref().starts_with("compacted/");
        if self.reads && is_data && self.one_less().is_err() {
            return Err(Self::denied(location));
        }
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        match self.reading(prefix.unwrap_or(&Path::default())) {
            Ok(()) => self.inner.list(prefix),
            Err(denied) => stream::iter([Err(denied)]).boxed(),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.reading(prefix.unwrap_or(&Path::default()))?;
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.writing(to, &PutPayload::new())?;
        self.inner.copy_opts(from, to, options).await
    }
}

//! Opening a SlateDB store: always through one builder, because every process
//! that opens a database must configure it alike.

use std::io;
use std::ops::RangeFull;
use std::path::{Path as FolderPath, PathBuf};
use std::sync::Arc;

use slatedb::admin::Admin;
use slatedb::config::{DbReaderOptions, GarbageCollectorOptions, Settings};
use slatedb::db_cache::SplitCache;
use slatedb::db_cache::moka::{MokaCache, MokaCacheOptions};
use slatedb::object_store::ObjectStore;
use slatedb::object_store::local::LocalFileSystem;
use slatedb::object_store::path::Path;
use slatedb::{Db, DbBuilder, DbIterator, DbReader, DbReaderMode};

use super::SlateDbStore;
use super::kv::{SlateDbKv, error};
use crate::error::{Error, ErrorKind};
use crate::store::kv::{Kv, KvTxn};
use crate::store::{key, record};

const FORMAT: &str = "format";

/// How often SlateDB tries a request again before it gives up. Its own default
/// is for ever, which turns a full disk or a missing permission into a hang.
const RETRIES: u32 = 8;

const BLOCK_CACHE_BYTES: u64 = 64 << 20;
const META_CACHE_BYTES: u64 = 64 << 20;
const UNFLUSHED_BYTES: usize = 256 << 20;

/// The folders that SlateDB makes.
const SLATEDB_FOLDERS: [&str; 5] = ["manifest", "wal", "compacted", "compactions", "gc"];

type Configure = Box<dyn FnOnce(DbBuilder<Path>) -> DbBuilder<Path> + Send>;

/// Opens a [`SlateDbStore`].
#[must_use]
pub struct SlateDbStoreBuilder {
    path: Path,
    object_store: Arc<dyn ObjectStore>,
    settings: Settings,
    configure: Option<Configure>,
    local: Option<PathBuf>,
}

impl SlateDbStore {
    /// Opens the store in a folder of the local disk; makes both if they are
    /// not there. Writes are synced to the disk.
    ///
    /// # Errors
    /// The folder cannot be used, holds something else than a store, or a
    /// store of a newer format.
    pub async fn open_local(folder: impl AsRef<FolderPath>) -> Result<Self, Error> {
        Self::local_builder(folder)?.open().await
    }

    /// A builder for a store in a folder of the local disk.
    ///
    /// # Errors
    /// The folder cannot be made or read.
    pub fn local_builder(folder: impl AsRef<FolderPath>) -> Result<SlateDbStoreBuilder, Error> {
        let folder = folder.as_ref();
        std::fs::create_dir_all(folder).map_err(|e| unusable(folder, e))?;
        let files = LocalFileSystem::new_with_prefix(folder)
            .map_err(|e| unusable(folder, io::Error::other(e)))?
            .with_fsync(true);
        let mut builder = Self::builder(Path::default(), Arc::new(files));
        // The local file system cannot overwrite conditionally, which the
        // collector would need for these files.
        let collector = GarbageCollectorOptions {
            boundary_files_enabled: false,
            object_store_max_retries: Some(RETRIES),
            ..GarbageCollectorOptions::default()
        };
        builder.settings.garbage_collector_options = Some(collector);
        builder.local = Some(folder.to_owned());
        Ok(builder)
    }

    /// A builder for a store at a path of an object store.
    pub fn builder(
        path: impl Into<Path>,
        object_store: Arc<dyn ObjectStore>,
    ) -> SlateDbStoreBuilder {
        let settings = Settings {
            object_store_max_retries: Some(RETRIES),
            max_unflushed_bytes: UNFLUSHED_BYTES,
            ..Settings::default()
        };
        SlateDbStoreBuilder {
            path: path.into(),
            object_store,
            settings,
            configure: None,
            local: None,
        }
    }

    /// A store in a database that is open already. An empty database becomes a store.
    ///
    /// # Errors
    /// The database holds something else than a store, or a store of a newer format.
    pub async fn from_db(db: Db) -> Result<Self, Error> {
        let kv = SlateDbKv::new(db);
        let format = kv.view()?.get(&key::meta(FORMAT)).await?;
        if check_format(format.as_ref())?.is_none() {
            let mut txn = kv.begin()?;
            let rows = kv.db().scan::<RangeFull>(..).await;
            refuse_foreign(rows).await?;
            txn.put(key::meta(FORMAT), record::store_format())?;
            txn.commit().await?;
            kv.flush().await?;
        }
        Ok(Self::over(kv))
    }
}

impl SlateDbStoreBuilder {
    /// Takes these settings instead of the defaults.
    pub fn settings(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }

    /// Changes the defaults of this crate.
    pub fn with_settings(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(&mut self.settings);
        self
    }

    /// Changes the builder of the database just before it opens. Whatever is
    /// set here must be set by every process that opens the database.
    pub fn configure(
        mut self,
        configure: impl FnOnce(DbBuilder<Path>) -> DbBuilder<Path> + Send + 'static,
    ) -> Self {
        self.configure = Some(Box::new(configure));
        self
    }

    /// Opens the store. A writer that has it open is shut out.
    ///
    /// # Errors
    /// There is something else than a store, or a store of a newer format;
    /// then nothing is written and no writer is shut out. Or the object store
    /// cannot be used.
    pub async fn open(self) -> Result<SlateDbStore, Error> {
        let place = match &self.local {
            Some(folder) => folder.display().to_string(),
            None => self.path.to_string(),
        };
        let in_place = |e: Error| {
            let kind = e.kind().clone();
            Error::new(kind, format!("the store {place} cannot be opened")).with_source(e)
        };
        self.look_first().await.map_err(in_place)?;
        let cache = SplitCache::new()
            .with_block_cache(Some(Arc::new(cache_of(BLOCK_CACHE_BYTES))))
            .with_meta_cache(Some(Arc::new(cache_of(META_CACHE_BYTES))))
            .build();
        let mut builder = Db::builder(self.path, self.object_store)
            .with_settings(self.settings)
            .with_db_cache(Arc::new(cache), 0);
        if let Some(configure) = self.configure {
            builder = configure(builder);
        }
        let db = builder
            .build()
            .await
            .map_err(|e| in_place(error("the database could not be opened", e)))?;
        SlateDbStore::from_db(db).await.map_err(in_place)
    }

    /// Reads what is there without writing and without shutting a writer out.
    async fn look_first(&self) -> Result<(), Error> {
        let admin = Admin::builder(self.path.clone(), self.object_store.clone()).build();
        let manifest = admin.read_manifest(None).await.map_err(|e| {
            // A manifest that cannot be decoded is an internal error to SlateDB.
            let damaged = matches!(e.kind(), slatedb::ErrorKind::Internal);
            let error = error("its manifest could not be read", e);
            if damaged {
                damaged_manifest().with_source(error)
            } else {
                error
            }
        })?;
        if manifest.is_none() {
            return match &self.local {
                Some(folder) => only_slatedb_folders(folder),
                None => Ok(()),
            };
        }
        let options = DbReaderOptions {
            object_store_max_retries: Some(RETRIES),
            ..DbReaderOptions::default()
        };
        let reader = DbReader::builder(self.path.clone(), self.object_store.clone())
            .with_reader_mode(DbReaderMode::FollowLatest)
            .with_options(options)
            .build()
            .await
            .map_err(|e| error("the database could not be read", e))?;
        let found = is_store(&reader).await;
        let closed = reader.close().await;
        found?;
        closed.map_err(|e| error("the database could not be read", e))
    }
}

fn cache_of(max_capacity: u64) -> MokaCache {
    MokaCache::new_with_opts(MokaCacheOptions {
        max_capacity,
        time_to_live: None,
        time_to_idle: None,
    })
}

fn check_format(format: Option<&bytes::Bytes>) -> Result<Option<()>, Error> {
    format
        .map(|row| record::check_store_format(row.clone()).map_err(|bad| bad.of("the store")))
        .transpose()
}

/// Whether a database may be opened as a store: it is one, or it is empty.
async fn is_store(reader: &DbReader) -> Result<(), Error> {
    let format = reader
        .get(key::meta(FORMAT))
        .await
        .map_err(|e| error("the format of the store could not be read", e))?;
    if check_format(format.as_ref())?.is_some() {
        return Ok(());
    }
    refuse_foreign(reader.scan::<RangeFull>(..).await).await
}

/// Refuses a database that has no mark of a store and holds records all the same.
async fn refuse_foreign(rows: Result<DbIterator, slatedb::Error>) -> Result<(), Error> {
    let unread = |e| error("the database could not be read", e);
    match rows.map_err(unread)?.next().await.map_err(unread)? {
        Some(_) => Err(foreign()),
        None => Ok(()),
    }
}

fn damaged_manifest() -> Error {
    Error::corrupt(
        "its manifest could not be read: the database is damaged or was written by another version of SlateDB; restore the newest file under `manifest` from a backup",
    )
}

fn foreign() -> Error {
    Error::invalid(
        "it is a database of something else: it holds records and not the mark of a store; name another place",
    )
}

/// A folder without a database may hold what an interrupted start left behind, and nothing else.
fn only_slatedb_folders(folder: &FolderPath) -> Result<(), Error> {
    for entry in std::fs::read_dir(folder).map_err(|e| unusable(folder, e))? {
        let entry = entry.map_err(|e| unusable(folder, e))?;
        let name = entry.file_name();
        if entry.path().is_dir() && SLATEDB_FOLDERS.iter().any(|known| name == *known) {
            no_data(&entry.path())?;
        }
        if !entry.path().is_dir() || !SLATEDB_FOLDERS.iter().any(|known| name == *known) {
            return Err(Error::invalid(format!(
                "the folder holds {:?} and no store; name an empty folder, a new one, or that of a store",
                name.to_string_lossy()
            )));
        }
    }
    Ok(())
}

/// A folder of a database without a manifest may hold half-written files, which
/// have a `#` in their names, and nothing else.
fn no_data(folder: &FolderPath) -> Result<(), Error> {
    for entry in std::fs::read_dir(folder).map_err(|e| unusable(folder, e))? {
        let path = entry.map_err(|e| unusable(folder, e))?.path();
        if path.is_dir() {
            no_data(&path)?;
        } else if !path.to_string_lossy().contains('#') {
            return Err(Error::corrupt(format!(
                "there is no manifest, and yet there is {}; restore the folder from a backup, or name another one",
                path.display()
            )));
        }
    }
    Ok(())
}

fn unusable(folder: &FolderPath, cause: io::Error) -> Error {
    Error::new(
        ErrorKind::Invalid,
        format!(
            "the folder {} cannot be used for a store; check its path and its permissions",
            folder.display()
        ),
    )
    .with_source(cause)
}

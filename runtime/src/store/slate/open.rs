//! Opening a SlateDB store: always through one builder, because every process
//! that opens a database must configure it alike.

use std::io;
use std::ops::RangeFull;
use std::path::{Path as FolderPath, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use slatedb::admin::Admin;
use slatedb::config::{DbReaderOptions, GarbageCollectorOptions, Settings};
use slatedb::object_store::ObjectStore;
use slatedb::object_store::local::LocalFileSystem;
use slatedb::object_store::path::Path;
use slatedb::{Db, DbBuilder, DbIterator, DbReader, DbReaderMode};

use super::damage;
use super::in_use;
use super::kv::{Files, SlateDbKv, damaged, error, is_file_gone};
use super::memory::{self, Memory};
use super::reader::SlateDbReaderKv;
use super::storage::Storage;
use super::{SlateDbReader, SlateDbStore};
use crate::error::{Error, ErrorKind};
use crate::id::RunId;
use crate::run::{Runs, rows};
use crate::store::kv::{Kv, KvTxn};
use crate::store::{key, record};

const FORMAT: &str = "format";

/// How often SlateDB tries a request again before it gives up. Its own default
/// is for ever, which turns a full disk or a missing permission into a hang.
const RETRIES: u32 = 8;

/// How often a reader looks for what the writer has made durable since.
const POLL: Duration = Duration::from_secs(1);

/// How long a program that has just opened a store is given to begin its run,
/// before another one takes it to have none. Being wrong harms no data.
const SETTLE: Duration = Duration::from_secs(1);

/// How often, and after what pause, a program that came second looks for the
/// run of the first, to name it.
const LOOKS: u32 = 20;
const PAUSE: Duration = Duration::from_millis(250);

/// How long it may take to read a manifest, with some tries.
const PATIENCE: Duration = Duration::from_secs(15);

/// The folders that SlateDB makes.
const SLATEDB_FOLDERS: [&str; 5] = ["manifest", "wal", "compacted", "compactions", "gc"];

type Configure = Box<dyn FnOnce(DbBuilder<Path>) -> DbBuilder<Path> + Send>;

/// Opens a [`SlateDbStore`], or a [`SlateDbReader`].
#[must_use]
pub struct SlateDbStoreBuilder {
    path: Path,
    place: Place,
    memory: Memory,
    settings: Settings,
    reader_options: DbReaderOptions,
    only_existing: bool,
    /// Whose claim alone does not keep it from being opened at rest, if any does.
    pub(super) unless_claimed: Option<Option<RunId>>,
    /// Behind a lock only so that the futures of this builder are `Send`.
    configure: Mutex<Option<Configure>>,
}

/// Where a database is.
enum Place {
    /// In a folder of the local disk, which may not be there yet.
    Folder(PathBuf),
    ObjectStore(Arc<dyn ObjectStore>),
}

impl Place {
    /// Makes the folder if it is not there.
    fn for_writing(&self) -> Result<Arc<dyn ObjectStore>, Error> {
        match self {
            Self::Folder(folder) => {
                std::fs::create_dir_all(folder).map_err(|e| unusable(folder, e))?;
                files_in(folder)
            }
            Self::ObjectStore(object_store) => Ok(object_store.clone()),
        }
    }

    /// Makes nothing.
    fn for_reading(&self) -> Result<Arc<dyn ObjectStore>, Error> {
        match self {
            Self::Folder(folder) if is_folder(folder)? => files_in(folder),
            Self::Folder(_) => Err(no_store()),
            Self::ObjectStore(object_store) => Ok(object_store.clone()),
        }
    }
}

fn files_in(folder: &FolderPath) -> Result<Arc<dyn ObjectStore>, Error> {
    let files = LocalFileSystem::new_with_prefix(folder)
        .map_err(|e| unusable(folder, io::Error::other(e)))?
        .with_fsync(true);
    Ok(Arc::new(files))
}

/// Whether a folder is there; an error if something else is.
fn is_folder(folder: &FolderPath) -> Result<bool, Error> {
    match std::fs::metadata(folder) {
        Ok(found) if found.is_dir() => Ok(true),
        Ok(_) => Err(unusable(folder, io::ErrorKind::NotADirectory.into())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(unusable(folder, error)),
    }
}

fn reader_options(memory: Memory) -> DbReaderOptions {
    let mut options = DbReaderOptions {
        manifest_poll_interval: POLL,
        object_store_max_retries: Some(RETRIES),
        ..DbReaderOptions::default()
    };
    memory.set_reader(&mut options);
    options
}

/// What is in a place, as one sees it who opens nothing.
#[derive(Clone, Copy, Default)]
pub(super) struct Seen {
    /// How often it was opened; `None` if nothing is there.
    pub(super) epoch: Option<u64>,
    /// The run that holds it.
    pub(super) holder: Option<RunId>,
    /// Of which of its writers it is known that they closed it: the last one.
    pub(super) closed: Option<u64>,
}

impl SlateDbStore {
    /// Opens the store in a folder of the local disk; makes both if they are
    /// not there. Writes are synced to the disk. A writer that has it open is
    /// [shut out](SlateDbStoreBuilder::open).
    ///
    /// # Errors
    /// The folder cannot be used, holds something else than a store, or a
    /// store of a newer format.
    pub async fn open_local(folder: impl AsRef<FolderPath>) -> Result<Self, Error> {
        Self::local_builder(folder)?.open().await
    }

    /// Opens the store in a folder of the local disk, [unless a run holds
    /// it](SlateDbStoreBuilder::open_unless_claimed).
    ///
    /// # Errors
    /// As of [`SlateDbStoreBuilder::open_unless_claimed`].
    pub async fn open_local_unless_claimed(folder: impl AsRef<FolderPath>) -> Result<Self, Error> {
        Self::local_builder(folder)?.open_unless_claimed().await
    }

    /// A builder for a store in a folder of the local disk.
    ///
    /// # Errors
    /// The path is that of something else than a folder, or cannot be looked at.
    pub fn local_builder(folder: impl AsRef<FolderPath>) -> Result<SlateDbStoreBuilder, Error> {
        let folder = folder.as_ref();
        is_folder(folder)?;
        let mut builder =
            SlateDbStoreBuilder::of(Path::default(), Place::Folder(folder.to_owned()));
        // The local file system cannot overwrite conditionally, which the
        // collector would need for these files.
        let collector = GarbageCollectorOptions {
            boundary_files_enabled: false,
            object_store_max_retries: Some(RETRIES),
            ..GarbageCollectorOptions::default()
        };
        builder.settings.garbage_collector_options = Some(collector);
        Ok(builder)
    }

    /// A builder for a store at a path of an object store.
    pub fn builder(
        path: impl Into<Path>,
        object_store: Arc<dyn ObjectStore>,
    ) -> SlateDbStoreBuilder {
        SlateDbStoreBuilder::of(path.into(), Place::ObjectStore(object_store))
    }

    /// A store in a database that is open already. An empty database becomes a store.
    ///
    /// # Errors
    /// The database holds something else than a store, or a store of a newer format.
    pub async fn from_db(db: Db) -> Result<Self, Error> {
        Self::in_files(db, None).await
    }

    /// The same of a database of which is known where it is.
    async fn in_files(db: Db, files: Option<Files>) -> Result<Self, Error> {
        let kv = SlateDbKv::new(db, files);
        let format = kv.view()?.get(&key::meta(FORMAT)).await?;
        if check_format(format.as_ref())?.is_none() {
            let mut txn = kv.begin()?;
            if !is_empty(kv.db().scan::<RangeFull>(..).await).await? {
                return Err(foreign());
            }
            txn.put(key::meta(FORMAT), record::store_format())?;
            txn.commit().await?;
            kv.flush().await?;
        }
        Ok(Self::over(kv))
    }
}

impl SlateDbStoreBuilder {
    fn of(path: Path, place: Place) -> Self {
        let memory = Memory::of(memory::DEFAULT);
        let mut settings = Settings {
            object_store_max_retries: Some(RETRIES),
            ..Settings::default()
        };
        memory.set(&mut settings);
        Self {
            path,
            place,
            memory,
            settings,
            reader_options: reader_options(memory),
            only_existing: false,
            unless_claimed: None,
            configure: Mutex::default(),
        }
    }

    /// About how much memory the database may take, in bytes: for its caches,
    /// for writes that are not in files yet, and for the files that are being
    /// written and compacted. 256 MiB, unless this is called; less than 64 MiB
    /// is taken for 64 MiB. The more there is, the fewer and larger are the
    /// files, and the more of what is read twice is read from memory.
    ///
    /// It sets the caches, `max_unflushed_bytes`, `l0_sst_size_bytes`,
    /// `l0_flush_parallelism`, `l0_max_ssts`, `l0_max_ssts_per_key` and what
    /// compactions run and fetch at a time, in proportion. What is said of
    /// them in [`settings`](Self::settings),
    /// [`with_settings`](Self::with_settings) or
    /// [`with_reader_options`](Self::with_reader_options) after this holds.
    ///
    /// A [`SlateDbReader`] heeds it for its caches and for the tables in which
    /// it keeps what the writer has not put into files yet; how many these are
    /// depends on the writer.
    ///
    /// A run takes a few MiB more for each of its workers (two for each core, and
    /// up to 16 where the store is slow to answer) for its chunk and for what
    /// is read ahead. That does not depend on this.
    pub fn memory(mut self, bytes: usize) -> Self {
        self.memory = Memory::of(bytes);
        self.memory.set(&mut self.settings);
        self.memory.set_reader(&mut self.reader_options);
        self
    }

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

    /// Changes the defaults of this crate for a [`SlateDbReader`], which heeds
    /// nothing else that is set here but the [memory](Self::memory).
    pub fn with_reader_options(mut self, change: impl FnOnce(&mut DbReaderOptions)) -> Self {
        change(&mut self.reader_options);
        self
    }

    /// Changes the builder of the database just before it opens. Whatever is
    /// set here must be set by every process that opens the database.
    pub fn configure(
        mut self,
        configure: impl FnOnce(DbBuilder<Path>) -> DbBuilder<Path> + Send + 'static,
    ) -> Self {
        self.configure = Mutex::new(Some(Box::new(configure)));
        self
    }

    /// Opens the store only if it is there: none is made, and no folder. A
    /// reader makes none in any case.
    pub fn only_existing(mut self) -> Self {
        self.only_existing = true;
        self
    }

    /// Opens a store that nobody has open only if no run was interrupted that
    /// holds it, but for this one.
    #[cfg_attr(not(feature = "cli"), allow(dead_code))]
    pub(crate) fn unless_claimed(mut self, but: Option<RunId>) -> Self {
        self.unless_claimed = Some(but);
        self
    }

    /// Opens the store. A writer that has it open is shut out, and so is its
    /// run: this is how to take a store over, to resume a run whose program is
    /// dead or hangs. [`open_unless_claimed`](Self::open_unless_claimed) leaves
    /// a run alone, and [`open_unless_in_use`](Self::open_unless_in_use) every
    /// program.
    ///
    /// # Errors
    /// There is something else than a store, or a store of a newer format;
    /// then nothing is written and no writer is shut out. Or the object store
    /// cannot be used.
    pub async fn open(mut self) -> Result<SlateDbStore, Error> {
        let in_place = self.in_place();
        self.open_any().await.map_err(in_place)
    }

    /// Opens the store, unless a run of another program holds it. A run that
    /// was killed holds it too, since nobody can tell: wait, or take the store
    /// over with [`open`](Self::open) and resume the run.
    ///
    /// A program that has the store open and has no run is shut out. It is
    /// given a second to begin one, which is how long this takes.
    ///
    /// # Errors
    /// [`ErrorKind::Claimed`] when a run holds the store, and
    /// [`ErrorKind::Fenced`] when another program opened it at the same moment
    /// and has no run yet. Else as of [`open`](Self::open).
    pub async fn open_unless_claimed(mut self) -> Result<SlateDbStore, Error> {
        let in_place = self.in_place();
        self.open_unless_held().await.map_err(in_place)
    }

    pub(super) fn place_for_writing(&self) -> Result<Arc<dyn ObjectStore>, Error> {
        if !self.only_existing {
            return self.place.for_writing();
        }
        match &self.place {
            Place::Folder(folder) if !is_folder(folder)? => Err(no_store_to_open()),
            place => place.for_reading(),
        }
    }

    async fn open_any(&mut self) -> Result<SlateDbStore, Error> {
        let object_store = self.place_for_writing()?;
        self.look_first(&object_store).await?;
        self.open_at(object_store, None).await
    }

    async fn open_unless_held(&mut self) -> Result<SlateDbStore, Error> {
        let object_store = self.place_for_writing()?;
        let first = self.look_first(&object_store).await?;
        if let Some(run) = first.holder {
            return Err(claimed(run));
        }
        if first.epoch.is_some() {
            tokio::time::sleep(SETTLE).await;
            let now = self.look_first(&object_store).await?;
            if let Some(run) = now.holder {
                return Err(claimed(run));
            }
            if now.epoch != first.epoch {
                return Err(self.came_second(&object_store).await);
            }
        }
        // Of all that have seen the same epoch, one gets in.
        let epoch = Some(first.epoch.unwrap_or(0));
        let store = match self.open_at(object_store.clone(), epoch).await {
            Ok(store) => store,
            Err(error) => {
                let now = self.look_first(&object_store).await;
                return Err(if now.is_ok_and(|now| now.epoch == first.epoch) {
                    error
                } else {
                    self.came_second(&object_store).await
                });
            }
        };
        let runs = Runs::of(&store);
        let holder = match &runs {
            Some(runs) => runs.claimed_by().await?,
            None => None,
        };
        let Some(run) = holder else { return Ok(store) };
        store.close().await?;
        Err(Error::new(
            ErrorKind::Claimed { run },
            format!(
                "run {run} began at the moment when the store was opened, and was shut out; take the store over with `open()` and resume the run"
            ),
        ))
    }

    /// Why this program cannot open the store: another one just did.
    async fn came_second(&self, object_store: &Arc<dyn ObjectStore>) -> Error {
        for _ in 0..LOOKS {
            // What cannot be read while it is being made can be read later.
            if let Ok(Seen {
                holder: Some(run), ..
            }) = self.look_first(object_store).await
            {
                return claimed(run);
            }
            tokio::time::sleep(PAUSE).await;
        }
        Error::new(
            ErrorKind::Fenced,
            "another program opened it at the same moment; wait until that one is done and try again, or take the store over with `open()`",
        )
    }

    /// Opens the database, if it was opened so often before.
    pub(super) async fn open_at(
        &mut self,
        object_store: Arc<dyn ObjectStore>,
        epoch: Option<u64>,
    ) -> Result<SlateDbStore, Error> {
        let files = Files {
            path: self.path.clone(),
            object_store: object_store.clone(),
        };
        let (object_store, opening) = Storage::opening(object_store);
        let mut builder = Db::builder(self.path.clone(), object_store)
            .with_settings(self.settings.clone())
            .with_db_cache(self.memory.cache(), 0);
        let configure = self.configure.get_mut();
        if let Some(configure) = configure.unwrap_or_else(PoisonError::into_inner).take() {
            builder = configure(builder);
        }
        if let Some(epoch) = epoch {
            builder = builder.with_expected_epoch(epoch);
        }
        let what = "the database could not be opened";
        let (path, object_store) = (&files.path, &files.object_store);
        let db = damage::open(what, path, object_store, builder.build()).await?;
        drop(opening);
        SlateDbStore::in_files(db, Some(files)).await
    }

    /// Opens the store for reading only. Nothing is made or written, and no
    /// writer is shut out.
    ///
    /// # Errors
    /// There is no store, something else, or a store of a newer format. Or the
    /// object store cannot be used.
    pub async fn open_reader(self) -> Result<SlateDbReader, Error> {
        self.look_and_stay().await.map_err(self.in_place())
    }

    async fn look_and_stay(&self) -> Result<SlateDbReader, Error> {
        let object_store = self.place.for_reading()?;
        if self.epoch(&object_store).await?.is_none() {
            return Err(match self.nothing_else() {
                Err(lost) if *lost.kind() == ErrorKind::Corrupt => lost,
                _ => no_store(),
            });
        }
        let options = self.reader_options.clone();
        let (admin, poll) = (self.admin(&object_store), options.manifest_poll_interval);
        let kv = SlateDbReaderKv::new(self.reader(object_store, options).await?, admin, poll);
        let found = is_store(kv.reader()).await;
        let refusal = match found {
            Ok(true) => return Ok(SlateDbReader::over(kv)),
            Ok(false) => no_store(),
            Err(error) => error,
        };
        // The refusal says more than a close that fails.
        let _ = kv.reader().close().await;
        Err(refusal)
    }

    /// Says of an error which store it is about.
    pub(super) fn in_place(&self) -> impl Fn(Error) -> Error + use<> {
        let place = match &self.place {
            Place::Folder(folder) => folder.display().to_string(),
            Place::ObjectStore(store) if self.path.as_ref().is_empty() => store.to_string(),
            Place::ObjectStore(_) => self.path.to_string(),
        };
        move |error| {
            let kind = error.kind().clone();
            Error::new(kind, format!("the store {place} cannot be opened")).with_source(error)
        }
    }

    /// Reads what is there without writing and without shutting a writer out.
    pub(super) async fn look_first(
        &self,
        object_store: &Arc<dyn ObjectStore>,
    ) -> Result<Seen, Error> {
        let mut epoch = self.epoch(object_store).await?;
        if epoch.is_none()
            && let Err(something_else) = self.nothing_else()
        {
            // Another program may have made the store just now.
            epoch = self.epoch(object_store).await?;
            if epoch.is_none() {
                return Err(something_else);
            }
        }
        let Some(epoch) = epoch else {
            return if self.only_existing {
                Err(no_store_to_open())
            } else {
                Ok(Seen::default())
            };
        };
        let options = reader_options(self.memory);
        let reader = self.reader(object_store.clone(), options).await?;
        let found = async {
            if !is_store(&reader).await? && self.only_existing {
                return Err(no_store_to_open());
            }
            // The epoch was read first: who claims the store later has it open
            // already, or finds another epoch.
            Ok((holder(&reader).await?, in_use::closed(&reader).await?))
        };
        let found = found.await;
        let ended = reader.close().await;
        let (holder, closed) = found?;
        ended.map_err(|e| error("the database could not be read", e))?;
        Ok(Seen {
            epoch: Some(epoch),
            holder,
            closed,
        })
    }

    /// How often the database was opened; `None` if there is none.
    async fn epoch(&self, object_store: &Arc<dyn ObjectStore>) -> Result<Option<u64>, Error> {
        let (at_once, _opening) = Storage::opening(object_store.clone());
        let admin = self.admin(&at_once);
        // SlateDB asks for ever here, whatever the answer.
        let manifest = damage::shielded(admin.read_manifest(None));
        let Ok(manifest) = tokio::time::timeout(PATIENCE, manifest).await else {
            return Err(self.why_no_manifest(object_store).await);
        };
        let manifest = manifest
            .map_err(|panic| damage::panicked("its manifest could not be read", &*panic))?;
        let manifest = manifest.map_err(|e| match e.kind() {
            // A manifest that cannot be decoded is an internal error to SlateDB.
            slatedb::ErrorKind::Internal => damaged_manifest(e),
            slatedb::ErrorKind::Data if !is_file_gone(&e) => damaged_manifest(e),
            _ => error("its manifest could not be read", e),
        })?;
        Ok(manifest.map(|manifest| manifest.writer_epoch()))
    }

    /// Where the files of the database are.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    fn admin(&self, object_store: &Arc<dyn ObjectStore>) -> Admin {
        Admin::builder(self.path.clone(), object_store.clone()).build()
    }

    /// Refuses a place that has no manifest and holds something else.
    fn nothing_else(&self) -> Result<(), Error> {
        match &self.place {
            Place::Folder(folder) => only_slatedb_folders(folder),
            Place::ObjectStore(_) => Ok(()),
        }
    }

    async fn reader(
        &self,
        object_store: Arc<dyn ObjectStore>,
        options: DbReaderOptions,
    ) -> Result<DbReader, Error> {
        let (object_store, _opening) = Storage::opening(object_store);
        // Every other mode writes a checkpoint, or needs one.
        let builder = DbReader::builder(self.path.clone(), object_store.clone())
            .with_reader_mode(DbReaderMode::FollowLatest)
            .with_options(options)
            .with_db_cache(self.memory.cache(), 0);
        let what = "the database could not be read";
        damage::open(what, &self.path, &object_store, builder.build()).await
    }
}

fn check_format(format: Option<&bytes::Bytes>) -> Result<Option<()>, Error> {
    format
        .map(|row| record::check_store_format(row.clone()).map_err(|bad| bad.of("the store")))
        .transpose()
}

/// Whether a database is a store, or empty; an error if it is something else.
async fn is_store(reader: &DbReader) -> Result<bool, Error> {
    let marked = async || {
        let format = reader
            .get(key::meta(FORMAT))
            .await
            .map_err(|e| error("the format of the store could not be read", e))?;
        Ok::<_, Error>(check_format(format.as_ref())?.is_some())
    };
    if marked().await? {
        return Ok(true);
    }
    if is_empty(reader.scan::<RangeFull>(..).await).await? {
        return Ok(false);
    }
    // A writer may have made the store between these two reads.
    if marked().await? {
        return Ok(true);
    }
    Err(foreign())
}

/// The run that holds a store.
async fn holder(reader: &DbReader) -> Result<Option<RunId>, Error> {
    let row = reader
        .get(key::run_row(rows::CLAIM))
        .await
        .map_err(|e| error("the claim of a run could not be read", e))?;
    Ok(rows::read_claim(row)?.holder.map(|holder| holder.run))
}

fn claimed(run: RunId) -> Error {
    Error::new(
        ErrorKind::Claimed { run },
        format!(
            "run {run} holds it; wait until the run has ended, or, if it is dead, take the store over with `open()`, which shuts its writer out, and resume the run"
        ),
    )
}

async fn is_empty(rows: Result<DbIterator, slatedb::Error>) -> Result<bool, Error> {
    let unread = |e| error("the database could not be read", e);
    let first = rows.map_err(unread)?.next().await.map_err(unread)?;
    Ok(first.is_none())
}

fn no_store() -> Error {
    Error::invalid(
        "there is no store, and a reader makes none; check the path, or start the program whose store it is, which makes it",
    )
}

fn no_store_to_open() -> Error {
    Error::invalid(
        "there is no store, and none is made here; check the path, or start the program whose store it is, which makes it",
    )
}

fn damaged_manifest(cause: slatedb::Error) -> Error {
    let damaged = damaged("the newest file under `manifest`");
    let message = format!("its manifest could not be read: {damaged} (SlateDB says: {cause})");
    Error::corrupt(message).with_source(cause)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn builder() -> SlateDbStoreBuilder {
        SlateDbStoreBuilder::of(Path::default(), Place::Folder(PathBuf::new()))
    }

    #[test]
    fn memory_gives_way_to_what_is_set_after_it() {
        let all = |builder: &SlateDbStoreBuilder| {
            let settings = &builder.settings;
            let reader = builder.reader_options.max_memtable_bytes;
            let sizes = (settings.max_unflushed_bytes, settings.l0_sst_size_bytes);
            (builder.memory, sizes, reader)
        };
        let default = all(&builder());
        assert_eq!(all(&builder().memory(memory::DEFAULT)), default);
        let (memory, sizes, reader) = all(&builder().memory(1 << 30));
        assert!(memory != default.0 && sizes > default.1 && reader > default.2);

        let changed = builder()
            .memory(1 << 30)
            .with_settings(|settings| settings.max_unflushed_bytes = 77 << 20)
            .with_reader_options(|options| options.max_memtable_bytes = 7 << 20);
        assert_eq!(all(&changed), (memory, (77 << 20, sizes.1), 7 << 20));
        assert_eq!(all(&changed.memory(1 << 30)), (memory, sizes, reader));

        let own = Settings::default();
        let expected = (own.max_unflushed_bytes, own.l0_sst_size_bytes);
        assert_eq!(all(&builder().memory(1 << 30).settings(own)).1, expected);
        // The retries are no matter of memory.
        let settings = builder().memory(1 << 30).settings;
        assert_eq!(settings.object_store_max_retries, Some(RETRIES));
    }
}

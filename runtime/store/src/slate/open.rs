//! Opening a SlateDB store, always through one builder: every process that opens a
//! database must configure it in the same way.
//!
//! Opening a database fences its writer. `open_unless_claimed` therefore first reads the
//! claim of a run as a reader, which writes nothing, and then opens the database at the
//! epoch that it saw, so that of two programs only one succeeds. `open` takes over.

use std::ops::RangeFull;
use std::path::Path as FolderPath;
use std::sync::Arc;
use std::time::Duration;

use slatedb::config::{DbReaderOptions, GarbageCollectorOptions, Settings};
use slatedb::object_store::ObjectStore;
use slatedb::object_store::path::Path;
use slatedb::{Db, DbBuilder};
use state_migration_core::store_api::claim::{self, Holder};
use state_migration_core::{DurableStoreId, Error, ErrorKind, RunId};
use tokio::time::timeout;

use crate::kv::{Kv, KvTxn};
use crate::slate::conditions;
use crate::slate::durable::{Durability, OFTEN};
use crate::slate::kv::{BLOCK_SIZE, Files, NO_ANSWER, SlateDbKv};
use crate::slate::litter::Litter;
use crate::slate::location::{Place, is_folder, within};
use crate::slate::memory_budget::{self, Memory};
use crate::slate::no_retry::Storage;
use crate::slate::openings::Mark;
use crate::slate::probe::{Probe, check_format, foreign, is_empty, no_store_to_open};
use crate::slate::{SlateDbReader, SlateDbStore, damage, rehearsal};
use crate::{key, record};

/// How often SlateDB retries a request. It retries without limit by default,
/// which turns a full disk or a missing permission into a hang.
const RETRIES: u32 = 8;

/// The interval at which a reader polls for new durable data.
const POLL: Duration = Duration::from_secs(1);

/// How long a program that has just opened a store may take to begin a run
/// before another program assumes that it has none. A wrong assumption harms no
/// data.
const SETTLE: Duration = Duration::from_secs(1);

/// How often, and at which interval, a program that lost the race to open a
/// store looks for the run of the winner, to name it.
const LOOKS: u32 = 20;
const PAUSE: Duration = Duration::from_millis(250);

type Configure = Arc<dyn Fn(DbBuilder<Path>) -> DbBuilder<Path> + Send + Sync>;

/// Opens a [`SlateDbStore`], or a [`SlateDbReader`].
#[derive(Clone)]
#[must_use]
pub struct SlateDbStoreBuilder {
    pub(crate) path: Path,
    pub(crate) place: Place,
    /// The location as the user wrote it.
    location: Option<String>,
    pub(crate) memory: Memory,
    settings: Settings,
    pub(crate) patience: Option<Duration>,
    pub(crate) reader_options: DbReaderOptions,
    pub(crate) only_existing: bool,
    /// If set, a claim prevents opening a store that is not in use, except the
    /// claim of this run.
    pub(crate) unless_claimed: Option<Option<RunId>>,
    configure: Option<Configure>,
}

pub(crate) fn reader_options(memory: Memory) -> DbReaderOptions {
    let mut options = DbReaderOptions {
        manifest_poll_interval: POLL,
        object_store_max_retries: Some(RETRIES),
        ..DbReaderOptions::default()
    };
    memory.set_reader(&mut options);
    options
}

impl SlateDbStore {
    /// Opens the store in a folder of the local disk; creates both if they do
    /// not exist. Writes are synced to the disk. A writer that has the store
    /// open is [fenced](SlateDbStoreBuilder::open).
    ///
    /// # Errors
    /// The folder cannot be used, contains something other than a store, or a
    /// store of a newer format.
    pub async fn open_local(folder: impl AsRef<FolderPath>) -> Result<Self, Error> {
        Self::local_builder(folder)?.open().await
    }

    /// Opens the store in a folder of the local disk, [unless a run has claimed
    /// it](SlateDbStoreBuilder::open_unless_claimed).
    ///
    /// # Errors
    /// Those of [`SlateDbStoreBuilder::open_unless_claimed`].
    pub async fn open_local_unless_claimed(folder: impl AsRef<FolderPath>) -> Result<Self, Error> {
        Self::local_builder(folder)?.open_unless_claimed().await
    }

    /// A builder for a store in a folder of the local disk. SlateDB writes its
    /// log every 5 ms there (`flush_interval`), unless its settings are
    /// changed.
    ///
    /// # Errors
    /// The path is not a folder, or cannot be read.
    pub fn local_builder(folder: impl AsRef<FolderPath>) -> Result<SlateDbStoreBuilder, Error> {
        let folder = folder.as_ref();
        is_folder(folder)?;
        let (folder, path) = rehearsal::original_of(folder);
        let mut builder = SlateDbStoreBuilder::of(path, Place::Folder(folder));
        // The local file system has no conditional overwrite, which the garbage
        // collector would need for these files.
        let collector = GarbageCollectorOptions {
            boundary_files_enabled: false,
            object_store_max_retries: Some(RETRIES),
            ..GarbageCollectorOptions::default()
        };
        builder.settings.garbage_collector_options = Some(collector);
        builder.settings.flush_interval = Some(OFTEN);
        Ok(builder)
    }

    /// A builder for a store at a path of an object store.
    pub fn builder(
        path: impl Into<Path>,
        object_store: Arc<dyn ObjectStore>,
    ) -> SlateDbStoreBuilder {
        SlateDbStoreBuilder::of(path.into(), Place::ObjectStore(object_store))
    }

    /// A store in a database that is already open. An empty database becomes a
    /// store.
    ///
    /// # Errors
    /// The database contains something other than a store, or a store of a
    /// newer format.
    pub async fn from_db(db: Db) -> Result<Self, Error> {
        Self::of_kv(SlateDbKv::new(db, None, Durability::default())).await
    }

    async fn of_kv(kv: SlateDbKv) -> Result<Self, Error> {
        let format = kv.view()?.get(&key::meta(key::STORE_FORMAT)).await?;
        if check_format(format.as_ref())?.is_none() {
            let mut txn = kv.begin()?;
            if !is_empty(kv.db().scan::<RangeFull>(..).await).await? {
                return Err(foreign());
            }
            txn.put(key::meta(key::STORE_FORMAT), record::store_format())?;
            let id = record::write_store_id(DurableStoreId::random());
            txn.put(key::meta(key::STORE_ID), id)?;
            txn.commit().await?;
            kv.flush().await?;
        }
        Ok(Self::over(kv))
    }
}

impl SlateDbStoreBuilder {
    fn of(path: Path, place: Place) -> Self {
        let memory = Memory::of(memory_budget::DEFAULT);
        let mut settings = Settings {
            object_store_max_retries: Some(RETRIES),
            ..Settings::default()
        };
        memory.set(&mut settings);
        Self {
            path,
            place,
            location: None,
            memory,
            settings,
            patience: None,
            reader_options: reader_options(memory),
            only_existing: false,
            unless_claimed: None,
            configure: None,
        }
    }

    /// A builder for a copy of this database, which is at another path.
    pub(crate) fn of_copy(&self, path: Path) -> Self {
        let mut copy = self.clone();
        copy.path = path;
        copy.location = None;
        copy.only_existing = true;
        copy.unless_claimed = None;
        // A compaction would write the files of the original again.
        copy.settings.compactor_options = None;
        copy.settings.l0_max_ssts = usize::MAX;
        copy.settings.l0_max_ssts_per_key = usize::MAX;
        copy
    }

    /// The approximate memory of the database, in bytes: for its caches, for
    /// rows that are not in files yet, and for files being written and
    /// compacted. The default is 256 MiB, the minimum 64 MiB. With more memory,
    /// files are fewer and larger, and more repeated reads are served from
    /// memory.
    ///
    /// This sets the caches, `max_unflushed_bytes`, `l0_sst_size_bytes`,
    /// `l0_flush_parallelism`, `l0_max_ssts`, `l0_max_ssts_per_key` and the
    /// number and fetch size of compactions, in proportion. A later call of
    /// [`settings`](Self::settings), [`with_settings`](Self::with_settings) or
    /// [`with_reader_options`](Self::with_reader_options) overrides them.
    ///
    /// A [`SlateDbReader`] applies this to its caches and to the tables of rows
    /// that the writer has not put into files yet; the number of those tables
    /// depends on the writer.
    ///
    /// A run takes a few MiB more for each of its workers (two for each core,
    /// and up to 16 where the store is slow to answer) for its chunk and for
    /// prefetched data. That does not depend on this.
    pub fn memory(mut self, bytes: usize) -> Self {
        self.memory = Memory::of(bytes);
        self.memory.set(&mut self.settings);
        self.memory.set_reader(&mut self.reader_options);
        self
    }

    /// The location as the user wrote it, such as `s3://bucket/path`: errors call
    /// the store by this name. An object store does not know its URL.
    pub fn location(mut self, location: impl Into<String>) -> Self {
        self.location = Some(location.into());
        self
    }

    /// Replaces the default settings.
    pub fn settings(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }

    /// Changes the default settings of this crate.
    pub fn with_settings(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(&mut self.settings);
        self
    }

    /// Changes the default options of this crate for a [`SlateDbReader`], which
    /// uses no other setting of this builder except the [memory](Self::memory) and the
    /// [patience](Self::patience).
    pub fn with_reader_options(mut self, change: impl FnOnce(&mut DbReaderOptions)) -> Self {
        change(&mut self.reader_options);
        self
    }

    /// Fails a write or a read, also of a reader, if the object store gives no answer for this
    /// long. Without this setting, a request waits for its answer without limit, and the
    /// settings of SlateDB limit how often a request is repeated after an error.
    pub fn patience(mut self, limit: Duration) -> Self {
        self.patience = Some(limit);
        self
    }

    /// Changes the builder of the database just before it opens, and that of a copy for a
    /// rehearsal. Every process that opens the database must make the same changes.
    ///
    /// Blocks are of 16 KiB unless another size is set here.
    pub fn configure(
        mut self,
        configure: impl Fn(DbBuilder<Path>) -> DbBuilder<Path> + Send + Sync + 'static,
    ) -> Self {
        self.configure = Some(Arc::new(configure));
        self
    }

    /// Opens the store only if it exists, and creates neither a store nor a
    /// folder. A reader never creates them.
    pub fn only_existing(mut self) -> Self {
        self.only_existing = true;
        self
    }

    /// Opens a store that is not in use only if no interrupted run has claimed
    /// it, except for this run.
    #[doc(hidden)]
    pub fn unless_claimed(mut self, but: Option<RunId>) -> Self {
        self.unless_claimed = Some(but);
        self
    }

    /// Opens the store. A writer that has it open is fenced, and so is its run:
    /// use this to take a store over, and to resume a run whose program is dead
    /// or hangs. [`open_unless_claimed`](Self::open_unless_claimed) does not
    /// fence a run, and [`open_unless_in_use`](Self::open_unless_in_use) does
    /// not fence any program.
    ///
    /// # Errors
    /// The location contains something other than a store, or a store of a
    /// newer format; then nothing is written and no writer is fenced. Or the
    /// object store cannot be used.
    pub async fn open(self) -> Result<SlateDbStore, Error> {
        let in_place = self.in_place();
        self.open_any().await.map_err(in_place)
    }

    /// Opens the store unless a run of another program has claimed it. A run
    /// that was killed on another machine keeps its claim, because its death
    /// cannot be detected: wait, or take the store over with
    /// [`open_unless_alive`](Self::open_unless_alive) and resume the run.
    ///
    /// A program that has the store open without a run is fenced. It is given a
    /// second to begin one, so this call takes a second.
    ///
    /// # Errors
    /// [`ErrorKind::Claimed`] when a run has claimed the store, and
    /// [`ErrorKind::Fenced`] when another program opened it at the same moment
    /// and has no run yet. Otherwise those of [`open`](Self::open).
    pub async fn open_unless_claimed(self) -> Result<SlateDbStore, Error> {
        let in_place = self.in_place();
        self.open_unless_held().await.map_err(in_place)
    }

    pub(crate) fn place_for_writing(&self) -> Result<Arc<dyn ObjectStore>, Error> {
        if !self.only_existing {
            return self.place.for_writing();
        }
        match &self.place {
            Place::Folder(folder) if !is_folder(folder)? => Err(no_store_to_open()),
            place => place.for_reading(),
        }
    }

    async fn open_any(&self) -> Result<SlateDbStore, Error> {
        let object_store = self.place_for_writing()?;
        let seen = self.look_first(&object_store).await?;
        self.open_at(object_store, &seen, None).await
    }

    async fn open_unless_held(&self) -> Result<SlateDbStore, Error> {
        let object_store = self.place_for_writing()?;
        let first = self.look_first(&object_store).await?;
        if let Some(run) = first.live_run() {
            return Err(claimed(run));
        }
        if first.epoch.is_some() {
            tokio::time::sleep(SETTLE).await;
            let now = self.look_first(&object_store).await?;
            if let Some(run) = now.live_run() {
                return Err(claimed(run));
            }
            if now.epoch != first.epoch {
                return Err(self.lost_race(&object_store).await);
            }
        }
        // Of all programs that have seen the same epoch, one succeeds.
        let epoch = Some(first.epoch.unwrap_or(0));
        let opened = self.open_at(object_store.clone(), &first, epoch).await;
        let store = match opened {
            Ok(store) => store,
            Err(error) => {
                let now = self.look_first(&object_store).await;
                let is_own = |now: Probe| now.epoch == first.epoch || !now.is_in_use();
                return Err(if now.is_ok_and(is_own) {
                    error
                } else {
                    self.lost_race(&object_store).await
                });
            }
        };
        let holder = claim::holder(&store).await?;
        let Some(Holder { run, .. }) = holder.filter(Holder::may_be_alive) else {
            return Ok(store);
        };
        store.close().await?;
        Err(Error::new(
            ErrorKind::Claimed { run },
            format!(
                "run {run} began while the store was being opened, and is now fenced; take over the store with `open()` and resume the run"
            ),
        ))
    }

    /// The error when another program has opened the store at the same moment.
    async fn lost_race(&self, object_store: &Arc<dyn ObjectStore>) -> Error {
        for _ in 0..LOOKS {
            // A store that is unreadable while it is being created can be read
            // later.
            if let Ok(seen) = self.look_first(object_store).await
                && let Some(run) = seen.live_run()
            {
                return claimed(run);
            }
            tokio::time::sleep(PAUSE).await;
        }
        Error::new(
            ErrorKind::Fenced,
            "another program opened the store at the same time; wait until that program is done and try again, or take over the store with `open()`",
        )
    }

    pub(crate) fn files(&self, object_store: Arc<dyn ObjectStore>) -> Files {
        Files {
            path: self.path.clone(),
            object_store,
            place: self.place.name(&self.path),
            folder: self.place.folder_id(&self.path),
            scratch: self.place.scratch(),
            folder_path: self.place.folder(),
        }
    }

    /// Opens the database, if given only if it is still at this epoch.
    pub(crate) async fn open_at(
        &self,
        object_store: Arc<dyn ObjectStore>,
        seen: &Probe,
        epoch: Option<u64>,
    ) -> Result<SlateDbStore, Error> {
        if let Place::ObjectStore(_) = &self.place {
            let checked = conditions::check(&object_store, &self.path);
            match self.patience {
                None => checked.await?,
                Some(limit) => timeout(limit, checked).await.map_err(|late| {
                    let message = format!("conditional writes could not be checked: {NO_ANSWER}");
                    Error::new(ErrorKind::Unavailable, message).with_source(late)
                })??,
            }
        }
        let files = self.files(object_store);
        let mark = Mark::put(&files, seen.epoch.unwrap_or(0) + 1).await?;
        let opened = self.open_files(files, epoch, mark.clone()).await;
        if opened.is_err() {
            mark.failed().await;
        }
        opened
    }

    async fn open_files(
        &self,
        files: Files,
        epoch: Option<u64>,
        mark: Mark,
    ) -> Result<SlateDbStore, Error> {
        let object_store = files.object_store.clone();
        let gradual = self.place.gradual();
        let (object_store, opening) =
            Storage::opening(object_store, gradual.clone(), self.patience);
        let mut builder = Db::builder(self.path.clone(), object_store)
            .with_settings(self.settings.clone())
            .with_sst_block_size(BLOCK_SIZE)
            .with_db_cache(self.memory.cache(), 0);
        if let Some(configure) = &self.configure {
            builder = configure(builder);
        }
        if let Some(epoch) = epoch {
            builder = builder.with_expected_epoch(epoch);
        }
        let what = "the database could not be opened";
        let (path, object_store) = (&files.path, &files.object_store);
        let db = damage::open(what, path, object_store, builder.build()).await?;
        drop(opening);
        let durability = Durability::of(&self.settings);
        let manifest = db.manifest();
        let fence = damage::fence(&files, manifest.replay_after_wal_id()).await;
        let mark = mark.opened(manifest.writer_epoch(), fence).await;
        let kv = SlateDbKv::new(db, Some(files), durability)
            .with_mark(mark)
            .opened_by(self)
            .with_litter(Litter::of(&self.settings));
        let store = SlateDbStore::of_kv(kv).await?;
        if let Some(gradual) = gradual {
            gradual.yield_to(store.activity());
        }
        Ok(store)
    }

    /// Opens the store read-only. Nothing is created or written, and no writer
    /// is fenced.
    ///
    /// # Errors
    /// There is no store, something else, or a store of a newer format. Or the
    /// object store cannot be used.
    pub async fn open_reader(self) -> Result<SlateDbReader, Error> {
        self.probe_and_open_reader().await.map_err(self.in_place())
    }

    /// Adds the location of the store to an error.
    pub(crate) fn in_place(&self) -> impl Fn(Error) -> Error + use<> {
        let place = match &self.place {
            _ if self.location.is_some() => self.location.clone().unwrap_or_default(),
            Place::Folder(folder) => within(folder, &self.path).display().to_string(),
            Place::ObjectStore(store) if self.path.as_ref().is_empty() => store.to_string(),
            Place::ObjectStore(_) => self.path.to_string(),
        };
        move |error| {
            let kind = error.kind().clone();
            Error::new(kind, format!("the store {place} cannot be opened")).with_source(error)
        }
    }

    /// The path of the database.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

fn claimed(run: RunId) -> Error {
    Error::new(
        ErrorKind::Claimed { run },
        format!(
            "run {run} claims the store; wait until the run has ended, or, if its program is dead, take over the store with `open()` and resume the run"
        ),
    )
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

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
        assert_eq!(all(&builder().memory(memory_budget::DEFAULT)), default);
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
        // The number of retries does not depend on the memory.
        let settings = builder().memory(1 << 30).settings;
        assert_eq!(settings.object_store_max_retries, Some(RETRIES));
    }
}

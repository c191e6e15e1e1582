//! Inspection of a location without writing and without fencing a writer.

use std::ops::RangeFull;
use std::sync::Arc;
use std::time::Duration;

use slatedb::admin::Admin;
use slatedb::config::DbReaderOptions;
use slatedb::object_store::ObjectStore;
use slatedb::{DbIterator, DbReader, DbReaderMode};
use state_migration_core::store_api::claim::{self, Holder};
use state_migration_core::{Error, ErrorKind, RunId};

use crate::slate::kv::{damaged, error, is_file_gone};
use crate::slate::location::{NoStore, no_store};
use crate::slate::no_retry::Storage;
use crate::slate::open::reader_options;
use crate::slate::openings::Openings;
use crate::slate::reader::SlateDbReaderKv;
use crate::slate::{SlateDbReader, SlateDbStoreBuilder, damage, in_use};
use crate::{key, record};

/// The time limit for reading a manifest, including retries.
const PATIENCE: Duration = Duration::from_secs(15);

/// The state of a location, as seen without opening it for writing.
#[derive(Clone, Default)]
pub(crate) struct Probe {
    /// How often the store was opened; `None` without a store.
    pub(crate) epoch: Option<u64>,
    /// The run that has claimed it.
    pub(crate) holder: Option<Holder>,
    /// The epoch of the last writer that is known to have closed it.
    pub(crate) closed: Option<u64>,
    /// The programs that have opened it at its epoch.
    pub(crate) openings: Openings,
}

impl Probe {
    /// The run that has claimed the store and may be in progress.
    pub(crate) fn live_run(&self) -> Option<RunId> {
        let holder = self.holder.as_ref();
        holder.filter(|it| it.may_be_alive()).map(|it| it.run)
    }
}

impl SlateDbStoreBuilder {
    /// A reader of the store.
    pub(crate) async fn probe_and_open_reader(&self) -> Result<SlateDbReader, Error> {
        let object_store = self.place.for_reading()?;
        let Some(epoch) = self.epoch(&object_store).await? else {
            return Err(match self.place.nothing_else(false) {
                Err(lost) if *lost.kind() == ErrorKind::Corrupt => lost,
                _ => no_store(),
            });
        };
        let openings = Openings::read(&self.files(object_store.clone()), epoch).await;
        self.check_log(&object_store, epoch, &openings).await?;
        let options = self.reader_options.clone();
        let (admin, poll) = (self.admin(&object_store), options.manifest_poll_interval);
        let files = self.files(object_store.clone());
        let reader = self.reader(object_store, options).await?;
        let kv = SlateDbReaderKv::new(reader, self, files, admin, poll);
        let found = is_store(kv.reader()).await;
        let refusal = match found {
            Ok(true) => return Ok(SlateDbReader::over(kv)),
            Ok(false) => no_store(),
            Err(error) => error,
        };
        // The error says more than a close that fails.
        let _ = kv.reader().close().await;
        Err(refusal)
    }

    /// Reads the state without writing and without fencing a writer.
    pub(crate) async fn look_first(
        &self,
        object_store: &Arc<dyn ObjectStore>,
    ) -> Result<Probe, Error> {
        let mut epoch = self.epoch(object_store).await?;
        if epoch.is_none()
            && let Err(something_else) = self.place.nothing_else(!self.only_existing)
        {
            // Another program may have created the store just now.
            epoch = self.epoch(object_store).await?;
            if epoch.is_none() {
                return Err(something_else);
            }
        }
        let Some(epoch) = epoch else {
            return if self.only_existing {
                Err(no_store_to_open())
            } else {
                Ok(Probe::default())
            };
        };
        let openings = Openings::read(&self.files(object_store.clone()), epoch).await;
        self.check_log(object_store, epoch, &openings).await?;
        let options = reader_options(self.memory);
        let reader = self.reader(object_store.clone(), options).await?;
        let found = async {
            if !is_store(&reader).await? && self.only_existing {
                return Err(no_store_to_open());
            }
            // The epoch was read first: a program that claims the store later
            // has it open already, or finds another epoch.
            Ok((holder(&reader).await?, in_use::closed(&reader).await?))
        };
        let found = found.await;
        let ended = reader.close().await;
        let (holder, closed) = found?;
        ended.map_err(|e| error("the database could not be read", e))?;
        Ok(Probe {
            epoch: Some(epoch),
            holder,
            closed,
            openings,
        })
    }

    /// Checks that no file of the log has lost its content. SlateDB would read the
    /// database without the records of that file.
    async fn check_log(
        &self,
        object_store: &Arc<dyn ObjectStore>,
        epoch: u64,
        openings: &Openings,
    ) -> Result<(), Error> {
        let Some(fence) = openings.fence else {
            return Ok(());
        };
        let files = self.files(object_store.clone());
        let Some(file) = damage::emptied_log_file(&files, fence).await else {
            return Ok(());
        };
        // A program that opens the database raises the epoch, and then writes an empty
        // file.
        if self.epoch(object_store).await? != Some(epoch) {
            return Ok(());
        }
        Err(Error::corrupt(format!(
            "the database could not be read: the file {file} of the log is empty, although records were written to it; restore the file from a backup"
        )))
    }

    /// How often the database was opened; `None` without a database.
    async fn epoch(&self, object_store: &Arc<dyn ObjectStore>) -> Result<Option<u64>, Error> {
        let (at_once, _opening) = Storage::opening(object_store.clone(), None, self.patience);
        let admin = self.admin(&at_once);
        // SlateDB retries here without limit, whatever the error.
        let manifest = damage::shielded(admin.read_manifest(None));
        let Ok(manifest) = tokio::time::timeout(PATIENCE, manifest).await else {
            return Err(self.why_no_manifest(object_store).await);
        };
        let manifest = manifest
            .map_err(|panic| damage::panicked("its manifest could not be read", &*panic))?;
        let manifest = manifest.map_err(|e| match e.kind() {
            // SlateDB reports a manifest that cannot be decoded as an internal
            // error.
            slatedb::ErrorKind::Internal => damaged_manifest(e),
            slatedb::ErrorKind::Data if !is_file_gone(&e) => damaged_manifest(e),
            _ => error("its manifest could not be read", e),
        })?;
        Ok(manifest.map(|manifest| manifest.writer_epoch()))
    }

    fn admin(&self, object_store: &Arc<dyn ObjectStore>) -> Admin {
        Admin::builder(self.path.clone(), object_store.clone()).build()
    }

    async fn reader(
        &self,
        object_store: Arc<dyn ObjectStore>,
        options: DbReaderOptions,
    ) -> Result<DbReader, Error> {
        let (object_store, _opening) = Storage::opening(object_store, None, self.patience);
        // Every other mode writes a checkpoint, or needs one.
        let builder = DbReader::builder(self.path.clone(), object_store.clone())
            .with_reader_mode(DbReaderMode::FollowLatest)
            .with_options(options)
            .with_db_cache(self.memory.cache(), 0);
        let what = "the database could not be read";
        damage::open(what, &self.path, &object_store, builder.build()).await
    }
}

pub(crate) fn check_format(format: Option<&bytes::Bytes>) -> Result<Option<()>, Error> {
    format
        .map(|row| record::check_store_format(row.clone()).map_err(|bad| bad.of("the store")))
        .transpose()
}

/// Whether a database is a store, or empty; an error if it is something else.
async fn is_store(reader: &DbReader) -> Result<bool, Error> {
    let marked = async || {
        let format = reader
            .get(key::meta(key::STORE_FORMAT))
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
    // A writer may have created the store between these two reads.
    if marked().await? {
        return Ok(true);
    }
    Err(foreign())
}

/// The run that has claimed a store.
async fn holder(reader: &DbReader) -> Result<Option<Holder>, Error> {
    let row = reader
        .get(key::run_row(claim::CLAIM))
        .await
        .map_err(|e| error("the claim of a run could not be read", e))?;
    Ok(claim::read(row)?.holder)
}

pub(crate) async fn is_empty(rows: Result<DbIterator, slatedb::Error>) -> Result<bool, Error> {
    let unread = |e| error("the database could not be read", e);
    let first = rows.map_err(unread)?.next().await.map_err(unread)?;
    Ok(first.is_none())
}

pub(crate) fn no_store_to_open() -> Error {
    Error::invalid(
        "the store does not exist and is not created; check the path, or start the program that creates the store",
    )
    .with_source(NoStore)
}

fn damaged_manifest(cause: slatedb::Error) -> Error {
    let damaged = damaged(
        "the newest file under `manifest` (with an earlier one, the store returns to that time)",
    );
    let message = format!("its manifest could not be read: {damaged} (SlateDB says: {cause})");
    Error::corrupt(message).with_source(cause)
}

pub(crate) fn foreign() -> Error {
    Error::invalid(
        "the database belongs to another application: it has records, but not those of a store; use another path",
    )
}

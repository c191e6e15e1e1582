//! Whether a program has a store open: what can be seen of that from outside.
//!
//! A writer that closes its store leaves a mark with its epoch, and every
//! writer has an epoch of its own: while the database is at the epoch of the
//! mark, nobody has it open. Otherwise a program has, or did not say goodbye.
//! What it writes shows that it is alive; that it writes nothing shows nothing.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use futures_util::TryStreamExt;
use slatedb::object_store::path::Path;
use slatedb::object_store::{self, ObjectMeta, ObjectStore, ObjectStoreExt as _};
use slatedb::{Db, DbReader};

use crate::key;
use crate::slate::kv::{error, way_out_of_storage};
use crate::slate::probe::Seen;
use crate::slate::{SlateDbReader, SlateDbStore, SlateDbStoreBuilder};
use state_migration_core::store_api::claim::{self, Closed, interrupted_by};
use state_migration_core::store_api::row;
use state_migration_core::{Error, ErrorKind, InUse};

/// For how long a store is watched that was not closed, and how often.
const WATCH: Duration = Duration::from_secs(2);
const LOOK: Duration = Duration::from_millis(250);

/// The folders of the log and of the manifests.
const LOG: &str = "wal";
const MANIFESTS: &str = "manifest";

/// Makes everything durable, and then leaves the mark. What goes wrong leaves
/// none, which is the safe side: the store counts as in use then.
pub(crate) async fn say_goodbye(db: &Db) -> Result<(), slatedb::Error> {
    db.flush().await?;
    // SlateDB takes no manifest of a later writer into an open handle, so this
    // is its own epoch, also when it was shut out; and then the mark, which is
    // written to the log of that epoch, does not become durable.
    let epoch = db.manifest().writer_epoch();
    if let Ok(row) = row::write(&Closed { epoch }) {
        db.put(key::run_row(claim::CLOSED), row).await?;
        db.flush().await?;
    }
    Ok(())
}

/// The epoch of the last writer that closed a store.
pub(crate) async fn closed(reader: &DbReader) -> Result<Option<u64>, Error> {
    let row = reader
        .get(key::run_row(claim::CLOSED))
        .await
        .map_err(|e| error("the mark of the last writer could not be read", e))?;
    let closed: Option<Closed> = row
        .map(|row| row::read(row, "the mark of the last writer"))
        .transpose()?;
    Ok(closed.map(|closed| closed.epoch))
}

impl Seen {
    /// Whether a program has the store open, as far as can be told.
    fn is_in_use(&self) -> bool {
        self.epoch.is_some() && self.closed != self.epoch
    }
}

/// The newest file of the log, and the newest manifest.
#[derive(Debug, Clone, Default, PartialEq)]
struct Newest {
    log: Option<ObjectMeta>,
    manifest: Option<ObjectMeta>,
}

impl Newest {
    /// How long ago the newer one was written.
    fn age(&self) -> Option<Duration> {
        let files = [&self.log, &self.manifest];
        let times = files.into_iter().flatten().map(|file| file.last_modified);
        let newest = SystemTime::from(times.max()?);
        // The clock of an object store may be ahead.
        Some(newest.elapsed().unwrap_or_default())
    }
}

impl SlateDbReader {
    /// Whether a program has the store open for writing, or ended without
    /// closing it, which cannot be told from here: then
    /// [`open_unless_in_use`](SlateDbStoreBuilder::open_unless_in_use) refuses.
    ///
    /// # Errors
    /// The store could not be read.
    pub async fn is_in_use(&self) -> Result<bool, Error> {
        let reader = self.kv().reader();
        let seen = Seen {
            // First, so that who comes later has another one than the mark.
            epoch: Some(reader.manifest().writer_epoch()),
            holder: None,
            closed: closed(reader).await?,
        };
        Ok(seen.is_in_use())
    }
}

impl SlateDbStoreBuilder {
    /// Opens the store, unless a program has it open: no writer is shut out.
    ///
    /// A writer that [closed](SlateDbStore::close) the store left a mark, and
    /// then this opens it at once. Where there is none, the store is watched
    /// for two seconds, to tell in the error whether somebody writes. A program
    /// that was killed, or that ended without closing the store, left no mark
    /// either: it cannot be told from one that is idle. When you know, take the
    /// store over with [`open`](Self::open).
    ///
    /// Of programs that do this at the same time, one gets in.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use state_migration::{ErrorKind, SlateDbStore};
    ///
    /// # let folder = tempfile::tempdir()?;
    /// # let folder = folder.path();
    /// let service = SlateDbStore::open_local(folder).await?;
    /// let second = SlateDbStore::local_builder(folder)?.open_unless_in_use().await;
    /// assert!(matches!(second.unwrap_err().kind(), ErrorKind::InUse(_)));
    ///
    /// service.close().await?;
    /// let second = SlateDbStore::local_builder(folder)?.open_unless_in_use().await;
    /// assert!(second.is_ok());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::InUse`] when a program has the store open, or was killed
    /// while it had. Else as of [`open`](Self::open).
    pub async fn open_unless_in_use(mut self) -> Result<SlateDbStore, Error> {
        let in_place = self.in_place();
        self.open_at_rest().await.map_err(in_place)
    }

    async fn open_at_rest(&mut self) -> Result<SlateDbStore, Error> {
        let object_store = self.place_for_writing()?;
        let mut seen = self.look_first(&object_store).await?;
        if seen.is_in_use() {
            let (newest, writes) = self.watch(&object_store).await?;
            seen = self.look_first(&object_store).await?;
            if seen.is_in_use() {
                return Err(in_use(&seen, &newest, writes));
            }
        }
        if let (Some(but), Some(run)) = (self.unless_claimed, seen.holder)
            && but != Some(run)
        {
            return Err(Error::new(ErrorKind::Claimed { run }, interrupted_by(run)));
        }
        // Whoever opened it since made it another epoch.
        let epoch = Some(seen.epoch.unwrap_or(0));
        let refused = match self.open_at(object_store.clone(), epoch).await {
            Ok(store) => return Ok(store),
            Err(refused) => refused,
        };
        // Storage that fails half-way leaves another epoch, which is this one's.
        if *refused.kind() == ErrorKind::Unavailable {
            return Err(refused);
        }
        let Ok(now) = self.look_first(&object_store).await else {
            return Err(refused);
        };
        if now.epoch == seen.epoch {
            return Err(refused);
        }
        Err(in_use(&now, &Newest::default(), true))
    }

    /// Looks whether anything is written to the store.
    async fn watch(&self, object_store: &Arc<dyn ObjectStore>) -> Result<(Newest, bool), Error> {
        let first = self.newest(object_store, &Newest::default()).await?;
        let end = Instant::now() + WATCH;
        while Instant::now() < end {
            tokio::time::sleep(LOOK).await;
            let now = self.newest(object_store, &first).await?;
            if now != first {
                return Ok((now, true));
            }
        }
        Ok((first, false))
    }

    /// What an object store says to one who asks once for the newest manifest.
    pub(crate) async fn why_no_manifest(&self, object_store: &Arc<dyn ObjectStore>) -> Error {
        let folder = self.path().clone().join(MANIFESTS);
        let answer = async {
            match newest_in(object_store, &folder, None).await? {
                Some(newest) => object_store.get(&newest.location).await.map(drop),
                None => Ok(()),
            }
        };
        let unread = |way_out| {
            let message = format!("its manifest could not be read: {way_out}");
            Error::new(ErrorKind::Unavailable, message)
        };
        let slow = "the object store did not answer; check it and try again";
        match tokio::time::timeout(WATCH, answer).await {
            Ok(Err(cause)) => unread(way_out_of_storage(&cause).unwrap_or(slow)).with_source(cause),
            _ => unread(slow),
        }
    }

    /// The newest files, none of them older than those of before.
    async fn newest(
        &self,
        object_store: &Arc<dyn ObjectStore>,
        before: &Newest,
    ) -> Result<Newest, Error> {
        let newest = async |folder: &str, before: &Option<ObjectMeta>| {
            let folder = self.path().clone().join(folder);
            newest_in(object_store, &folder, before.clone())
                .await
                .map_err(|cause| {
                    Error::new(
                        ErrorKind::Unavailable,
                        format!("the files in {folder} could not be listed; check the object store and its permissions"),
                    )
                    .with_source(cause)
                })
        };
        Ok(Newest {
            log: newest(LOG, &before.log).await?,
            manifest: newest(MANIFESTS, &before.manifest).await?,
        })
    }
}

/// The last file of a folder, which is the newest: their names are numbers.
async fn newest_in(
    object_store: &Arc<dyn ObjectStore>,
    folder: &Path,
    before: Option<ObjectMeta>,
) -> Result<Option<ObjectMeta>, object_store::Error> {
    let mut files = match &before {
        Some(before) => object_store.list_with_offset(Some(folder), &before.location),
        None => object_store.list(Some(folder)),
    };
    let mut newest = before;
    while let Some(file) = files.try_next().await? {
        if newest
            .as_ref()
            .is_none_or(|newest| newest.location < file.location)
        {
            newest = Some(file);
        }
    }
    Ok(newest)
}

fn in_use(seen: &Seen, newest: &Newest, writes: bool) -> Error {
    let epoch = seen.epoch.unwrap_or_default();
    let in_use = InUse::new(epoch, seen.holder, writes, newest.age());
    let message = format!(
        "{in_use}; wait until it is closed, work inside that program, or, if it is dead, take the store over with `open()`, which ends its writing"
    );
    Error::new(ErrorKind::InUse(in_use), message)
}

//! Detection of whether another program has a store open.
//!
//! A writer that closes its store records its epoch, and every writer has its
//! own epoch: while the database is at the recorded epoch, no program has it
//! open. Otherwise a program has it open, or ended without closing it. The
//! [marks](crate::slate::openings) of the programs say which, for programs of
//! this machine. For others, new writes show that the program is alive; their
//! absence shows nothing.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use futures_util::TryStreamExt;
use slatedb::object_store::path::Path;
use slatedb::object_store::{self, ObjectMeta, ObjectStore, ObjectStoreExt as _};
use slatedb::{Db, DbReader};
use state_migration_core::store_api::claim::{self, Closed, Holder, interrupted_by};
use state_migration_core::store_api::row;
use state_migration_core::{Error, ErrorKind, InUse};

use crate::key;
use crate::slate::answer::{self, Cloud};
use crate::slate::damage::LOG;
use crate::slate::kv::{NO_ANSWER, error};
use crate::slate::openings::Openings;
use crate::slate::probe::Probe;
use crate::slate::{SlateDbReader, SlateDbStore, SlateDbStoreBuilder};

/// How long, and at which interval, a store that was not closed is watched.
const WATCH: Duration = Duration::from_secs(2);
const LOOK: Duration = Duration::from_millis(250);

/// The folder of the manifests.
const MANIFESTS: &str = "manifest";

/// Makes everything durable, and then leaves the mark. An error leaves no mark,
/// which is safe: the store then counts as in use.
pub(crate) async fn mark_closed(db: &Db) -> Result<(), slatedb::Error> {
    db.flush().await?;
    // An open handle never loads the manifest of a later writer, so this is its
    // own epoch even after it was fenced. The mark is then written to the log
    // of that epoch and does not become durable.
    let epoch = db.manifest().writer_epoch();
    if let Ok(row) = row::write(&Closed { epoch }) {
        db.put(key::run_row(claim::CLOSED), row).await?;
        db.flush().await?;
    }
    Ok(())
}

/// The epoch of the last writer that closed the store.
pub(crate) async fn closed(reader: &DbReader) -> Result<Option<u64>, Error> {
    let row = reader
        .get(key::run_row(claim::CLOSED))
        .await
        .map_err(|e| error("the record of the last writer could not be read", e))?;
    let closed: Option<Closed> = row
        .map(|row| row::read(row, "the record of the last writer"))
        .transpose()?;
    Ok(closed.map(|closed| closed.epoch))
}

impl Probe {
    /// Whether a program appears to have the store open.
    pub(crate) fn is_in_use(&self) -> bool {
        self.epoch.is_some() && self.closed != self.epoch && !self.openings.are_over()
    }

    /// The program that has the store open, as far as is known.
    fn in_use(&self, newest: &Newest, writes: bool) -> InUse {
        let run = self.holder.as_ref().map(|holder| holder.run);
        let mut in_use = InUse::new(self.epoch.unwrap_or_default(), run, writes, newest.age());
        if let Some(seen) = self.openings.current() {
            in_use.is_alive = seen.is_alive();
            in_use.program = Some(seen.opening.program.clone());
            in_use.opened = Some(seen.opening.opened);
        }
        in_use
    }
}

/// The newest file of the log, and the newest manifest.
#[derive(Debug, Clone, Default, PartialEq)]
struct Newest {
    log: Option<ObjectMeta>,
    manifest: Option<ObjectMeta>,
}

impl Newest {
    /// The time since the newer of the two was written.
    fn age(&self) -> Option<Duration> {
        let files = [&self.log, &self.manifest];
        let times = files.into_iter().flatten().map(|file| file.last_modified);
        let newest = SystemTime::from(times.max()?);
        // The clock of an object store may be ahead.
        Some(newest.elapsed().unwrap_or_default())
    }
}

impl SlateDbReader {
    /// Whether the last program that had the store open for writing has closed it.
    ///
    /// # Errors
    /// The store could not be read.
    #[doc(hidden)]
    pub async fn was_closed(&self) -> Result<bool, Error> {
        let reader = self.kv().reader();
        let epoch = reader.manifest().writer_epoch();
        Ok(closed(reader).await? == Some(epoch))
    }

    /// The program that has the store open for writing, or ended without
    /// closing it. If there is one,
    /// [`open_unless_in_use`](SlateDbStoreBuilder::open_unless_in_use) fails.
    ///
    /// A program of this machine that was killed does not count. Of a program
    /// elsewhere, it is not known whether it was.
    ///
    /// # Errors
    /// The store could not be read.
    pub async fn in_use(&self) -> Result<Option<InUse>, Error> {
        let reader = self.kv().reader();
        // The epoch is read first, so that a later writer has another one than
        // the mark.
        let epoch = reader.manifest().writer_epoch();
        let seen = Probe {
            epoch: Some(epoch),
            holder: None,
            closed: closed(reader).await?,
            openings: Openings::read(self.kv().files(), epoch).await,
        };
        Ok(seen
            .is_in_use()
            .then(|| seen.in_use(&Newest::default(), false)))
    }
}

impl SlateDbStoreBuilder {
    /// Opens the store unless a program has it open: no writer is fenced.
    ///
    /// If the last writer [closed](SlateDbStore::close) the store, or if it ran
    /// on this machine and has ended, this opens the store at once. Otherwise
    /// the store is watched for two seconds, so that the error can say whether a
    /// program writes to it. A program of another machine that was killed cannot
    /// be told apart from an idle program. If you know that it has ended, take
    /// the store over with [`open_unless_alive`](Self::open_unless_alive).
    ///
    /// If several programs do this at the same time, one succeeds.
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
    /// while it had. Otherwise those of [`open`](Self::open).
    pub async fn open_unless_in_use(mut self) -> Result<SlateDbStore, Error> {
        let in_place = self.in_place();
        self.open_idle(None).await.map_err(in_place)
    }

    /// Takes the store over from a program that does not appear to be alive: it
    /// runs on another machine, and has written nothing for this long. A program
    /// that is known to be alive is not fenced, however long it has been idle.
    ///
    /// If the last write was later, the store is watched until the time has
    /// passed.
    ///
    /// # Errors
    /// [`ErrorKind::InUse`] when a program of this machine has the store open,
    /// or a program writes to it. Otherwise those of [`open`](Self::open).
    pub async fn open_unless_alive(mut self, quiet_for: Duration) -> Result<SlateDbStore, Error> {
        let in_place = self.in_place();
        self.open_idle(Some(quiet_for)).await.map_err(in_place)
    }

    async fn open_idle(&mut self, take_over: Option<Duration>) -> Result<SlateDbStore, Error> {
        let object_store = self.place_for_writing()?;
        let mut seen = self.look_first(&object_store).await?;
        if seen.is_in_use() {
            let (newest, writes) = self.watch(&object_store, take_over).await?;
            seen = self.look_first(&object_store).await?;
            if seen.is_in_use() {
                let in_use = seen.in_use(&newest, writes);
                if take_over.is_none() || in_use.appears_alive() {
                    return Err(refusal(in_use));
                }
            }
        }
        if let (Some(but), Some(Holder { run, .. })) = (self.unless_claimed, &seen.holder)
            && but != Some(*run)
        {
            let kind = ErrorKind::Claimed { run: *run };
            return Err(Error::new(kind, interrupted_by(*run)));
        }
        // Any program that has opened the store since has raised the epoch.
        let epoch = Some(seen.epoch.unwrap_or(0));
        let opened = self.open_at(object_store.clone(), &seen, epoch).await;
        let refused = match opened {
            Ok(store) => return Ok(store),
            Err(refused) => refused,
        };
        // If the storage fails during the open, the epoch was raised by this
        // program.
        if *refused.kind() == ErrorKind::Unavailable {
            return Err(refused);
        }
        let Ok(now) = self.look_first(&object_store).await else {
            return Err(refused);
        };
        // The epoch may have been raised by this program, whose mark then says
        // that it failed.
        if now.epoch == seen.epoch || !now.is_in_use() {
            return Err(refused);
        }
        Err(refusal(now.in_use(&Newest::default(), true)))
    }

    /// Watches whether anything is written to the store, until nothing was
    /// written for `quiet_for`.
    async fn watch(
        &self,
        object_store: &Arc<dyn ObjectStore>,
        quiet_for: Option<Duration>,
    ) -> Result<(Newest, bool), Error> {
        let first = self.newest(object_store, &Newest::default()).await?;
        let quiet = first.age().unwrap_or_default();
        let end = Instant::now() + WATCH.max(quiet_for.unwrap_or_default().saturating_sub(quiet));
        while Instant::now() < end {
            tokio::time::sleep(LOOK).await;
            let now = self.newest(object_store, &first).await?;
            if now != first {
                return Ok((now, true));
            }
        }
        Ok((first, false))
    }

    /// The error of an object store when the newest manifest is read without
    /// retries.
    pub(crate) async fn why_no_manifest(&self, object_store: &Arc<dyn ObjectStore>) -> Error {
        let folder = self.path().clone().join(MANIFESTS);
        let answer = async {
            match newest_in(object_store, &folder, None).await? {
                Some(newest) => object_store.get(&newest.location).await.map(drop),
                None => Ok(()),
            }
        };
        let unread = |way_out: &str| {
            let message = format!("its manifest could not be read: {way_out}");
            Error::new(ErrorKind::Unavailable, message)
        };
        let Ok(Err(cause)) = tokio::time::timeout(WATCH, answer).await else {
            return unread(NO_ANSWER);
        };
        match answer::of(&cause, Cloud::of(object_store)) {
            Some(answer) => unread(&answer.sentence).with_source(answer),
            None => {
                let way_out = answer::way_out(&cause);
                unread(way_out.as_deref().unwrap_or(NO_ANSWER)).with_source(cause)
            }
        }
    }

    /// The newest files, never older than those in `before`.
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
                    let unlisted = |way_out: &str| {
                        let message =
                            format!("the files in {folder} could not be listed: {way_out}");
                        Error::new(ErrorKind::Unavailable, message)
                    };
                    match answer::of(&cause, Cloud::of(object_store)) {
                        Some(answer) => unlisted(&answer.sentence).with_source(answer),
                        None => unlisted(NO_ANSWER).with_source(cause),
                    }
                })
        };
        Ok(Newest {
            log: newest(LOG, &before.log).await?,
            manifest: newest(MANIFESTS, &before.manifest).await?,
        })
    }
}

/// The last file of a folder, which is the newest because names are numbers.
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

fn refusal(in_use: InUse) -> Error {
    let message = format!(
        "{in_use}; wait until the store is closed, work inside that program, or, if that program is dead, take over the store with `open_unless_alive()`"
    );
    Error::new(ErrorKind::InUse(Box::new(in_use)), message)
}

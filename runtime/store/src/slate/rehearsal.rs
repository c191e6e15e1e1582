//! Copies of a database for rehearsals.
//!
//! A copy is a clone of SlateDB from a checkpoint: it has a manifest and a log of its own, at
//! `rehearsals/NAME` below the path of the original, and reads the files of the original. The
//! original gets a checkpoint that keeps those files, which is removed together with the
//! copy.
//!
//! For each copy there is the file `rehearsed/NAME.json`, which names the program that
//! rehearses, and has the report afterwards. It is not beside the copy, so that a user who
//! deletes all copies does not delete what says which checkpoints were for them. A copy whose
//! program has ended is removed by the next writer that closes the store, or by the next
//! rehearsal.

use std::collections::BTreeSet;
use std::future::Future;
use std::path::{Path as FolderPath, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use slatedb::admin::{Admin, CloneSourceSpec};
use slatedb::config::{CheckpointOptions, CheckpointScope};
use slatedb::object_store::path::Path;
use slatedb::object_store::{ObjectStore, ObjectStoreExt as _, PutPayload};
use slatedb::{Db, DbReader};
use state_migration_core::store_api::{Program, claim};
use state_migration_core::{
    DurableStoreId, Error, ErrorKind, EventStore, Rehearsal, RehearsalNeeds, RunId, SnapshotStore,
    Timestamp,
};
use tokio::time::timeout;
use uuid::Uuid;

use crate::kv::{Kv as _, KvTxn as _};
use crate::slate::kv::{Files, error};
use crate::slate::location::within;
use crate::slate::probe::Probe;
use crate::slate::{SlateDbStore, SlateDbStoreBuilder, in_use};
use crate::{key, record};

/// The folder of the copies.
pub(crate) const FOLDER: &str = "rehearsals";

/// The folder of the files about them.
pub(crate) const NOTES: &str = "rehearsed";

/// The time limit for making or removing a copy, and for each smaller request: SlateDB
/// repeats failed requests without limit.
const WITHIN: Duration = Duration::from_secs(60);

/// The time for which the original keeps its files until there is a copy.
const LIFETIME: Duration = Duration::from_secs(600);

/// The copies that this program is rehearsing on.
static IN_PROGRESS: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// What is known of a rehearsal: the file beside its copy.
#[derive(Debug, Serialize, Deserialize)]
struct Note {
    program: Program,
    began: Timestamp,
    /// The id of the original.
    of: Option<DurableStoreId>,
    /// `None` while it is in progress, or if its program was killed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ended: Option<Timestamp>,
    /// The checkpoint that the original keeps for the copy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    checkpoint: Option<Uuid>,
    /// Whether the copy was kept.
    #[serde(default)]
    kept: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    report: Option<Box<RawValue>>,
}

impl Note {
    /// Whether the rehearsal has ended, and the copy is not to be kept.
    fn is_dead(&self, name: &str) -> bool {
        let in_progress = IN_PROGRESS.lock().unwrap_or_else(PoisonError::into_inner);
        let has_ended = match self.program.is_this() {
            true => !in_progress.contains(name),
            false => self.program.has_ended(),
        };
        has_ended && !self.kept && self.ended.is_none()
    }
}

/// The name of a copy while this program rehearses on it.
struct InProgress(String);

impl InProgress {
    fn new() -> Self {
        let name = RunId::random().to_string();
        let mut all = IN_PROGRESS.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(name.clone());
        Self(name)
    }
}

impl Drop for InProgress {
    fn drop(&mut self) {
        let mut all = IN_PROGRESS.lock().unwrap_or_else(PoisonError::into_inner);
        all.remove(&self.0);
    }
}

/// The copies of a database.
#[derive(Clone)]
struct Copies {
    /// The path of the original.
    original: Path,
    object_store: Arc<dyn ObjectStore>,
    /// The folder of the original, if it is on the local disk.
    folder: Option<PathBuf>,
}

impl Copies {
    fn of(files: &Files) -> Self {
        Self {
            original: files.path.clone(),
            object_store: files.object_store.clone(),
            folder: files.folder_path.clone(),
        }
    }

    /// Fails for a copy: it reads files of its original, which a copy of it could not find.
    fn check_original(&self) -> Result<(), Error> {
        let parts: Vec<_> = self.original.parts().collect();
        match parts.iter().rev().nth(1) {
            Some(folder) if folder.as_ref() == FOLDER => Err(Error::invalid(
                "the store is the copy of a rehearsal, which cannot be copied; rehearse in the original",
            )),
            _ => Ok(()),
        }
    }

    fn path(&self, name: &str) -> Path {
        self.original.clone().join(FOLDER).join(name)
    }

    fn note_path(&self, name: &str) -> Path {
        let file = format!("{name}.json");
        self.original.clone().join(NOTES).join(file)
    }

    fn admin(&self, path: Path) -> Admin {
        Admin::builder(path, self.object_store.clone()).build()
    }

    async fn note(&self, name: &str) -> Option<Note> {
        let path = self.note_path(name);
        let found = self
            .object_store
            .get(&path)
            .await
            .ok()?
            .bytes()
            .await
            .ok()?;
        serde_json::from_slice(&found).ok()
    }

    async fn put_note(&self, name: &str, note: &Note) -> Result<(), Error> {
        let text = serde_json::to_vec_pretty(note)
            .map_err(|error| Error::invalid("a report cannot be written").with_source(error))?;
        let path = self.note_path(name);
        let put = self.object_store.put(&path, PutPayload::from(text));
        answered("the file of the rehearsal could not be written", async {
            put.await.map(drop).map_err(unavailable)
        })
        .await
    }

    /// Removes a copy, also one that was made or removed in part, and what the original
    /// keeps for it.
    async fn remove(&self, name: &str) -> Result<(), Error> {
        let path = self.path(name);
        answered("the copy could not be removed", async {
            let deleted = self.admin(path.clone()).delete_db(true).await;
            deleted
                .map(drop)
                .map_err(|e| self::error("the copy could not be removed", e))
        })
        .await?;
        if let Some(folder) = &self.folder {
            // Folders that are empty, and locks. What is left of them harms nothing.
            let _ = std::fs::remove_dir_all(within(folder, &path));
        }
        Ok(())
    }

    /// Lets the original remove the files of a copy that was kept, and has been deleted by its
    /// user.
    async fn release(&self, name: &str, mut note: Note) -> Result<(), Error> {
        if let Some(checkpoint) = note.checkpoint {
            const WHAT: &str = "a checkpoint of the store could not be removed";
            let admin = self.admin(self.original.clone());
            let deleted = admin.delete_checkpoint(checkpoint);
            answered(WHAT, async { deleted.await.map_err(|e| error(WHAT, e)) }).await?;
        }
        (note.kept, note.checkpoint) = (false, None);
        self.put_note(name, &note).await
    }

    /// Removes the copies of rehearsals whose programs have ended.
    async fn remove_dead(&self) -> Result<(), Error> {
        let [folder, notes] = [FOLDER, NOTES].map(|it| self.original.clone().join(it));
        let listed = self.object_store.list_with_delimiter(Some(&notes));
        let listed = listed.await.map_err(unavailable)?.objects;
        // What has no note is not known to be a copy.
        let mut notes = Vec::new();
        for file in listed.iter().filter_map(|file| file.location.filename()) {
            if let Some(name) = file.strip_suffix(".json")
                && let Some(note) = self.note(name).await
            {
                notes.push((name.to_owned(), note));
            }
        }
        // Listed afterwards: a copy is made before its note says that it is kept.
        let listed = self.object_store.list_with_delimiter(Some(&folder));
        let copies = listed.await.map_err(unavailable)?.common_prefixes;
        let name = |path: &Path| path.filename().map(str::to_owned);
        let copies: BTreeSet<String> = copies.iter().filter_map(name).collect();
        for (name, note) in notes {
            if note.is_dead(&name) {
                self.remove(&name).await?;
                let path = self.note_path(&name);
                self.object_store.delete(&path).await.map_err(unavailable)?;
            } else if note.kept && !copies.contains(&name) {
                self.release(&name, note).await?;
            }
        }
        Ok(())
    }

    /// Fails if the disk has fewer free bytes than a rehearsal needs.
    fn check_space(&self, needs: RehearsalNeeds) -> Result<(), Error> {
        let (Some(needed), Some(folder)) = (needs.bytes, &self.folder) else {
            return Ok(());
        };
        match free_bytes(folder) {
            Some(free) if free < needed => Err(Error::invalid(format!(
                "the rehearsal writes about {} KiB, but only {} KiB are free at {}; free some space, or rehearse fewer processes",
                needed >> 10,
                free >> 10,
                folder.display()
            ))),
            _ => Ok(()),
        }
    }

    /// Makes and opens a copy from a checkpoint of the original, and removes that one.
    async fn make_from(
        self,
        builder: &SlateDbStoreBuilder,
        of: Option<DurableStoreId>,
        checkpoint: Uuid,
    ) -> Result<Box<dyn Rehearsal>, Error> {
        let admin = self.admin(self.original.clone());
        let made = self.make(builder, of, checkpoint).await;
        // The copy has one of its own; without a copy, this one is over in ten minutes.
        let _ = timeout(WITHIN, admin.delete_checkpoint(checkpoint)).await;
        Ok(Box::new(made?))
    }

    /// Makes and opens a copy from a checkpoint of the original.
    async fn make(
        self,
        builder: &SlateDbStoreBuilder,
        of: Option<DurableStoreId>,
        checkpoint: Uuid,
    ) -> Result<SlateDbRehearsal, Error> {
        let name = InProgress::new();
        let mut note = Note {
            program: Program::this().clone(),
            began: Timestamp::now(),
            of,
            ended: None,
            checkpoint: None,
            kept: false,
            report: None,
        };
        self.put_note(&name.0, &note).await?;
        match self.open(builder, &name.0, of, checkpoint).await {
            Ok(store) => {
                let copy = SlateDbRehearsal {
                    copies: self,
                    name,
                    store,
                };
                note.checkpoint = copy.checkpoint();
                copy.copies.put_note(copy.name(), &note).await?;
                Ok(copy)
            }
            Err(error) => {
                // The error says more than one of these, and the next program tries again.
                if self.remove(&name.0).await.is_ok() {
                    let _ = self.object_store.delete(&self.note_path(&name.0)).await;
                }
                Err(error)
            }
        }
    }

    async fn open(
        &self,
        builder: &SlateDbStoreBuilder,
        name: &str,
        of: Option<DurableStoreId>,
        checkpoint: Uuid,
    ) -> Result<SlateDbStore, Error> {
        const WHAT: &str = "the copy could not be made";
        let path = self.path(name);
        let original = self.original.clone();
        let source = CloneSourceSpec::with_checkpoint(original, checkpoint);
        let admin = self.admin(path.clone());
        let clone = admin.create_clone_builder_from_source(source).build();
        answered(WHAT, async { clone.await.map_err(|e| error(WHAT, e)) }).await?;
        let builder = builder.of_copy(path);
        let nothing = Probe::default();
        let opened = builder.open_at(self.object_store.clone(), &nothing, None);
        let store = opened.await.map_err(builder.in_place())?;
        let mut txn = store.kv().begin()?;
        txn.delete(key::run_row(claim::CLAIM))?;
        if let Some(of) = of {
            let id = record::write_store_id(id_of_copy(of));
            txn.put(key::meta(key::STORE_ID), id)?;
        }
        txn.commit().await?;
        store.kv().flush().await?;
        Ok(store)
    }
}

/// Bytes of an id that a copy has in common with its original: those that the confirmation of
/// a plan names, so that a plan is confirmed for both.
const COMMON: usize = 4;

/// The id of a copy.
fn id_of_copy(original: DurableStoreId) -> DurableStoreId {
    let mut id = DurableStoreId::random().as_uuid().into_bytes();
    id[..COMMON].copy_from_slice(&original.as_uuid().as_bytes()[..COMMON]);
    DurableStoreId::from_uuid(Uuid::from_bytes(id))
}

/// A copy, from the writer of the original.
pub(crate) async fn of_writer(
    db: &Db,
    builder: &SlateDbStoreBuilder,
    files: &Files,
    needs: RehearsalNeeds,
) -> Result<Box<dyn Rehearsal>, Error> {
    let copies = Copies::of(files);
    copies.check_original()?;
    copies.remove_dead().await?;
    copies.check_space(needs)?;
    let of = store_id(db.get(key::meta(key::STORE_ID)).await)?;
    let options = checkpoint_options();
    let checkpoint = db.create_checkpoint(CheckpointScope::All, &options);
    let checkpoint = answered(NO_CHECKPOINT, async {
        checkpoint.await.map_err(|e| error(NO_CHECKPOINT, e))
    });
    let checkpoint = checkpoint.await?.id;
    copies.make_from(builder, of, checkpoint).await
}

/// A copy of a database that no program has open.
pub(crate) async fn of_reader(
    reader: &DbReader,
    builder: &SlateDbStoreBuilder,
    files: &Files,
    needs: RehearsalNeeds,
) -> Result<Box<dyn Rehearsal>, Error> {
    let epoch = reader.manifest().writer_epoch();
    if in_use::closed(reader).await? != Some(epoch) {
        return Err(Error::invalid(
            "a program has the store open, or ended without closing it, so that a copy from outside would lack its last writes; rehearse in the program that has the store open, or open the store for writing and close it first",
        ));
    }
    let copies = Copies::of(files);
    copies.check_original()?;
    copies.remove_dead().await?;
    copies.check_space(needs)?;
    let of = store_id(reader.get(key::meta(key::STORE_ID)).await)?;
    let admin = copies.admin(files.path.clone());
    let options = checkpoint_options();
    let checkpoint = admin.create_detached_checkpoint(&options);
    let checkpoint = answered(NO_CHECKPOINT, async {
        checkpoint.await.map_err(|e| error(NO_CHECKPOINT, e))
    });
    let checkpoint = checkpoint.await?.id;
    copies.make_from(builder, of, checkpoint).await
}

const NO_CHECKPOINT: &str = "a checkpoint of the store could not be made";

/// Those of the checkpoint from which a copy is made.
fn checkpoint_options() -> CheckpointOptions {
    CheckpointOptions {
        lifetime: Some(LIFETIME),
        name: Some("rehearsal".to_owned()),
        ..CheckpointOptions::default()
    }
}

fn store_id(
    row: Result<Option<bytes::Bytes>, slatedb::Error>,
) -> Result<Option<DurableStoreId>, Error> {
    let row = row.map_err(|e| error("the id of the store could not be read", e))?;
    let id = row.map(record::read_store_id).transpose();
    id.map_err(|bad| bad.of("the id of the store"))
}

/// Removes the copies of rehearsals whose programs have ended. A failure leaves them for the
/// next time.
pub(crate) async fn remove_dead(files: &Files) {
    let _ = timeout(WITHIN, Copies::of(files).remove_dead()).await;
}

/// The folder of the original and the path of the copy in it, if a folder is that of a copy,
/// by whatever path; otherwise the folder itself.
pub(crate) fn original_of(folder: &FolderPath) -> (PathBuf, Path) {
    let whole = folder.canonicalize();
    let found = whole.as_deref().ok().and_then(|folder| {
        let (name, parent) = (folder.file_name()?.to_str()?, folder.parent()?);
        let original = parent.parent().filter(|_| parent.ends_with(FOLDER))?;
        let copy = Path::default().join(FOLDER).join(name);
        let is_original = original.join("manifest").is_dir();
        is_original.then(|| (original.to_owned(), copy))
    });
    found.unwrap_or_else(|| (folder.to_owned(), Path::default()))
}

/// A copy of a [`SlateDbStore`].
struct SlateDbRehearsal {
    copies: Copies,
    name: InProgress,
    store: SlateDbStore,
}

impl SlateDbRehearsal {
    /// The checkpoint that the original keeps for the copy.
    fn checkpoint(&self) -> Option<Uuid> {
        let manifest = self.store.db().manifest();
        let original = self.copies.original.to_string();
        let mut external = manifest.external_dbs().iter().rev();
        let of = external.find(|it| it.path == original)?;
        of.final_checkpoint_id
    }
}

#[async_trait]
impl Rehearsal for SlateDbRehearsal {
    fn name(&self) -> &str {
        &self.name.0
    }

    fn location(&self) -> Option<String> {
        let path = self.copies.path(&self.name.0);
        Some(match &self.copies.folder {
            Some(folder) => {
                let folder = within(folder, &path);
                folder
                    .canonicalize()
                    .unwrap_or(folder)
                    .display()
                    .to_string()
            }
            None => path.to_string(),
        })
    }

    fn events(&self) -> Arc<dyn EventStore> {
        Arc::new(self.store.clone())
    }

    fn snapshots(&self) -> Arc<dyn SnapshotStore> {
        Arc::new(self.store.clone())
    }

    async fn end(&self, report: &str, keep: bool) -> Result<(), Error> {
        let closed = self.store.close().await;
        let name = &self.name.0;
        let mut note = match self.copies.note(name).await {
            Some(note) => note,
            None => {
                return Err(Error::new(
                    ErrorKind::Unavailable,
                    format!(
                        "the file of the rehearsal {name} is gone; delete the folder of its copy"
                    ),
                ));
            }
        };
        if keep {
            closed?;
        } else {
            // A copy that is removed need not be closed well.
            self.copies.remove(name).await?;
        }
        note.kept = keep;
        note.checkpoint = note.checkpoint.filter(|_| keep);
        note.ended = Some(Timestamp::now());
        note.report = RawValue::from_string(report.to_owned()).ok();
        self.copies.put_note(name, &note).await
    }
}

fn unavailable(error: slatedb::object_store::Error) -> Error {
    let message = "the files of rehearsals cannot be used; check that the store answers";
    Error::new(ErrorKind::Unavailable, message).with_source(error)
}

/// Waits for the object store, within a time limit.
async fn answered<T>(
    what: &str,
    request: impl Future<Output = Result<T, Error>> + Send,
) -> Result<T, Error> {
    timeout(WITHIN, request).await.unwrap_or_else(|late| {
        let seconds = WITHIN.as_secs();
        let message = format!("{what} within {seconds} seconds; check that the store answers");
        Err(Error::new(ErrorKind::Unavailable, message).with_source(late))
    })
}

#[cfg(unix)]
fn free_bytes(folder: &FolderPath) -> Option<u64> {
    let found = rustix::fs::statvfs(folder).ok()?;
    Some(found.f_bavail.saturating_mul(found.f_frsize))
}

#[cfg(not(unix))]
fn free_bytes(_: &FolderPath) -> Option<u64> {
    None
}

//! Marks of the programs that open a store for writing, in files of their own: a program
//! whose attempt fails cannot write to the database, and everybody may read the marks
//! without opening it.
//!
//! A program writes its mark before it opens the database, for the epoch that it will be
//! given, and removes it when it closes the store. If the open fails, it records that in
//! the mark. The epoch of a database is free if it has marks and all of their programs
//! have ended or failed.
//!
//! If the mark cannot be written, the store is not opened: others would not know which
//! program has it open. If a mark cannot be read, whether the store is in use is unknown.
//!
//! In a local folder, a program holds a lock on a file beside its mark while it has the store
//! open. The system releases the lock when the program ends, in whichever container. Without
//! a lock, the process id shows whether a program of this machine has ended.
//!
//! A mark also has the number of the first file of the program in the log, so that a later
//! file that lost its content is [detected](crate::slate::damage::emptied_log_file).

use std::fs::{File, TryLockError};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::TryStreamExt as _;
use slatedb::object_store::path::Path;
use slatedb::object_store::{ObjectStoreExt as _, PutPayload};
use state_migration_core::store_api::claim::Opening;
use state_migration_core::store_api::{Program, row};
use state_migration_core::{Error, ErrorKind, Timestamp};
use tokio::time::timeout;
use uuid::Uuid;

use crate::slate::answer::{self, Cloud};
use crate::slate::kv::Files;

/// The folder of the marks.
pub(crate) const FOLDER: &str = "openings";

/// Time limit of a write to a mark. The database may have no answer at the same time.
const WITHIN: Duration = Duration::from_secs(15);

/// The end of the name of the file with the lock of a mark.
const LOCK: &str = ".lock";

/// The mark of this program.
#[derive(Clone)]
pub(crate) struct Mark {
    files: Files,
    file: Path,
    opening: Opening,
    /// The lock, as long as a handle of the store exists.
    lock: Option<Arc<Lock>>,
}

/// A file that is locked while a program has a store open.
struct Lock {
    path: PathBuf,
    /// Closing the file releases the lock.
    file: File,
}

impl Lock {
    /// Creates and locks the file of a mark; `None` where that is not possible.
    fn hold(files: &Files, mark: &Path) -> Option<Self> {
        let path = lock_path(files, mark)?;
        let file = File::create_new(&path).ok()?;
        let lock = Self { path, file };
        match lock.file.try_lock() {
            Ok(()) => Some(lock),
            Err(_) => {
                lock.remove();
                None
            }
        }
    }

    fn remove(&self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// The file with the lock of a mark, in a local folder.
fn lock_path(files: &Files, mark: &Path) -> Option<PathBuf> {
    let folder = files.scratch.as_deref()?.parent()?;
    Some(folder.join(format!("{mark}{LOCK}")))
}

/// Whether a program holds the lock of a mark; `None` if that is unknown.
fn is_held(files: &Files, mark: &Path) -> Option<bool> {
    let file = File::open(lock_path(files, mark)?).ok()?;
    // Others may look at the same time.
    match file.try_lock_shared() {
        Ok(()) => Some(false),
        Err(TryLockError::WouldBlock) => Some(true),
        Err(TryLockError::Error(_)) => None,
    }
}

impl Mark {
    /// Writes the mark of a program that is about to open an epoch.
    pub(crate) async fn put(files: &Files, epoch: u64) -> Result<Self, Error> {
        let name = format!("{epoch:020}-{}", Uuid::new_v4());
        let mut mark = Self {
            file: files.path.clone().join(FOLDER).join(name),
            files: files.clone(),
            opening: Opening {
                epoch,
                program: Program::this().clone(),
                place: files.place.clone(),
                folder: files.folder.clone(),
                opened: Timestamp::now(),
                failed: false,
                fence: None,
            },
            lock: None,
        };
        mark.write().await?;
        mark.lock = Lock::hold(files, &mark.file).map(Arc::new);
        Ok(mark)
    }

    async fn write(&self) -> Result<(), Error> {
        let row = PutPayload::from(row::write(&self.opening)?);
        let put = self.files.object_store.put(&self.file, row);
        let put = timeout(WITHIN, put).await;
        let (why, error): (_, Box<dyn std::error::Error + Send + Sync>) = match put {
            Ok(Ok(_)) => return Ok(()),
            Ok(Err(error)) => (
                answer::of(&error, Cloud::of(&self.files.object_store)),
                error.into(),
            ),
            Err(late) => (None, late.into()),
        };
        let why = match why {
            Some(answer) => format!(": {}", answer.sentence),
            None => match answer::way_out(&*error) {
                Some(way_out) => format!(": {way_out}"),
                None => "; check that the store answers".to_owned(),
            },
        };
        let message = format!(
            "the file {}, which names this program, could not be written{why}",
            self.file
        );
        Err(Error::new(ErrorKind::Unavailable, message).with_source(error))
    }

    /// Records that the attempt failed.
    pub(crate) async fn failed(mut self) {
        self.opening.failed = true;
        if let Some(lock) = &self.lock {
            lock.remove();
        }
        // The mark remains that of a program that may have the store open.
        let _ = self.write().await;
    }

    /// Keeps the mark of the program that has opened the store, and removes the others:
    /// their programs are fenced, or failed. Returns the mark.
    pub(crate) async fn opened(self, epoch: u64, fence: Option<u64>) -> Option<Self> {
        let mut mark = match epoch == self.opening.epoch {
            true => self,
            // Others have opened the database since its epoch was read.
            false => Self::put(&self.files, epoch).await.ok()?,
        };
        mark.opening.fence = fence;
        // Without the number, an emptied file of the log is not detected.
        let _ = mark.write().await;
        mark.remove_others().await;
        Some(mark)
    }

    async fn remove_others(&self) {
        let folder = self.files.path.clone().join(FOLDER);
        let store = &self.files.object_store;
        let found = store.list(Some(&folder)).try_collect::<Vec<_>>().await;
        for other in found.unwrap_or_default() {
            let epoch = epoch_of(&other.location);
            if other.location != self.file && epoch.is_some_and(|it| it <= self.opening.epoch) {
                let _ = store.delete(&other.location).await;
                if let Some(lock) = lock_path(&self.files, &other.location) {
                    let _ = std::fs::remove_file(lock);
                }
            }
        }
    }

    /// Removes the mark of a program that has closed the store.
    pub(crate) async fn remove(&self) {
        let delete = self.files.object_store.delete(&self.file);
        let _ = timeout(WITHIN, delete).await;
        if let Some(lock) = &self.lock {
            lock.remove();
        }
    }
}

/// The epoch in the name of a mark.
fn epoch_of(file: &Path) -> Option<u64> {
    let name = file.filename().filter(|name| !name.ends_with(LOCK))?;
    let (epoch, _) = name.split_once('-')?;
    epoch.parse().ok()
}

/// The programs that have opened a database at an epoch.
#[derive(Debug, Clone, Default)]
pub(crate) struct Openings {
    all: Vec<Seen>,
    /// Number of the file of the log that was written for the opening.
    pub(crate) fence: Option<u64>,
}

/// A program that has opened a database.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) opening: Opening,
    /// Whether the program holds the lock of its mark, if that is known.
    is_held: Option<bool>,
}

impl Seen {
    /// Whether the program has the store open, if that is known.
    pub(crate) fn is_alive(&self) -> Option<bool> {
        self.is_held.or_else(|| self.opening.program.is_alive())
    }

    /// Whether the program is known to have the store closed.
    fn is_over(&self) -> bool {
        let has_ended = match self.is_held {
            Some(is_held) => !is_held,
            None => self.opening.program.has_ended(),
        };
        self.opening.failed || has_ended
    }
}

impl Openings {
    pub(crate) async fn read(files: &Files, epoch: u64) -> Self {
        let mut all = read(files, epoch).await.unwrap_or_default();
        let fence = all.iter().find_map(|seen| seen.opening.fence);
        // In a copy of a store, the marks are of the original. The original may have been
        // renamed, or replaced by a copy.
        all.retain(|Seen { opening, .. }| {
            is_of_folder(opening, files) || opening.place == files.place
        });
        Self { all, fence }
    }

    /// Whether all programs are known to have the store closed.
    pub(crate) fn are_over(&self) -> bool {
        !self.all.is_empty() && self.all.iter().all(Seen::is_over)
    }

    /// The program that has the store open, as far as is known.
    pub(crate) fn current(&self) -> Option<&Seen> {
        self.all.iter().find(|seen| !seen.is_over())
    }
}

/// Whether a mark was written in this folder, and not in one that this is a copy of.
fn is_of_folder(opening: &Opening, files: &Files) -> bool {
    opening.folder.is_some() && opening.folder == files.folder
}

/// Any mark that cannot be read makes the result unknown.
async fn read(files: &Files, epoch: u64) -> Option<Vec<Seen>> {
    let folder = files.path.clone().join(FOLDER);
    let store = &files.object_store;
    let found: Vec<_> = store.list(Some(&folder)).try_collect().await.ok()?;
    let mut openings = Vec::new();
    for file in found {
        if epoch_of(&file.location) != Some(epoch) {
            continue;
        }
        let mark: Bytes = store.get(&file.location).await.ok()?.bytes().await.ok()?;
        let opening: Opening = row::read(mark, "the mark of a program").ok()?;
        if opening.epoch == epoch {
            // A lock is not copied.
            let is_held = match is_of_folder(&opening, files) {
                true => is_held(files, &file.location),
                false => None,
            };
            openings.push(Seen { opening, is_held });
        }
    }
    Some(openings)
}

//! The location of a database: in a folder, or in an object store.

use std::fmt;
use std::io;
use std::path::{Path as FolderPath, PathBuf};
use std::sync::Arc;

use slatedb::object_store::ObjectStore;
use slatedb::object_store::local::LocalFileSystem;
use slatedb::object_store::path::Path;
use state_migration_core::{Error, ErrorKind};

use crate::slate::gradual::Gradual;
use crate::slate::kv::in_causes;
use crate::slate::{openings, rehearsal};

/// The folders that SlateDB creates.
const SLATEDB_FOLDERS: [&str; 5] = ["manifest", "wal", "compacted", "compactions", "gc"];

/// The folder beside them for the files of runs.
const SCRATCH: &str = "in-user-code";

/// The location of a database.
#[derive(Clone)]
pub(crate) enum Place {
    /// A folder on the local disk, which may not exist yet.
    Folder(PathBuf),
    ObjectStore(Arc<dyn ObjectStore>),
}

impl Place {
    /// The object store for a writer; creates the folder if it does not exist.
    pub(crate) fn for_writing(&self) -> Result<Arc<dyn ObjectStore>, Error> {
        match self {
            Self::Folder(folder) => {
                std::fs::create_dir_all(folder).map_err(|e| unusable(folder, e))?;
                files_in(folder)
            }
            Self::ObjectStore(object_store) => Ok(object_store.clone()),
        }
    }

    /// The object store for a reader; creates nothing.
    pub(crate) fn for_reading(&self) -> Result<Arc<dyn ObjectStore>, Error> {
        match self {
            Self::Folder(folder) if is_folder(folder)? => files_in(folder),
            Self::Folder(_) => Err(no_store()),
            Self::ObjectStore(object_store) => Ok(object_store.clone()),
        }
    }

    /// The writer of large files at this location.
    pub(crate) fn gradual(&self) -> Option<Gradual> {
        match self {
            Self::Folder(folder) => Some(Gradual::new(folder)),
            Self::ObjectStore(_) => None,
        }
    }

    /// The location as text, the same for all programs that use it.
    pub(crate) fn name(&self, path: &Path) -> String {
        match self {
            Self::Folder(folder) => {
                let folder = within(folder, path);
                let folder = folder.canonicalize().unwrap_or(folder);
                folder.display().to_string()
            }
            Self::ObjectStore(store) => format!("{store}/{path}"),
        }
    }

    /// The identity of a folder, which has one under all of its paths, also in containers,
    /// and another one than its copies.
    pub(crate) fn folder_id(&self, path: &Path) -> Option<String> {
        match self {
            Self::Folder(folder) => folder_id(&within(folder, path)),
            Self::ObjectStore(_) => None,
        }
    }

    /// The folder on the local disk.
    pub(crate) fn folder(&self) -> Option<PathBuf> {
        match self {
            Self::Folder(folder) => Some(folder.clone()),
            Self::ObjectStore(_) => None,
        }
    }

    /// The folder for the files of runs.
    pub(crate) fn scratch(&self) -> Option<PathBuf> {
        match self {
            Self::Folder(folder) => Some(folder.join(SCRATCH)),
            Self::ObjectStore(_) => None,
        }
    }

    /// Rejects a location that has no manifest but other contents.
    ///
    /// `creates` says whether a store is created in an empty location.
    pub(crate) fn nothing_else(&self, creates: bool) -> Result<(), Error> {
        match self {
            Self::Folder(folder) => only_slatedb_folders(folder, creates),
            Self::ObjectStore(_) => Ok(()),
        }
    }
}

/// The folder of a database at a path in a folder.
pub(crate) fn within(folder: &FolderPath, path: &Path) -> PathBuf {
    match path.as_ref() {
        "" => folder.to_owned(),
        path => folder.join(path),
    }
}

#[cfg(unix)]
fn folder_id(folder: &FolderPath) -> Option<String> {
    use std::os::unix::fs::MetadataExt;

    let found = std::fs::metadata(folder).ok()?;
    Some(format!("device {} inode {}", found.dev(), found.ino()))
}

#[cfg(not(unix))]
fn folder_id(_: &FolderPath) -> Option<String> {
    None
}

fn files_in(folder: &FolderPath) -> Result<Arc<dyn ObjectStore>, Error> {
    let files = LocalFileSystem::new_with_prefix(folder)
        .map_err(|e| unusable(folder, io::Error::other(e)))?
        .with_fsync(true);
    Ok(Arc::new(files))
}

/// Whether a folder exists; an error if the path is not a folder.
pub(crate) fn is_folder(folder: &FolderPath) -> Result<bool, Error> {
    match std::fs::metadata(folder) {
        Ok(found) if found.is_dir() => Ok(true),
        Ok(_) => Err(unusable(folder, io::ErrorKind::NotADirectory.into())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(unusable(folder, error)),
    }
}

/// Checks that a folder without a database contains only what an interrupted
/// start left behind.
fn only_slatedb_folders(folder: &FolderPath, creates: bool) -> Result<(), Error> {
    for entry in std::fs::read_dir(folder).map_err(|e| unusable(folder, e))? {
        let entry = entry.map_err(|e| unusable(folder, e))?;
        let name = entry.file_name();
        // Programs leave their marks before there is a database.
        if name == openings::FOLDER || name == rehearsal::FOLDER || name == rehearsal::NOTES {
            continue;
        }
        let mut known = SLATEDB_FOLDERS.iter().chain([&SCRATCH]);
        if !entry.path().is_dir() || !known.any(|known| name == *known) {
            let way_out = match creates {
                true => "use an empty folder, a new folder, or the folder of a store",
                false => "use the folder of a store",
            };
            return Err(Error::invalid(format!(
                "the folder contains {:?} but no store; {way_out}",
                name.to_string_lossy()
            )));
        }
        no_data(&entry.path())?;
    }
    Ok(())
}

/// Checks that a folder of a database without a manifest contains only
/// half-written files, which have a `#` in their names.
fn no_data(folder: &FolderPath) -> Result<(), Error> {
    for entry in std::fs::read_dir(folder).map_err(|e| unusable(folder, e))? {
        let path = entry.map_err(|e| unusable(folder, e))?.path();
        if path.is_dir() {
            no_data(&path)?;
        } else if !path.to_string_lossy().contains('#') {
            return Err(Error::corrupt(format!(
                "the manifest is missing, but {} exists; restore the folder from a backup, or use another folder",
                path.display()
            )));
        }
    }
    Ok(())
}

/// The cause of an error for a store that does not exist.
#[derive(Debug)]
pub(crate) struct NoStore;

impl fmt::Display for NoStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the store does not exist")
    }
}

impl std::error::Error for NoStore {}

/// Whether an error says that a store does not exist.
#[doc(hidden)]
#[must_use]
pub fn is_no_store(error: &Error) -> bool {
    in_causes(error, |cause| cause.downcast_ref::<NoStore>()).is_some()
}

pub(crate) fn no_store() -> Error {
    Error::invalid(
        "the store does not exist, and a reader does not create it; check the path, or start the program that creates the store",
    )
    .with_source(NoStore)
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

//! Detection of damaged files that SlateDB does not report. SlateDB has no checksum
//! of a manifest, nor of the last bytes of a file, which locate its index, and
//! panics over some. An empty file of the log is the mark of a writer for it.

use std::any::Any;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::{FutureExt, TryStreamExt};
use slatedb::WalReader;
use slatedb::object_store::ObjectStore;
use slatedb::object_store::path::Path;
use state_migration_core::Error;

use crate::slate::kv::{Files, damaged_file, error, is_file_gone};

/// The folder of the log.
pub(crate) const LOG: &str = "wal";

type Outcome<T> = Result<Result<T, slatedb::Error>, Box<dyn Any + Send>>;

/// Opens a database; an error names the file of the log that caused it.
pub(crate) async fn open<T>(
    what: &str,
    path: &Path,
    object_store: &Arc<dyn ObjectStore>,
    opens: impl Future<Output = Result<T, slatedb::Error>>,
) -> Result<T, Error> {
    let failed = match shielded(opens).await {
        Ok(Ok(opened)) => return Ok(opened),
        Ok(Err(failed)) if !may_be_of_the_log(&failed) => {
            return Err(error(what, failed));
        }
        Ok(Err(failed)) => error(what, failed),
        Err(panic) => panicked(what, &*panic),
    };
    match damaged_log(path, object_store).await {
        Some(file) => Err(Error::corrupt(format!(
            "{what}: the file {file} of the log is damaged; restore the file from a backup"
        ))
        .with_source(failed)),
        None => Err(failed),
    }
}

/// Whether SlateDB's error may be about a file of its log, which the error does
/// not name.
fn may_be_of_the_log(failed: &slatedb::Error) -> bool {
    is_damage(failed) && damaged_file(failed).is_none()
}

/// The result of a future of SlateDB's, or its panic.
pub(crate) async fn shielded<T>(
    future: impl Future<Output = Result<T, slatedb::Error>>,
) -> Outcome<T> {
    // After a panic, everything that the future used is dropped without being
    // read.
    AssertUnwindSafe(future).catch_unwind().await
}

pub(crate) fn panicked(what: &str, panic: &(dyn Any + Send)) -> Error {
    let text = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    Error::corrupt(format!(
        "{what}: SlateDB panicked ({}); the database is damaged or from another version of SlateDB, so restore its files from a backup",
        text.unwrap_or("no message")
    ))
}

/// The first damaged file of the log. A file that is gone, or that could not be
/// fetched, is not damaged.
async fn damaged_log(path: &Path, object_store: &Arc<dyn ObjectStore>) -> Option<String> {
    let log = WalReader::new(path.clone(), object_store.clone());
    for file in log.list(..).await.ok()? {
        let read = async {
            let mut rows = file.iterator().await?;
            while rows.next().await?.is_some() {}
            Ok(())
        };
        match shielded(read).await {
            Ok(Err(failed)) if !is_damage(&failed) => {}
            Ok(Ok(())) => {}
            Ok(Err(_)) | Err(_) => return Some(log_file(file.id)),
        }
    }
    None
}

/// Whether SlateDB's error is about the content of a file.
fn is_damage(failed: &slatedb::Error) -> bool {
    use slatedb::ErrorKind::{Data, Internal};
    matches!(failed.kind(), Data | Internal) && !is_file_gone(failed)
}

fn log_file(id: u64) -> String {
    format!("{LOG}/{id:020}.sst")
}

/// The empty files of the log after a file, in order; `None` if they cannot be listed.
async fn empty_log_files(files: &Files, after: u64) -> Option<Vec<u64>> {
    let folder = files.path.clone().join(LOG);
    let offset = folder.clone().join(format!("{after:020}.sst"));
    let found = files.object_store.list_with_offset(Some(&folder), &offset);
    let found: Vec<_> = found.try_collect().await.ok()?;
    let empty = found.iter().filter(|file| file.size == 0);
    let id = |file: &Path| file.filename()?.strip_suffix(".sst")?.parse().ok();
    let mut empty: Vec<u64> = empty.filter_map(|file| id(&file.location)).collect();
    empty.sort_unstable();
    Some(empty)
}

/// The file of the log that was written when the database was opened just now, after the
/// last file that is not needed any more.
pub(crate) async fn fence(files: &Files, after: u64) -> Option<u64> {
    empty_log_files(files, after).await?.pop()
}

/// A file of the log without content, after the one that was written when the database
/// was opened. Unless the database was opened again meanwhile, the file had content.
pub(crate) async fn emptied_log_file(files: &Files, fence: u64) -> Option<String> {
    let empty = empty_log_files(files, fence).await?;
    empty.first().copied().map(log_file)
}

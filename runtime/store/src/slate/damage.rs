//! Detection of damaged files on which SlateDB panics. SlateDB has no checksum
//! of a manifest, nor of the last bytes of a file, which locate its index.

use std::any::Any;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;
use slatedb::WalReader;
use slatedb::object_store::ObjectStore;
use slatedb::object_store::path::Path;
use state_migration_core::Error;

use crate::slate::kv::{damaged_file, error, is_file_gone};

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
    use slatedb::ErrorKind::{Data, Internal};
    match failed.kind() {
        Internal => true,
        Data => !is_file_gone(failed) && damaged_file(failed).is_none(),
        _ => false,
    }
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

/// The first unreadable file of the log.
async fn damaged_log(path: &Path, object_store: &Arc<dyn ObjectStore>) -> Option<String> {
    let log = WalReader::new(path.clone(), object_store.clone());
    for file in log.list(..).await.ok()? {
        let read = async {
            let mut rows = file.iterator().await?;
            while rows.next().await?.is_some() {}
            Ok(())
        };
        if !matches!(shielded(read).await, Ok(Ok(()))) {
            return Some(format!("wal/{:020}.sst", file.id));
        }
    }
    None
}

//! Opening a SlateDB store: which files are created, which places are refused and
//! unchanged, which writers are fenced, and what the store contains afterwards.

mod bit_flips;
mod bucket;
mod conditional_writes;
mod created;
mod damaged;
mod full_disk;
mod in_use;
mod litter;
mod refused;
mod writers;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use slatedb::Db;
use slatedb::object_store::local::LocalFileSystem;
use slatedb::object_store::path::Path as ObjectPath;
use state_migration::{Error, ErrorKind, EventStore, SlateDbStore, StreamId};
use state_migration_tests::orders::{self, OrderV1, identity};
use state_migration_tests::stores;

/// The row that says which format a store has.
pub(crate) const FORMAT_KEY: &[u8] = b"mformat\0\x01";

pub(crate) async fn place(store: &SlateDbStore, n: u64) {
    orders::place(store, store, n).await.unwrap();
}

pub(crate) async fn is_there(store: &SlateDbStore, n: u64) -> bool {
    store.head(&stream(n)).await.unwrap().is_some()
}

pub(crate) fn stream(n: u64) -> StreamId {
    identity::<OrderV1>(n).stream_id().clone()
}

/// Opens a store, and fails the test when that neither works nor is refused.
pub(crate) async fn open(folder: impl AsRef<Path>) -> Result<SlateDbStore, Error> {
    tokio::time::timeout(Duration::from_secs(120), SlateDbStore::open_local(folder))
        .await
        .expect("an open ends")
}

pub(crate) async fn refused(folder: impl AsRef<Path>) -> Error {
    match open(folder).await {
        Ok(_) => panic!("the store was opened"),
        Err(error) => error,
    }
}

/// Everything in a folder, byte for byte; `None` for a folder.
pub(crate) fn contents(folder: &Path) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
    stores::contents(folder).unwrap()
}

/// A database in a folder that is not a store.
pub(crate) async fn database(folder: &Path) -> Db {
    let files = LocalFileSystem::new_with_prefix(folder).unwrap();
    Db::builder(ObjectPath::default(), Arc::new(files))
        .build()
        .await
        .unwrap()
}

/// A store with one order, marked as of a newer format.
pub(crate) async fn newer_store(folder: &Path) -> SlateDbStore {
    let store = open(folder).await.unwrap();
    place(&store, 1).await;
    store.db().put(FORMAT_KEY, [3]).await.unwrap();
    store.flush().await.unwrap();
    store
}

pub(crate) fn is_newer(error: &Error, folder: &Path) {
    assert_eq!(*error.kind(), ErrorKind::NewerFormat);
    assert_eq!(
        error.to_string(),
        format!(
            "the store {} cannot be opened: the store has format 3, but this release reads formats up to 2; upgrade state-migration",
            folder.display()
        )
    );
}

//! The id that a store keeps: each store has another one, and every handle of a store,
//! in any program, reads the same.

use std::sync::Arc;

use state_migration::{EventStore, MemoryStore, SlateDbReader, SlateDbStore};
use state_migration_tests::stores::copy;

#[tokio::test(flavor = "multi_thread")]
async fn a_store_keeps_its_id() {
    let folder = tempfile::tempdir().unwrap();
    let store = SlateDbStore::open_local(folder.path()).await.unwrap();
    let id = store.durable_id().await.unwrap().unwrap();
    assert_eq!(
        Arc::new(store.clone()).durable_id().await.unwrap(),
        Some(id)
    );
    let reader = SlateDbReader::open_local(folder.path()).await.unwrap();
    assert_eq!(reader.durable_id().await.unwrap(), Some(id));
    reader.close().await.unwrap();
    store.close().await.unwrap();
    let store = SlateDbStore::open_local(folder.path()).await.unwrap();
    assert_eq!(store.durable_id().await.unwrap(), Some(id));
    store.close().await.unwrap();
    // A copy cannot be told from its original.
    let elsewhere = tempfile::tempdir().unwrap();
    copy(folder.path(), elsewhere.path()).unwrap();
    let copied = SlateDbStore::open_local(elsewhere.path()).await.unwrap();
    assert_eq!(copied.durable_id().await.unwrap(), Some(id));
    copied.close().await.unwrap();
}

#[tokio::test]
async fn each_store_has_another_id() {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let mut ids = Vec::new();
    for folder in &folders {
        let store = SlateDbStore::open_local(folder.path()).await.unwrap();
        ids.push(store.durable_id().await.unwrap().unwrap());
        store.close().await.unwrap();
    }
    for store in [MemoryStore::new(), MemoryStore::new()] {
        let id = store.durable_id().await.unwrap().unwrap();
        assert_eq!(store.clone().durable_id().await.unwrap(), Some(id));
        ids.push(id);
    }
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 4);
}

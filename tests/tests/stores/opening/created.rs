//! Stores that are made, and opened again.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use slatedb::object_store::memory::InMemory;
use state_migration::{Process, SlateDbStore};
use state_migration_tests::orders::{self, OrderV1, identity};
use state_migration_tests::stores;

use crate::opening::{FORMAT_KEY, database, is_newer, is_there, newer_store, open, place};

#[tokio::test(flavor = "multi_thread")]
async fn a_store_is_made_in_a_folder_that_is_empty_or_not_there() {
    let parent = tempfile::tempdir().unwrap();
    fs::create_dir(parent.path().join("empty")).unwrap();
    for folder in ["empty", "new", "new too/below/that"] {
        let folder = parent.path().join(folder);
        let store = open(&folder).await.unwrap();
        let [format, (id, _)] = &stores::dump(&store).await.unwrap()[..] else {
            panic!("only the format and the id")
        };
        assert_eq!(*format, (FORMAT_KEY.into(), [2].as_slice().into()));
        assert_eq!(&id[..], b"mid\0\x01");
        place(&store, 1).await;
        store.close().await.unwrap();
        let store = open(&folder).await.unwrap();
        assert!(is_there(&store, 1).await);
        store.close().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_is_opened_with_all_that_was_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await.unwrap();
    for n in 0..20 {
        place(&store, n).await;
        orders::register(&store, n).await.unwrap();
    }
    let order = Process::<OrderV1>::open(identity::<OrderV1>(3), store.clone(), store.clone());
    order.await.unwrap().take_snapshot().await.unwrap();
    let before = stores::dump(&store).await.unwrap();
    assert!(before.len() > 100);
    store.close().await.unwrap();
    for _ in 0..2 {
        let store = open(folder.path()).await.unwrap();
        assert_eq!(stores::dump(&store).await.unwrap(), before);
        store.close().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_interrupted_start_left_behind_becomes_a_store() {
    for leftovers in [
        &["manifest"][..],
        &["wal", "manifest"],
        &["manifest", "wal", "compacted", "compactions", "gc"],
    ] {
        let folder = tempfile::tempdir().unwrap();
        for leftover in leftovers {
            fs::create_dir(folder.path().join(leftover)).unwrap();
        }
        let store = open(folder.path()).await.unwrap();
        place(&store, 1).await;
        store.close().await.unwrap();
        assert!(is_there(&open(folder.path()).await.unwrap(), 1).await);
    }
    // The database is there already, and the mark of the store is not.
    let folder = tempfile::tempdir().unwrap();
    database(folder.path()).await.close().await.unwrap();
    let store = open(folder.path()).await.unwrap();
    place(&store, 1).await;
    store.close().await.unwrap();
    assert!(is_there(&open(folder.path()).await.unwrap(), 1).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn stores_at_two_paths_of_an_object_store_are_two() {
    let bucket = Arc::new(InMemory::new());
    let open = async |path: &'static str| {
        SlateDbStore::builder(path, bucket.clone())
            .open()
            .await
            .unwrap()
    };
    let (north, south) = (open("orders/north").await, open("orders/south").await);
    place(&north, 1).await;
    assert!(!is_there(&south, 1).await);
    north.close().await.unwrap();
    assert!(is_there(&open("orders/north").await, 1).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_builder_asks_its_hook_once_the_place_is_known_to_be_good() {
    let folder = tempfile::tempdir().unwrap();
    let asked = Arc::new(AtomicBool::new(false));
    let open = async |folder: &Path| {
        let asked = asked.clone();
        SlateDbStore::local_builder(folder)
            .unwrap()
            .configure(move |builder| {
                asked.store(true, Ordering::SeqCst);
                builder
            })
            .open()
            .await
    };
    newer_store(folder.path()).await.close().await.unwrap();
    is_newer(&open(folder.path()).await.unwrap_err(), folder.path());
    assert!(!asked.load(Ordering::SeqCst));
    let fresh = tempfile::tempdir().unwrap();
    open(fresh.path()).await.unwrap();
    assert!(asked.load(Ordering::SeqCst));
}

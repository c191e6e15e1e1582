//! Opening a store to read it: no file changes, and a place without a store is refused.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use slatedb::Db;
use slatedb::config::CloseOptions;
use slatedb::object_store::local::LocalFileSystem;
use slatedb::object_store::memory::InMemory;
use slatedb::object_store::path::Path as ObjectPath;
use state_migration::{Error, ErrorKind, EventStore, MigrationRunner, SlateDbReader, SlateDbStore};
use state_migration_tests::orders::{OrderV1, OrderV1ToV2Migration, load, place, register};
use state_migration_tests::stores::{OnDisk, contents};

use crate::reader::{QUIET, fast_reader, page, stream};

async fn refused(folder: &Path) -> Error {
    match SlateDbReader::open_local(folder).await {
        Ok(_) => panic!("the reader was opened"),
        Err(error) => error,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_leaves_every_file_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let store = SlateDbStore::open_local(folder.path()).await.unwrap();
    for n in 0..QUIET {
        place(&store, &store, n).await.unwrap();
        register(&store, n).await.unwrap();
    }
    // A store that was closed with a flush, and one with events in its log only.
    for closed in [false, true] {
        if closed {
            SlateDbStore::open_local(folder.path())
                .await
                .unwrap()
                .close()
                .await
                .unwrap();
        } else {
            store
                .db()
                .close_with_options(CloseOptions::default().with_flush_type(None))
                .await
                .unwrap();
        }
        let before = contents(folder.path()).unwrap();
        assert!(before.len() > 5);
        let reader = fast_reader(folder.path()).await;
        let streams = reader.list_streams(None, None, 100).await.unwrap();
        assert_eq!(streams.len() as u64, QUIET);
        page(&reader, streams).await;
        for n in 0..QUIET {
            load::<OrderV1, _>(&reader, n).await.unwrap();
        }
        let dry = MigrationRunner::new(OrderV1ToV2Migration, reader.clone(), reader.clone());
        assert_eq!(dry.dry_run().await.migrated as u64, QUIET);
        // Long enough to look for news some times.
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(contents(folder.path()).unwrap() == before, "while open");
        reader.close().await.unwrap();
        assert!(contents(folder.path()).unwrap() == before, "after a close");
        drop(fast_reader(folder.path()).await);
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(contents(folder.path()).unwrap() == before, "after a drop");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_there_is_no_store_a_reader_says_so_and_makes_none() {
    let parent = tempfile::tempdir().unwrap();
    let at = |name: &str| parent.path().join(name);
    fs::create_dir(at("empty")).unwrap();
    fs::create_dir_all(at("interrupted/manifest")).unwrap();
    fs::create_dir(at("notes")).unwrap();
    fs::write(at("notes/thesis.tex"), "\\begin").unwrap();
    let files = LocalFileSystem::new_with_prefix({
        fs::create_dir(at("unmarked")).unwrap();
        at("unmarked")
    });
    let db = Db::builder(ObjectPath::default(), Arc::new(files.unwrap()));
    db.build().await.unwrap().close().await.unwrap();
    let before = contents(parent.path()).unwrap();
    for name in [
        "new",
        "new/below",
        "empty",
        "interrupted",
        "notes",
        "unmarked",
    ] {
        let error = refused(&at(name)).await;
        assert_eq!(*error.kind(), ErrorKind::Invalid, "{name}: {error}");
        assert_eq!(
            error.to_string(),
            format!(
                "the store {} cannot be opened: the store does not exist, and a reader does not create it; check the path, or start the program that creates the store",
                at(name).display()
            )
        );
        assert!(contents(parent.path()).unwrap() == before, "{name}");
    }
    let error = refused(&at("notes/thesis.tex")).await;
    assert_eq!(*error.kind(), ErrorKind::Invalid, "{error}");
    let message = error.to_string();
    assert!(message.contains("check its path and its permi"), "{error}");
    // Not even a builder makes the folder before it is asked to.
    drop(SlateDbStore::local_builder(at("new")).unwrap());
    assert!(contents(parent.path()).unwrap() == before);

    let bucket = Arc::new(InMemory::new());
    let nowhere = SlateDbStore::builder("orders", bucket.clone()).open_reader();
    let error = nowhere.await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Invalid, "{error}");
    let message = error.to_string();
    let expected = "the store orders cannot be opened: the store does not exist";
    assert!(message.starts_with(expected), "{error}");
    let store = SlateDbStore::builder("orders", bucket.clone()).open().await;
    place(&store.as_ref().unwrap().clone(), &store.unwrap(), 1)
        .await
        .unwrap();
    let reader = SlateDbStore::builder("orders", bucket).open_reader().await;
    let head = reader.unwrap().head(&stream(1)).await.unwrap();
    assert!(head.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_refuses_what_a_writer_refuses() {
    const FORMAT_KEY: &[u8] = b"mformat\0\x01";
    // A store of a newer format.
    let disk = OnDisk::new().await.unwrap();
    disk.db().put(FORMAT_KEY, [3]).await.unwrap();
    disk.close().await.unwrap();
    let before = contents(disk.folder()).unwrap();
    let error = refused(disk.folder()).await;
    assert_eq!(*error.kind(), ErrorKind::NewerFormat, "{error}");
    assert!(contents(disk.folder()).unwrap() == before);

    // A database of something else.
    let folder = tempfile::tempdir().unwrap();
    let files = LocalFileSystem::new_with_prefix(folder.path()).unwrap();
    let db = Db::builder(ObjectPath::default(), Arc::new(files));
    let db = db.build().await.unwrap();
    db.put(b"a row", b"a value").await.unwrap();
    db.close().await.unwrap();
    let before = contents(folder.path()).unwrap();
    let error = refused(folder.path()).await;
    assert_eq!(*error.kind(), ErrorKind::Invalid, "{error}");
    let message = error.to_string();
    assert!(
        message.contains("the database belongs to another application"),
        "{error}"
    );
    assert!(contents(folder.path()).unwrap() == before);

    // A store whose manifests are damaged, and then gone.
    let disk = OnDisk::new().await.unwrap();
    place(&*disk, &*disk, 1).await.unwrap();
    disk.close().await.unwrap();
    for (damage, message) in [
        (Some(vec![0xFF; 400]), "its manifest could not be read"),
        (None, "the manifest is missing, but"),
    ] {
        for manifest in contents(&disk.folder().join("manifest")).unwrap().keys() {
            match &damage {
                Some(noise) => fs::write(manifest, noise).unwrap(),
                None => fs::remove_file(manifest).unwrap(),
            }
        }
        let before = contents(disk.folder()).unwrap();
        let error = refused(disk.folder()).await;
        assert_eq!(*error.kind(), ErrorKind::Corrupt, "{error}");
        assert!(error.to_string().contains(message), "{error}");
        assert!(contents(disk.folder()).unwrap() == before);
    }
}

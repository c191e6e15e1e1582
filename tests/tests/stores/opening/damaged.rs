//! Damage in the files of a store.

use std::fs;
use std::path::{Path, PathBuf};

use state_migration::{ErrorKind, SlateDbReader};
use state_migration_tests::stores::copy;

use crate::opening::{FORMAT_KEY, contents, is_there, open, place, refused};

#[tokio::test(flavor = "multi_thread")]
async fn a_store_whose_format_cannot_be_read_is_refused() {
    for mark in [&b""[..], b"\0", b"\x02and more"] {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path()).await.unwrap();
        store.db().put(FORMAT_KEY, mark).await.unwrap();
        store.close().await.unwrap();
        let before = contents(folder.path());
        let error = refused(folder.path()).await;
        assert_eq!(*error.kind(), ErrorKind::Corrupt, "{error}");
        assert!(
            error
                .to_string()
                .contains("restore the record from a backup"),
            "{error}"
        );
        assert_eq!(contents(folder.path()), before);
    }
}

/// The newest manifest of a database.
fn newest_manifest(folder: &Path) -> PathBuf {
    let files = contents(&folder.join("manifest"));
    let manifests = files
        .into_keys()
        .filter(|path| path.extension().is_some_and(|e| e == "manifest"));
    manifests.max().expect("a database has a manifest")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_manifest_is_an_error_and_the_store_opens_when_it_is_restored() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await.unwrap();
    place(&store, 1).await;
    store.close().await.unwrap();
    let manifest = newest_manifest(folder.path());
    let whole = fs::read(&manifest).unwrap();
    let garbled: Vec<u8> = whole.iter().map(|byte| byte ^ 0x5A).collect();
    let (cut, noise) = (whole[..whole.len() / 2].to_vec(), vec![0xFF; 400]);
    for (what, damaged) in [
        ("empty", vec![]),
        ("one byte", vec![0]),
        ("cut", cut),
        ("garbled", garbled),
        ("noise", noise),
    ] {
        fs::write(&manifest, damaged).unwrap();
        let before = contents(folder.path());
        let error = refused(folder.path()).await;
        assert_eq!(*error.kind(), ErrorKind::Corrupt, "{what}: {error}");
        let expected = format!(
            "the store {} cannot be opened: its manifest could not be read: the database is \
             damaged or was written by another version of SlateDB",
            folder.path().display()
        );
        assert!(error.to_string().starts_with(&expected), "{what}: {error}");
        assert_eq!(contents(folder.path()), before, "{what}");
    }
    fs::write(&manifest, whole).unwrap();
    assert!(is_there(&open(folder.path()).await.unwrap(), 1).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_data_is_an_error_and_never_a_shorter_store() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await.unwrap();
    for n in 0..3 {
        place(&store, n).await;
    }
    store.close().await.unwrap();
    let whole = contents(&folder.path().join("compacted"));
    assert!(!whole.is_empty());
    for (path, bytes) in &whole {
        let garbled: Vec<u8> = bytes.iter().flatten().map(|byte| byte ^ 0x5A).collect();
        fs::write(path, garbled).unwrap();
    }
    let before = contents(folder.path());
    let error = refused(folder.path()).await;
    assert_eq!(*error.kind(), ErrorKind::Corrupt, "{error}");
    assert!(
        error.to_string().contains("the database is damaged"),
        "{error}"
    );
    assert_eq!(contents(folder.path()), before);

    for (path, bytes) in whole {
        fs::write(path, bytes.unwrap()).unwrap();
    }
    let store = open(folder.path()).await.unwrap();
    for n in 0..3 {
        assert!(is_there(&store, n).await);
    }
}

/// The files of the log, in order, with their sizes.
fn log(folder: &Path) -> Vec<(PathBuf, usize)> {
    let files = contents(&folder.join("wal")).into_iter();
    let files = files.filter_map(|(path, bytes)| Some((path, bytes?.len())));
    files
        .filter(|(path, _)| path.extension().is_some_and(|e| e == "sst"))
        .collect()
}

/// SlateDB takes an empty file of the log for the mark of a writer, and reads the store
/// without what was in the file. The test fails without `check_log`.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_the_log_that_lost_its_content_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await.unwrap();
    place(&store, 1).await;
    store.close().await.unwrap();
    let store = open(folder.path()).await.unwrap();
    for n in 2..5 {
        place(&store, n).await;
    }
    // A copy of the store is that of a program that was killed.
    let killed = tempfile::tempdir().unwrap();
    copy(folder.path(), killed.path()).unwrap();
    store.close().await.unwrap();
    let files = log(killed.path());
    let fence = files.iter().rposition(|(_, size)| *size == 0).unwrap();
    let written = &files[fence + 1..];
    assert!(written.len() >= 3, "{files:?}");
    for (file, _) in written {
        let whole = fs::read(file).unwrap();
        fs::write(file, b"").unwrap();
        let before = contents(killed.path());
        let name = file.strip_prefix(killed.path()).unwrap().display();
        let told = format!(
            "the file {name} of the log is empty, although records were written to it; restore the file from a backup"
        );
        let refused = [
            refused(killed.path()).await,
            SlateDbReader::open_local(killed.path())
                .await
                .err()
                .unwrap(),
        ];
        for error in refused {
            assert_eq!(*error.kind(), ErrorKind::Corrupt, "{error}");
            assert!(error.to_string().ends_with(&told), "{error}");
        }
        assert_eq!(contents(killed.path()), before);
        fs::write(file, whole).unwrap();
    }
    // A reader beside the program, and the next program, read everything.
    let reader = SlateDbReader::open_local(killed.path()).await.unwrap();
    reader.close().await.unwrap();
    let store = open(killed.path()).await.unwrap();
    for n in 1..5 {
        assert!(is_there(&store, n).await, "{n}");
    }
    store.close().await.unwrap();
    // The log of a store that was closed is not needed any more.
    for (file, _) in log(killed.path()) {
        fs::write(file, b"").unwrap();
    }
    assert!(is_there(&open(killed.path()).await.unwrap(), 4).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_lost_its_manifests_is_not_taken_for_an_empty_one() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await.unwrap();
    place(&store, 1).await;
    store.close().await.unwrap();
    let manifests = contents(&folder.path().join("manifest"));
    for path in manifests.keys() {
        fs::remove_file(path).unwrap();
    }
    let before = contents(folder.path());
    let error = refused(folder.path()).await;
    assert_eq!(*error.kind(), ErrorKind::Corrupt, "{error}");
    assert!(
        error.to_string().contains("the manifest is missing"),
        "{error}"
    );
    assert_eq!(contents(folder.path()), before);
    for (path, bytes) in manifests {
        fs::write(path, bytes.unwrap()).unwrap();
    }
    assert!(is_there(&open(folder.path()).await.unwrap(), 1).await);
}

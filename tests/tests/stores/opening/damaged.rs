//! Damage in the files of a store.

use std::fs;
use std::path::{Path, PathBuf};

use state_migration::ErrorKind;

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

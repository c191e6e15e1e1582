//! Places that contain something else or a store of a newer format are refused and
//! unchanged.

use std::fs;

use state_migration::{Error, ErrorKind, SlateDbStore};

use crate::opening::{
    FORMAT_KEY, contents, database, is_newer, is_there, newer_store, open, place, refused,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_path_that_is_not_a_folder_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("orders.db");
    fs::write(&file, "something else").unwrap();
    let before = contents(folder.path());
    for path in [file.clone(), file.join("below")] {
        let error = refused(&path).await;
        assert_eq!(*error.kind(), ErrorKind::Invalid);
        let way_out = format!(
            "the folder {} cannot be used for a store; check its path and its permissions: ",
            path.display()
        );
        assert!(error.to_string().starts_with(&way_out), "{error}");
    }
    assert_eq!(contents(folder.path()), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_with_other_data_is_refused_and_not_changed() {
    for known in [None, Some("manifest")] {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("thesis.tex"), "\\begin").unwrap();
        if let Some(known) = known {
            fs::create_dir(folder.path().join(known)).unwrap();
        }
        let before = contents(folder.path());
        let error = refused(folder.path()).await;
        assert_eq!(*error.kind(), ErrorKind::Invalid);
        assert_eq!(
            error.to_string(),
            format!(
                "the store {} cannot be opened: the folder contains \"thesis.tex\" but no store; use an empty folder, a new folder, or the folder of a store",
                folder.path().display()
            )
        );
        assert_eq!(contents(folder.path()), before);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_have_the_names_of_slatedbs_folders_are_something_else() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("manifest"), "of a ship").unwrap();
    let before = contents(folder.path());
    let error = refused(folder.path()).await;
    assert_eq!(*error.kind(), ErrorKind::Invalid, "{error}");
    assert!(error.to_string().contains("use an empty folder"), "{error}");
    assert_eq!(contents(folder.path()), before);
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn a_folder_without_permission_is_refused() {
    use std::io::Write as _;
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let locked = folder.path().join("locked");
    fs::create_dir(&locked).unwrap();
    fs::set_permissions(&locked, fs::Permissions::from_mode(0o000)).unwrap();
    if fs::read_dir(&locked).is_ok() {
        // Not by `eprintln!`, which is not shown of a test that passes.
        let mut stderr = std::io::stderr();
        writeln!(
            stderr,
            "SKIPPED a_folder_without_permission_is_refused: this user may read any folder"
        )
        .unwrap();
        return;
    }
    for path in [locked.clone(), locked.join("below")] {
        let error = refused(&path).await;
        assert_eq!(*error.kind(), ErrorKind::Invalid);
        assert!(
            error
                .to_string()
                .contains("check its path and its permissions"),
            "{error}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_of_a_newer_format_is_refused_and_not_a_byte_of_it_changes() {
    let folder = tempfile::tempdir().unwrap();
    newer_store(folder.path()).await.close().await.unwrap();
    let before = contents(folder.path());
    is_newer(&refused(folder.path()).await, folder.path());
    assert_eq!(contents(folder.path()), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_open_of_a_newer_store_does_not_shut_its_writer_out() {
    let folder = tempfile::tempdir().unwrap();
    let writer = newer_store(folder.path()).await;
    is_newer(&refused(folder.path()).await, folder.path());
    place(&writer, 2).await;
    assert!(is_there(&writer, 2).await);
    // What it wrote after the refused open is what a later open finds.
    writer.db().put(FORMAT_KEY, [2]).await.unwrap();
    writer.close().await.unwrap();
    assert!(is_there(&open(folder.path()).await.unwrap(), 2).await);
}

fn is_foreign(error: &Error) {
    assert_eq!(*error.kind(), ErrorKind::Invalid, "{error}");
    let way_out = "the database belongs to another application: it has records, but not those of a store; use another path";
    assert!(error.to_string().ends_with(way_out), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_of_something_else_is_refused_whatever_its_keys() {
    for key in [&b"a row"[..], b"\0", b"event", b"\xFF\xFFlast"] {
        let folder = tempfile::tempdir().unwrap();
        let db = database(folder.path()).await;
        db.put(key, b"a value").await.unwrap();
        db.close().await.unwrap();
        is_foreign(&refused(folder.path()).await);

        let db = database(folder.path()).await;
        is_foreign(&SlateDbStore::from_db(db.clone()).await.unwrap_err());
        let mut rows = db.scan::<std::ops::RangeFull>(..).await.unwrap();
        assert_eq!(rows.next().await.unwrap().unwrap().key, key);
        assert!(rows.next().await.unwrap().is_none());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_with_other_data_is_not_changed_and_keeps_its_writer() {
    let folder = tempfile::tempdir().unwrap();
    let writer = database(folder.path()).await;
    writer.put(b"a row", b"a value").await.unwrap();
    writer.flush().await.unwrap();
    is_foreign(&refused(folder.path()).await);
    writer.put(b"another row", b"a value").await.unwrap();
    writer.flush().await.unwrap();
    writer.close().await.unwrap();

    let before = contents(folder.path());
    is_foreign(&refused(folder.path()).await);
    assert_eq!(contents(folder.path()), before);
}

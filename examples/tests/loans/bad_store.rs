//! Folders that cannot be the store.

use std::fs;
use std::path::Path;

use state_migration::{EventStore, ExpectedSequence, NewEvent, SlateDbStore, StreamId, WorkflowId};

use crate::program::{Run, good, invented, run, run_on_sample, write};

fn refused(run: &Run) -> &str {
    assert_eq!((run.code, run.stdout.as_str()), (Some(1), ""), "{run:?}");
    let message = run.stderr.strip_suffix('\n').unwrap();
    assert!(!message.contains('\n'), "{message}");
    message
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn a_file_is_no_store() {
    let folder = tempfile::tempdir().unwrap();
    let file = write(folder.path(), "notes.txt", "notes");
    assert_eq!(
        refused(&run_on_sample(&file)),
        format!(
            "error: the folder {} cannot be read (Not a directory (os error 20)); give --store another one",
            file.display()
        )
    );
    assert_eq!(fs::read_to_string(file).unwrap(), "notes");
}

#[test]
fn a_folder_of_something_else_is_no_store() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "notes.txt", "notes");
    assert_eq!(
        refused(&run_on_sample(folder.path())),
        format!(
            "error: the store {} cannot be opened: the folder contains \"notes.txt\" but no store; use an empty folder, a new folder, or the folder of a store",
            folder.path().display()
        )
    );
    assert_eq!(names(folder.path()), ["notes.txt"]);
    fs::remove_file(folder.path().join("notes.txt")).unwrap();
    assert_eq!(good(&run_on_sample(folder.path()))["imported"], 240);
}

#[test]
fn the_store_of_another_log_is_not_added_to() {
    let folder = tempfile::tempdir().unwrap();
    let (one, other) = (invented(3), invented(4));
    let one = write(folder.path(), "one.xes", one);
    let other = write(folder.path(), "other.xes", other);
    let store = folder.path().join("store");
    assert_eq!(good(&run(&one, &store))["imported"], 3);
    assert_eq!(
        refused(&run(&other, &store)),
        format!(
            "error: the store {} holds another log than {}; give --store another folder, or --log the log that the store holds",
            store.display(),
            other.display()
        )
    );
    // The same log under another name is the same log.
    let renamed = folder.path().join("renamed.xes");
    fs::rename(&one, &renamed).unwrap();
    let again = good(&run(&renamed, &store));
    assert_eq!(
        (&again["imported"], &again["migrated"]),
        (&0.into(), &0.into())
    );
}

#[tokio::test]
async fn applications_that_were_not_imported_are_not_mixed_with_a_log() {
    let folder = tempfile::tempdir().unwrap();
    let store = SlateDbStore::open_local(folder.path()).await.unwrap();
    let stream = StreamId::new("process/bank/500000").unwrap();
    let event = NewEvent::new(WorkflowId::new("loan", "2011"), "Odd", 1, "{}").unwrap();
    store
        .append(&stream, ExpectedSequence::NoStream, vec![event])
        .await
        .unwrap();
    store.close().await.unwrap();
    assert_eq!(
        refused(&run_on_sample(folder.path())),
        format!(
            "error: the store {} holds applications that were not imported; give --store another folder",
            folder.path().display()
        )
    );
    let store = SlateDbStore::open_local(folder.path()).await.unwrap();
    let streams = store.list_streams(None, None, 10).await.unwrap();
    assert_eq!(streams, [stream]);
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_of_a_newer_format_is_not_changed() {
    let folder = tempfile::tempdir().unwrap();
    good(&run_on_sample(folder.path()));
    let store = SlateDbStore::open_local(folder.path()).await.unwrap();
    store.db().put(b"mformat\0\x01", [3]).await.unwrap();
    store.close().await.unwrap();
    let before = names(&folder.path().join("manifest"));
    assert_eq!(
        refused(&run_on_sample(folder.path())),
        format!(
            "error: the store {} cannot be opened: the store has format 3, but this release reads formats up to 2; upgrade state-migration",
            folder.path().display()
        )
    );
    assert_eq!(names(&folder.path().join("manifest")), before);
}

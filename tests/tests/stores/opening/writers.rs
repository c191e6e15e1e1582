//! One writer at a time; what is durable; handles that are one store.

use std::path::Path;

use state_migration::{
    ErrorKind, EventStore, ExpectedSequence, MigrationRegistry, MigrationRunner, NewEvent, Process,
    ProcessRegistry, SlateDbStore, Snapshot, SnapshotStore, Stage, Subject, TransactionalStore,
};
use state_migration_tests::orders::{self, OrderEvent, OrderV1, OrderV3, identity};
use state_migration_tests::stores;

use crate::opening::{is_there, open, place, stream};

fn placed() -> Vec<NewEvent> {
    vec![NewEvent::of::<OrderV1>(&OrderEvent::Placed { euro: 1 }).unwrap()]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_open_shuts_the_first_out() {
    let folder = tempfile::tempdir().unwrap();
    let first = open(folder.path()).await.unwrap();
    place(&first, 1).await;
    let second = open(folder.path()).await.unwrap();

    let appended = first
        .append(&stream(2), ExpectedSequence::NoStream, placed())
        .await;
    let fenced = appended.unwrap_err();
    assert_eq!(*fenced.kind(), ErrorKind::Fenced, "{fenced}");
    let way_out =
        "this writer is fenced: another program has opened the store; stop using this handle";
    assert!(fenced.to_string().contains(way_out), "{fenced}");

    assert!(is_there(&second, 1).await);
    assert!(!is_there(&second, 2).await);
    place(&second, 3).await;
    let again = first
        .append(&stream(3), ExpectedSequence::NoStream, placed())
        .await;
    assert_eq!(*again.unwrap_err().kind(), ErrorKind::Fenced);
    second.close().await.unwrap();

    let third = open(folder.path()).await.unwrap();
    for (n, there) in [(1, true), (2, false), (3, true)] {
        assert_eq!(is_there(&third, n).await, there, "order {n}");
    }
    assert_eq!(
        orders::load::<OrderV1, _>(&third, 3).await.unwrap(),
        orders::folded::<OrderV1>(3)
    );
}

/// Opens a store in which nothing becomes durable until somebody waits for it.
async fn open_without_flushes(folder: &Path) -> SlateDbStore {
    let builder = SlateDbStore::local_builder(folder).unwrap();
    let builder = builder.with_settings(|settings| settings.flush_interval = None);
    builder.open().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_is_not_durable_yet_fails_when_it_is_waited_for_after_a_take_over() {
    let folder = tempfile::tempdir().unwrap();
    let first = open_without_flushes(folder.path()).await;
    let appended = first
        .append_unflushed(&stream(1), ExpectedSequence::NoStream, placed())
        .await
        .unwrap();
    let second = open(folder.path()).await.unwrap();
    let fenced = appended.durable().await.unwrap_err();
    assert_eq!(*fenced.kind(), ErrorKind::Fenced, "{fenced}");
    assert!(!is_there(&second, 1).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_write_is_durable_when_it_returns() {
    let folder = tempfile::tempdir().unwrap();
    let tenant = orders::tenant();
    let [key, gone, _] = orders::keys(1);
    // Each write is the last before a stop.
    let store = open_without_flushes(folder.path()).await;
    place(&store, 1).await;
    drop(store);

    let store = open_without_flushes(folder.path()).await;
    assert!(is_there(&store, 1).await);
    for key in [&key, &gone] {
        let entry = identity::<OrderV1>(1);
        store.register(&tenant, key, &entry).await.unwrap();
    }
    drop(store);

    let store = open_without_flushes(folder.path()).await;
    assert!(store.lookup(&tenant, &gone).await.unwrap().is_some());
    let order = identity::<OrderV1>(1);
    store.remove(&tenant, &gone, &order).await.unwrap();
    drop(store);

    let store = open_without_flushes(folder.path()).await;
    assert!(store.lookup(&tenant, &gone).await.unwrap().is_none());
    let order = Process::<OrderV1>::open(identity::<OrderV1>(1), store.clone(), store.clone());
    order.await.unwrap().take_snapshot().await.unwrap();
    drop(store);

    let store = open_without_flushes(folder.path()).await;
    assert!(store.load(&stream(1)).await.unwrap().is_some());
    SnapshotStore::delete(&store, &stream(1)).await.unwrap();
    drop(store);

    let store = open_without_flushes(folder.path()).await;
    assert_eq!(store.load(&stream(1)).await.unwrap(), None);
    let migrations = MigrationRegistry::linked().unwrap();
    let report = MigrationRunner::new(migrations, store.clone(), store.clone())
        .run()
        .await;
    assert_eq!((report.migrated, report.error_count), (1, 0), "{report}");
    drop(store);

    let store = open_without_flushes(folder.path()).await;
    let v3 = identity::<OrderV3>(1);
    assert_eq!(
        store.head(&stream(1)).await.unwrap().unwrap().workflow_id,
        v3.workflow_id
    );
    assert_eq!(store.lookup(&tenant, &key).await.unwrap(), Some(v3));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_over_a_store_that_was_taken_over_reports_it_and_migrates_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let first = open(folder.path()).await.unwrap();
    for n in 0..5 {
        place(&first, n).await;
    }
    let second = open(folder.path()).await.unwrap();
    let before = stores::dump(&second).await.unwrap();
    let migrations = MigrationRegistry::linked().unwrap();
    let report = MigrationRunner::new(migrations, first.clone(), first)
        .run()
        .await;
    assert_eq!(report.migrated, 0, "{report}");
    assert!(!report.is_ok());
    for error in &report.errors {
        assert!(error.message.contains("is fenced"), "{report}");
    }
    assert_eq!(stores::dump(&second).await.unwrap(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_durable_is_there_after_a_stop_without_a_close() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await.unwrap();
    let first = store
        .append_unflushed(&stream(1), ExpectedSequence::NoStream, placed())
        .await
        .unwrap();
    assert_eq!(first.value().last_sequence, 1);
    let second = store
        .append_unflushed(&stream(1), ExpectedSequence::Exact(1), placed())
        .await
        .unwrap();
    let registered = store
        .register_unflushed(
            &orders::tenant(),
            &orders::keys(1)[0],
            &identity::<OrderV1>(1),
        )
        .await
        .unwrap();
    // One wait serves all that went before.
    drop((first, second));
    registered.durable().await.unwrap();
    drop(store);

    let store = open(folder.path()).await.unwrap();
    assert_eq!(store.head(&stream(1)).await.unwrap().unwrap().sequence, 2);
    assert_eq!(store.read(&stream(1), 0, 10).await.unwrap().len(), 2);
    let entry = store.lookup(&orders::tenant(), &orders::keys(1)[0]).await;
    assert_eq!(entry.unwrap(), Some(identity::<OrderV1>(1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_store_answers_every_call_with_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await.unwrap();
    place(&store, 3).await;
    let mut order = Process::<OrderV1>::open(identity::<OrderV1>(3), store.clone(), store.clone())
        .await
        .unwrap();
    store.close().await.unwrap();

    let stream = stream(3);
    let tenant = orders::tenant();
    let [key, ..] = orders::keys(3);
    let snapshot = Snapshot {
        stream_id: stream.clone(),
        sequence: 1,
        workflow_id: identity::<OrderV1>(3).workflow_id,
        state_schema_version: 1,
        state: "{}".into(),
    };
    let expected = ExpectedSequence::Exact(4);
    let outcomes = [
        (
            "append",
            store.append(&stream, expected, placed()).await.err(),
        ),
        ("read", store.read(&stream, 0, 10).await.err()),
        ("read_all", store.read_all(&stream, 0, 10).await.err()),
        ("head", store.head(&stream).await.err()),
        (
            "list_streams",
            store.list_streams(None, None, 10).await.err(),
        ),
        ("save", store.save(&snapshot).await.err()),
        ("load", store.load(&stream).await.err()),
        ("delete", SnapshotStore::delete(&store, &stream).await.err()),
        ("delete all", store.delete_all_snapshots().await.err()),
        ("lookup", store.lookup(&tenant, &key).await.err()),
        (
            "register",
            store
                .register(&tenant, &key, &identity::<OrderV1>(3))
                .await
                .err(),
        ),
        (
            "remove",
            store
                .remove(&tenant, &key, &identity::<OrderV1>(3))
                .await
                .err(),
        ),
        ("versions", store.versions("order").await.err()),
        ("flush", store.flush().await.err()),
        ("reload", order.reload().await.err()),
        (
            "append to a process",
            order.append(&[OrderEvent::Closed]).await.err(),
        ),
        (
            "open",
            SlateDbStore::from_db(store.db().clone()).await.err(),
        ),
    ];
    for (call, outcome) in outcomes {
        let error = outcome.unwrap_or_else(|| panic!("{call} succeeded"));
        assert_eq!(*error.kind(), ErrorKind::Invalid, "{call}: {error}");
        assert!(
            error
                .to_string()
                .contains("the store is closed; open it again"),
            "{call}: {error}"
        );
    }
    assert_eq!(order.sequence(), 4);

    let migrations = MigrationRegistry::linked().unwrap();
    let report = MigrationRunner::new(migrations, store.clone(), store)
        .run()
        .await;
    assert_eq!((report.migrated, report.error_count), (0, 1), "{report}");
    assert_eq!(report.errors[0].subject, Subject::Run);
    assert_eq!(report.errors[0].stage, Stage::Planning);

    let store = open(folder.path()).await.unwrap();
    assert_eq!(store.head(&stream).await.unwrap().unwrap().sequence, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn handles_on_one_database_are_one_store_and_two_databases_are_two() {
    let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = open(a.path()).await.unwrap();
    let other = open(b.path()).await.unwrap();
    let again = SlateDbStore::from_db(store.db().clone()).await.unwrap();
    let id = SnapshotStore::store_id(&store);
    assert!(id.is_some());
    for handle in [&store.clone(), &again, &again.clone()] {
        assert_eq!(SnapshotStore::store_id(handle), id);
        assert_eq!(ProcessRegistry::store_id(handle), id);
        assert_eq!(Some(TransactionalStore::store_id(handle)), id);
        assert_eq!(handle.transactional().map(|handle| handle.store_id()), id);
    }
    assert_ne!(SnapshotStore::store_id(&other), id);

    // What one handle writes the others see.
    place(&again, 1).await;
    assert!(is_there(&store, 1).await);
    assert!(!is_there(&other, 1).await);

    // The store has a new id after it is opened again, and older handles are fenced.
    store.close().await.unwrap();
    let reopened = open(a.path()).await.unwrap();
    assert_ne!(SnapshotStore::store_id(&reopened), id);
}

//! The store that the first format wrote stays readable, whatever comes later.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::path::Path;

use state_migration::{
    EventStore, Head, MigrationRegistry, MigrationRunner, ProcessRegistry, SlateDbStore,
    SnapshotStore, TransactionalStore, WorkflowId,
};
use state_migration_tests::orders::{
    OrderV1, OrderV2, OrderV3, StateV2, folded, history, identity, keys, load, order_v1_to_v2,
    order_v2_to_v3, tenant,
};
use state_migration_tests::stores::dump;

/// A copy of the frozen store, since opening a database writes to it.
fn thawed() -> tempfile::TempDir {
    fn copy(from: &Path, to: &Path) {
        std::fs::create_dir_all(to).unwrap();
        for entry in std::fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            let to = to.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                copy(&entry.path(), &to);
            } else {
                std::fs::copy(entry.path(), to).unwrap();
            }
        }
    }
    let folder = tempfile::tempdir().unwrap();
    copy(
        Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/format-1")),
        folder.path(),
    );
    folder
}

/// The state of order `n` under v2: order 0 went on.
fn state_v2(n: u64) -> StateV2 {
    let mut state = order_v1_to_v2(folded::<OrderV1>(n));
    state.open_cents -= if n == 0 { 100 } else { 0 };
    state
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_of_format_1_is_read_and_migrated() {
    let folder = thawed();
    let store = SlateDbStore::open_local(folder.path()).await.unwrap();
    let (v1, v2, v3) = (
        WorkflowId::of::<OrderV1>(),
        WorkflowId::of::<OrderV2>(),
        WorkflowId::of::<OrderV3>(),
    );

    // Every table has rows, so each kind of record is read below.
    let rows = dump(&store).await.unwrap();
    let mut tables: Vec<u8> = rows.iter().map(|(key, _)| key[0]).collect();
    tables.dedup();
    assert_eq!(tables, b"ehkmprsvw");
    assert!(
        rows.iter().all(|(_, value)| value[0] == 1),
        "every record starts with its format"
    );

    for n in 0..12 {
        let stream = identity::<OrderV1>(n).stream_id().clone();
        let written = history(n).len() as u64;
        let migrated = n < 6;
        let head = store.head(&stream).await.unwrap().unwrap();
        let expected = Head {
            sequence: written + u64::from(migrated) + u64::from(n == 0),
            workflow_id: if migrated { v2.clone() } else { v1.clone() },
            baseline: migrated.then_some(written + 1),
            finished: n % 5 == 4,
        };
        assert_eq!(head, expected, "order {n}");
        if migrated {
            assert_eq!(load::<OrderV2, _>(&store, n).await.unwrap(), state_v2(n));
        } else {
            assert_eq!(
                load::<OrderV1, _>(&store, n).await.unwrap(),
                folded::<OrderV1>(n)
            );
        }
        for key in keys(n) {
            let entry = store.lookup(&tenant(), &key).await.unwrap().unwrap();
            assert_eq!(
                (entry.stream_id(), &entry.workflow_id),
                (&stream, &head.workflow_id)
            );
        }
    }
    for (n, version) in [(0, &v2), (6, &v1)] {
        let snapshot = store
            .load(identity::<OrderV1>(n).stream_id())
            .await
            .unwrap()
            .unwrap();
        assert_eq!(snapshot.workflow_id, *version);
    }
    let notes = store.remembered(None, 10).await.unwrap();
    assert_eq!(notes, [identity::<OrderV1>(5).stream_id().clone()]);

    let linked = MigrationRegistry::linked().unwrap();
    let report = MigrationRunner::new(linked, store.clone(), store.clone())
        .run()
        .await;
    assert_eq!((report.migrated, report.error_count), (12, 0), "{report}");
    for n in 0..12 {
        assert_eq!(
            load::<OrderV3, _>(&store, n).await.unwrap(),
            order_v2_to_v3(state_v2(n)).unwrap()
        );
        for key in keys(n) {
            let entry = store.lookup(&tenant(), &key).await.unwrap().unwrap();
            assert_eq!(entry.workflow_id, v3);
        }
    }
}

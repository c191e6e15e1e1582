//! The data that a reader sees. A reader writes nothing.

use state_migration::{
    Batch, ErrorKind, EventStore, ExpectedSequence, MigrationRunner, Move, Process,
    ProcessRegistry, RowWrite, RunId, Selection, SlateDbReader, SnapshotStore, TransactionalStore,
    WorkflowId,
};
use state_migration_tests::orders::{
    self, OrderEvent, OrderV1, OrderV1ToV2Migration, OrderV2, folded, history, identity, load,
    place, register,
};
use state_migration_tests::stores::{OnDisk, dump};

use crate::reader::{
    BUSY, QUIET, Traffic, eventually, fast_reader, page, paid, stream, streams_at,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_sees_all_that_was_durable_when_it_was_opened() {
    let disk = OnDisk::new().await.unwrap();
    let traffic = Traffic::start(&disk).await;
    for n in 0..QUIET {
        place(&*disk, &*disk, n).await.unwrap();
        register(&*disk, n).await.unwrap();
    }
    let order = Process::<OrderV1>::open(identity::<OrderV1>(3), disk.clone(), disk.clone());
    order.await.unwrap().take_snapshot().await.unwrap();

    let reader = SlateDbReader::open_local(disk.folder()).await.unwrap();
    let quiet: Vec<_> = (0..QUIET).map(stream).collect();
    let listed = reader.list_streams(Some("process/shop/0000"), None, 1_000);
    assert_eq!(listed.await.unwrap(), quiet);
    let versions = reader.versions("order").await.unwrap();
    let present = versions.iter().map(|at| &at.version);
    assert!(present.eq([&WorkflowId::of::<OrderV1>()]));
    let standing = streams_at::<OrderV1>(&reader).await;
    assert_eq!(standing.len() as u64, QUIET + BUSY.count() as u64);
    let processes = page(&reader, quiet).await.processes;
    assert_eq!(processes.len() as u64, QUIET);
    for (n, process) in (0..).zip(processes) {
        let stream = stream(n);
        let events = disk.read_all(&stream, 0, 100).await.unwrap();
        assert_eq!(reader.read_all(&stream, 0, 100).await.unwrap(), events);
        let head = disk.head(&stream).await.unwrap();
        assert_eq!(reader.head(&stream).await.unwrap(), head);
        assert_eq!((process.head, process.problem), (head, None));
        assert_eq!(process.events.len(), events.len());
        assert_eq!(
            load::<OrderV1, _>(&reader, n).await.unwrap(),
            folded::<OrderV1>(n)
        );
        for key in orders::keys(n) {
            let entry = reader.lookup(&orders::tenant(), &key).await.unwrap();
            assert_eq!(entry, Some(identity::<OrderV1>(n)));
        }
        let (tenant, order) = (orders::tenant(), identity::<OrderV1>(n));
        let keys = reader.keys_of(&tenant, order.process_id()).await.unwrap();
        assert_eq!(keys.len(), 3);
    }
    let snapshot = reader.load(&stream(3)).await.unwrap();
    assert!(snapshot.is_some());
    assert_eq!(snapshot, disk.load(&stream(3)).await.unwrap());
    traffic.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_sees_what_becomes_durable_later() {
    let disk = OnDisk::new().await.unwrap();
    let traffic = Traffic::start(&disk).await;
    place(&*disk, &*disk, 3).await.unwrap();
    // As it comes, and as fast as it can.
    let readers = [
        SlateDbReader::open_local(disk.folder()).await.unwrap(),
        fast_reader(disk.folder()).await,
    ];
    place(&*disk, &*disk, 4).await.unwrap();
    let four = stream(4);
    for reader in &readers {
        let seen = async || reader.head(&four).await.unwrap().is_some();
        eventually("order 4 is there", seen).await;
        let order = load::<OrderV1, _>(reader, 4).await.unwrap();
        assert_eq!(order, folded::<OrderV1>(4));
    }

    let report = MigrationRunner::new(OrderV1ToV2Migration, disk.clone(), disk.clone())
        .select(Selection::all().prefix("process/shop/0000"))
        .run()
        .await;
    assert_eq!((report.migrated, report.error_count), (2, 0), "{report}");
    for reader in &readers {
        let moved = async || load::<OrderV2, _>(reader, 3).await.is_ok();
        eventually("order 3 has moved", moved).await;
        let migrated = load::<OrderV1, _>(reader, 3).await.unwrap_err();
        let to = WorkflowId::of::<OrderV2>();
        assert_eq!(*migrated.kind(), ErrorKind::Migrated { to: to.clone() });
        let present = reader.versions("order").await.unwrap();
        assert!(present.iter().any(|at| at.version == to));
        assert!(streams_at::<OrderV2>(reader).await.contains(&stream(3)));
        assert!(!streams_at::<OrderV1>(reader).await.contains(&stream(3)));
    }
    let appended = traffic.stop().await;
    for reader in &readers {
        for (n, appended) in &appended {
            let all = history(*n).len() as u64 + appended;
            let busy = stream(*n);
            let seen = async || reader.head(&busy).await.unwrap().unwrap().sequence == all;
            eventually("all of a busy order", seen).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_write_through_a_reader_is_refused_and_changes_nothing() {
    let disk = OnDisk::new().await.unwrap();
    place(&*disk, &*disk, 3).await.unwrap();
    register(&*disk, 3).await.unwrap();
    let (stream, tenant) = (stream(3), orders::tenant());
    let [key, ..] = orders::keys(3);
    let order = identity::<OrderV1>(3);
    let mut written = Process::<OrderV1>::open(order.clone(), disk.clone(), disk.clone())
        .await
        .unwrap();
    written.take_snapshot().await.unwrap();
    let snapshot = disk.load(&stream).await.unwrap().unwrap();
    let before = dump(&disk).await.unwrap();

    let reader = SlateDbReader::open_local(disk.folder()).await.unwrap();
    let v1 = WorkflowId::of::<OrderV1>();
    let end = ExpectedSequence::Exact(4);
    let stale = ExpectedSequence::Exact(1);
    let mut process = Process::<OrderV1>::open(order.clone(), reader.clone(), reader.clone())
        .await
        .unwrap();
    let migration = Batch {
        moves: vec![Move {
            stream: stream.clone(),
            head: disk.head(&stream).await.unwrap().unwrap(),
            event: paid(),
            update_registry: true,
        }],
        ..Batch::default()
    };
    let outcomes = [
        (
            "append",
            reader.append(&stream, end, vec![paid()]).await.err(),
        ),
        (
            "append elsewhere",
            reader.append(&stream, stale, vec![paid()]).await.err(),
        ),
        (
            "append_unflushed",
            reader
                .append_unflushed(&stream, end, vec![paid()])
                .await
                .err(),
        ),
        (
            "append to a process",
            process.append(&[OrderEvent::Closed]).await.err(),
        ),
        ("take_snapshot", process.take_snapshot().await.err()),
        ("save", reader.save(&snapshot).await.err()),
        (
            "delete",
            SnapshotStore::delete(&reader, &stream).await.err(),
        ),
        ("delete all", reader.delete_all_snapshots().await.err()),
        (
            "register",
            reader.register(&tenant, &key, &order).await.err(),
        ),
        (
            "register_unflushed",
            reader.register_unflushed(&tenant, &key, &order).await.err(),
        ),
        (
            "replace",
            reader.replace(&tenant, &key, &order, &order).await.err(),
        ),
        ("remove", reader.remove(&tenant, &key, &order).await.err()),
        (
            "end_closing",
            reader.end_closing(&v1, RunId::random(), true).await.err(),
        ),
        (
            "hold",
            reader
                .hold(&stream, None, RowWrite::put(vec![b'h'], ""))
                .await
                .err(),
        ),
        (
            "forget",
            reader.forget(std::slice::from_ref(&stream)).await.err(),
        ),
        ("commit", reader.commit(&migration).await.err()),
    ];
    for (call, outcome) in outcomes {
        let error = outcome.unwrap_or_else(|| panic!("{call} succeeded"));
        assert_eq!(*error.kind(), ErrorKind::Invalid, "{call}: {error}");
        assert_eq!(
            error.to_string(),
            "the store is open for reading only; open it with `SlateDbStore` to write, which fences the current writer",
            "{call}"
        );
    }
    assert_eq!(process.sequence(), 4);
    reader.flush().await.unwrap();

    let run = MigrationRunner::new(OrderV1ToV2Migration, reader.clone(), reader.clone());
    let report = run.run().await;
    assert_eq!((report.migrated, report.is_ok()), (0, false), "{report}");
    for error in &report.errors {
        assert!(error.message.contains("open for reading only"), "{error}");
    }

    assert_eq!(dump(&disk).await.unwrap(), before);
    written.append(&[OrderEvent::Closed]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_reader_answers_with_an_error() {
    let disk = OnDisk::new().await.unwrap();
    place(&*disk, &*disk, 3).await.unwrap();
    let reader = SlateDbReader::open_local(disk.folder()).await.unwrap();
    let clone = reader.clone();
    reader.close().await.unwrap();
    reader.close().await.unwrap();
    let outcomes = [
        reader.head(&stream(3)).await.err(),
        clone.read_all(&stream(3), 0, 10).await.err(),
        clone.list_streams(None, None, 10).await.err(),
        clone.versions("order").await.err(),
    ];
    for outcome in outcomes {
        let error = outcome.unwrap();
        assert_eq!(*error.kind(), ErrorKind::Invalid, "{error}");
        let message = error.to_string();
        assert!(message.contains("the store is closed; open it"), "{error}");
    }
    place(&*disk, &*disk, 4).await.unwrap();
}

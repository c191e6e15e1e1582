//! A store that is read while another handle has it open for writing: nothing
//! is written, nobody is shut out, and what a writer does meanwhile is never
//! taken for damage.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use slatedb::Db;
use slatedb::config::{
    CloseOptions, CompactionWorkerOptions, CompactorOptions, FlushOptions, FlushType,
    GarbageCollectorDirectoryOptions, GarbageCollectorOptions,
};
use slatedb::object_store::local::LocalFileSystem;
use slatedb::object_store::memory::InMemory;
use slatedb::object_store::path::Path as ObjectPath;
use state_migration::{
    Chunk, ChunkProblem, ChunkRequest, Error, ErrorKind, EventStore, ExpectedSequence,
    MigrationRegistry, MigrationRunner, NewEvent, Process, ProcessRegistry, Selection,
    SlateDbReader, SlateDbStore, SnapshotStore, StreamId, StreamRange, TransactionalStore,
    WorkflowId,
};
use state_migration_tests::orders::{
    self, OrderEvent, OrderV1, OrderV1ToV2Migration, OrderV2, OrderV3, folded, history, identity,
    load, place, register,
};
use state_migration_tests::stores::{OnDisk, contents, dump, event_key, head_key};
use tokio::task::JoinHandle;

/// The orders to which nobody but a test writes.
const QUIET: u64 = 20;

/// The orders to which somebody writes all the time.
const BUSY: std::ops::Range<u64> = 100..148;

const WRITERS: u64 = 4;

fn stream(n: u64) -> StreamId {
    identity::<OrderV1>(n).stream_id().clone()
}

fn paid() -> NewEvent {
    NewEvent::of::<OrderV1>(&OrderEvent::Paid { euro: 1 }).unwrap()
}

async fn refused(folder: &Path) -> Error {
    match SlateDbReader::open_local(folder).await {
        Ok(_) => panic!("the reader was opened"),
        Err(error) => error,
    }
}

/// A reader that looks for news so often.
async fn reader(folder: &Path, interval: Duration) -> SlateDbReader {
    SlateDbStore::local_builder(folder)
        .unwrap()
        .with_reader_options(|options| options.manifest_poll_interval = interval)
        .open_reader()
        .await
        .unwrap()
}

async fn fast_reader(folder: &Path) -> SlateDbReader {
    reader(folder, Duration::from_millis(1)).await
}

/// Asks again until it is so.
async fn eventually<F: Future<Output = bool>>(what: &str, ask: impl Fn() -> F) {
    let start = Instant::now();
    while !ask().await {
        assert!(
            start.elapsed() < Duration::from_secs(60),
            "{what}: not so after a minute"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

const LONG: Duration = Duration::from_secs(900);

/// A store that merges its tables all the time, and removes those that are
/// replaced and its manifests after some time.
async fn restless(keeps_tables_for: Duration, keeps_manifests_for: Duration) -> OnDisk {
    let often = Duration::from_millis(50);
    let removed_after = |min_age| {
        Some(GarbageCollectorDirectoryOptions {
            interval: Some(often),
            min_age,
            dry_run: false,
        })
    };
    OnDisk::with_settings(|settings| {
        settings.manifest_poll_interval = often;
        settings.compactor_options = Some(CompactorOptions {
            poll_interval: often,
            commit_compacted_interval: often,
            checkpoint_lifetime: keeps_tables_for,
            worker: Some(CompactionWorkerOptions {
                compactions_poll_interval: often,
                ..CompactionWorkerOptions::default()
            }),
            ..CompactorOptions::default()
        });
        settings.garbage_collector_options = Some(GarbageCollectorOptions {
            manifest_options: removed_after(keeps_manifests_for),
            wal_options: removed_after(Duration::from_secs(1)),
            compacted_options: removed_after(keeps_tables_for),
            boundary_files_enabled: false,
            ..GarbageCollectorOptions::default()
        });
    })
    .await
    .unwrap()
}

/// Makes a table of what is in the log of a store, as happens after so many bytes.
async fn make_a_table(store: &SlateDbStore) {
    let tables = FlushOptions {
        flush_type: FlushType::MemTable,
    };
    store.db().flush_with_options(tables).await.unwrap();
}

/// Writers that append to the busy orders until they are told to stop.
struct Traffic {
    stop: Arc<AtomicBool>,
    writers: Vec<JoinHandle<BTreeMap<u64, u64>>>,
}

impl Traffic {
    async fn start(store: &SlateDbStore) -> Self {
        for n in BUSY {
            place(store, store, n).await.unwrap();
        }
        let stop = Arc::new(AtomicBool::new(false));
        let writers = (0..WRITERS)
            .map(|writer| {
                let (store, stop) = (store.clone(), stop.clone());
                tokio::spawn(async move {
                    let mut appended = BTreeMap::new();
                    for n in BUSY.filter(|n| n % WRITERS == writer).cycle() {
                        if stop.load(Ordering::SeqCst) {
                            break;
                        }
                        let mut order = Process::<OrderV1>::open(
                            identity::<OrderV1>(n),
                            store.clone(),
                            store.clone(),
                        )
                        .await
                        .unwrap();
                        order.append(&[OrderEvent::Paid { euro: 1 }]).await.unwrap();
                        *appended.entry(n).or_default() += 1;
                    }
                    appended
                })
            })
            .collect();
        Self { stop, writers }
    }

    /// How many events were appended to each order, every one of them durably.
    async fn stop(self) -> BTreeMap<u64, u64> {
        self.stop.store(true, Ordering::SeqCst);
        let mut appended = BTreeMap::new();
        for writer in self.writers {
            appended.append(&mut writer.await.unwrap());
        }
        assert!(appended.values().sum::<u64>() > 0);
        appended
    }
}

async fn chunk(store: &SlateDbReader, streams: Vec<StreamId>) -> Box<dyn Chunk> {
    let request = ChunkRequest {
        streams,
        max_bytes: 512 << 10,
        events_after: None,
        ..ChunkRequest::default()
    };
    store.begin(request).await.unwrap()
}

async fn streams_at<W: state_migration::Workflow>(
    store: &impl TransactionalStore,
) -> BTreeSet<StreamId> {
    let all = StreamRange::default();
    let streams = store.streams_at(&WorkflowId::of::<W>(), &all, 1_000).await;
    let streams = streams.unwrap().into_iter();
    streams.map(|process| process.stream).collect()
}

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
    assert_eq!(versions, [WorkflowId::of::<OrderV1>()]);
    let standing = streams_at::<OrderV1>(&reader).await;
    assert_eq!(standing.len() as u64, QUIET + BUSY.count() as u64);
    let ranges = reader.split(&versions, 4, 1).await.unwrap();
    assert_eq!(ranges.ranges.len(), 4);
    let processes = chunk(&reader, quiet).await.take_processes();
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
        assert!(reader.versions("order").await.unwrap().contains(&to));
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
    let mut migration = chunk(&reader, vec![stream.clone()]).await;
    migration.migrate(&stream, paid(), true).unwrap();
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
        ("remove", reader.remove(&tenant, &key).await.err()),
        ("retire", reader.retire(&v1, None).await.err()),
        (
            "forget",
            reader.forget(std::slice::from_ref(&stream)).await.err(),
        ),
        ("commit", migration.commit().await.err()),
    ];
    for (call, outcome) in outcomes {
        let error = outcome.unwrap_or_else(|| panic!("{call} succeeded"));
        assert_eq!(*error.kind(), ErrorKind::Invalid, "{call}: {error}");
        assert_eq!(
            error.to_string(),
            "the store was opened for reading only and cannot be written to; open it with \
             `SlateDbStore`, which shuts out the process that writes to it now",
            "{call}"
        );
    }
    assert_eq!(process.sequence(), 4);
    reader.flush().await.unwrap();

    let run = MigrationRunner::new(OrderV1ToV2Migration, reader.clone(), reader.clone());
    let report = run.run().await;
    assert_eq!((report.migrated, report.is_ok()), (0, false), "{report}");
    for error in &report.errors {
        assert!(error.message.contains("opened for reading only"), "{error}");
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

/// Reads all processes again and again while a writer goes on.
async fn read_meanwhile(disk: &OnDisk, passes: usize, tables: bool) {
    const CHUNK: usize = 16;
    for n in 0..QUIET {
        place(&**disk, &**disk, n).await.unwrap();
    }
    let traffic = Traffic::start(disk).await;
    let reader = fast_reader(disk.folder()).await;
    let mut seen: BTreeMap<StreamId, u64> = BTreeMap::new();
    let (mut pass, mut grown) = (0, 0);
    let start = Instant::now();
    while pass < passes || grown < 2 * BUSY.count() {
        assert!(start.elapsed() < Duration::from_secs(240), "{grown} grew");
        pass += 1;
        if tables {
            make_a_table(disk).await;
        }
        let listed = reader.list_streams(None, None, 1_000).await.unwrap();
        assert_eq!(listed.len() as u64, QUIET + BUSY.count() as u64);
        for streams in listed.chunks(CHUNK) {
            let mut chunk = chunk(&reader, streams.to_vec()).await;
            assert_eq!(chunk.covered(), streams.len());
            let processes = chunk.take_processes();
            assert_eq!(processes.len(), streams.len());
            for process in processes {
                let stream = process.stream;
                assert_eq!(process.problem, None, "pass {pass}, {stream}");
                let head = process.head.unwrap();
                assert_eq!(process.events.len() as u64, head.sequence, "{stream}");
                // What was seen once is there for good.
                let before = seen.insert(stream, head.sequence).unwrap_or_default();
                assert!(before <= head.sequence);
                grown += usize::from(0 < before && before < head.sequence);
            }
        }
        for n in (0..QUIET).chain(BUSY).skip(pass % 7).step_by(7) {
            let order =
                Process::<OrderV1>::open(identity::<OrderV1>(n), reader.clone(), reader.clone())
                    .await
                    .unwrap();
            assert!(order.sequence() >= seen[&stream(n)]);
            // All that goes on is that one euro after the other is paid.
            let paid = order.sequence() - history(n).len() as u64;
            let mut expected = folded::<OrderV1>(n);
            expected.paid_euro += paid;
            assert_eq!(*order.state(), expected);
        }
    }
    let appended = traffic.stop().await;
    for (n, appended) in appended {
        let all = history(n).len() as u64 + appended;
        assert_eq!(disk.head(&stream(n)).await.unwrap().unwrap().sequence, all);
        assert_eq!(
            disk.read_all(&stream(n), 0, 100_000).await.unwrap().len() as u64,
            all
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_writer_is_never_taken_for_damage_and_never_shut_out() {
    read_meanwhile(&OnDisk::new().await.unwrap(), 120, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_change_all_the_time_are_never_taken_for_damage() {
    let disk = restless(LONG, LONG).await;
    read_meanwhile(&disk, 30, true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_garbage_collection_removes_is_an_error_and_never_a_shorter_answer() {
    let disk = restless(Duration::from_secs(1), LONG).await;
    let traffic = Traffic::start(&disk).await;
    // Slow to notice that there are other files.
    let reader = reader(disk.folder(), Duration::from_secs(3)).await;
    let streams: Vec<_> = BUSY.map(stream).collect();
    // Until it has met a removed file, and has got over that.
    let start = Instant::now();
    let (mut gone, mut got_over) = (false, false);
    while !got_over {
        assert!(
            start.elapsed() < Duration::from_secs(120),
            "a file was removed under the reader: {gone}, and it got over that: {got_over}"
        );
        make_a_table(&disk).await;
        let request = ChunkRequest {
            streams: streams.clone(),
            max_bytes: 8 << 20,
            events_after: None,
            ..ChunkRequest::default()
        };
        match reader.begin(request).await {
            Ok(mut chunk) => {
                got_over = gone;
                let processes = chunk.take_processes();
                assert_eq!(processes.len(), streams.len());
                for process in processes {
                    assert_eq!(process.problem, None, "{}", process.stream);
                    let last = process.head.unwrap().sequence;
                    assert_eq!(process.events.len() as u64, last);
                }
            }
            Err(error) => {
                gone = true;
                assert_eq!(*error.kind(), ErrorKind::Unavailable, "{error}");
                let message = error.to_string();
                assert!(message.contains("is not there: garbage coll"), "{error}");
            }
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    traffic.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_garbage_collection_left_behind_says_so() {
    let disk = restless(Duration::from_secs(1), Duration::ZERO).await;
    place(&*disk, &*disk, 3).await.unwrap();
    let behind = reader(disk.folder(), Duration::from_millis(150)).await;
    let start = Instant::now();
    let error = loop {
        assert!(start.elapsed() < Duration::from_secs(120), "not said");
        let end = disk.head(&stream(3)).await.unwrap().unwrap().sequence;
        let end = ExpectedSequence::Exact(end);
        disk.append(&stream(3), end, vec![paid()]).await.unwrap();
        make_a_table(&disk).await;
        if let Err(error) = behind.head(&stream(3)).await {
            // It may also miss a table first.
            if error.to_string().contains("cannot follow") {
                break error;
            }
        }
    };
    assert_eq!(*error.kind(), ErrorKind::Unavailable, "{error}");
    let message = error.to_string();
    assert!(message.ends_with("; open another reader"), "{error}");
    let listed = behind.list_streams(None, None, 10).await.unwrap_err();
    assert_eq!(*listed.kind(), ErrorKind::Unavailable, "{listed}");

    let another = SlateDbReader::open_local(disk.folder()).await.unwrap();
    let head = disk.head(&stream(3)).await.unwrap();
    let caught_up = async || another.head(&stream(3)).await.unwrap() == head;
    eventually("another reader sees all", caught_up).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_is_still_damage() {
    let disk = OnDisk::new().await.unwrap();
    let traffic = Traffic::start(&disk).await;
    for n in 1..=3 {
        place(&*disk, &*disk, n).await.unwrap();
    }
    let key = head_key(&stream(1));
    let old = disk.db().get(&key).await.unwrap().unwrap();
    let end = ExpectedSequence::Exact(history(1).len() as u64);
    disk.append(&stream(1), end, vec![paid()]).await.unwrap();
    disk.db().put(&key, &old).await.unwrap();
    disk.db().delete(event_key(&stream(2), 2)).await.unwrap();
    disk.flush().await.unwrap();

    let reader = SlateDbReader::open_local(disk.folder()).await.unwrap();
    let streams = (1..=3).map(stream).collect();
    let processes = chunk(&reader, streams).await.take_processes();
    let problems: Vec<_> = processes.into_iter().map(|p| p.problem).collect();
    let [
        Some(ChunkProblem::Corrupt(behind)),
        Some(ChunkProblem::Corrupt(missing)),
        None,
    ] = &problems[..]
    else {
        panic!("{problems:?}");
    };
    assert!(
        behind.contains("its head does not know of it"),
        "{problems:?}"
    );
    assert!(missing.contains("event 2 of stream"), "{problems:?}");
    let error = load::<OrderV1, _>(&reader, 2).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Corrupt, "{error}");
    traffic.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_leaves_every_file_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let store = SlateDbStore::open_local(folder.path()).await.unwrap();
    for n in 0..QUIET {
        place(&store, &store, n).await.unwrap();
        register(&store, n).await.unwrap();
    }
    // One store in whose log nothing is left to read, and one that was left alone.
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
        chunk(&reader, streams).await;
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
                "the store {} cannot be opened: there is no store, and a reader makes none; \
                 check the path, or start the program whose store it is, which makes it",
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
    let expected = "the store orders cannot be opened: there is no store";
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
    disk.db().put(FORMAT_KEY, [2]).await.unwrap();
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
    assert!(message.contains("a database of something else"), "{error}");
    assert!(contents(folder.path()).unwrap() == before);

    // A store whose manifests are damaged, and then gone.
    let disk = OnDisk::new().await.unwrap();
    place(&*disk, &*disk, 1).await.unwrap();
    disk.close().await.unwrap();
    for (damage, message) in [
        (Some(vec![0xFF; 400]), "its manifest could not be read"),
        (None, "there is no manifest, and yet there is"),
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

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_over_a_reader_tells_what_a_run_does_while_a_writer_goes_on() {
    let disk = OnDisk::new().await.unwrap();
    for n in 0..QUIET {
        place(&*disk, &*disk, n).await.unwrap();
    }
    // One that does not fit into a chunk.
    let large = stream(50);
    let many = vec![paid(); 9_000];
    let appended = disk.append(&large, ExpectedSequence::NoStream, many);
    appended.await.unwrap();
    let traffic = Traffic::start(&disk).await;
    let reader = fast_reader(disk.folder()).await;
    let all = QUIET as usize + BUSY.count() + 1;
    for full_count in [false, true, false, true, false] {
        let migrations = MigrationRegistry::linked().unwrap();
        let report = MigrationRunner::new(migrations, reader.clone(), reader.clone())
            .full_count(full_count)
            .dry_run()
            .await;
        assert!(report.dry_run);
        assert_eq!((report.migrated, report.error_count), (all, 0), "{report}");
        assert_eq!(report.warning_count, 0, "{report}");
    }
    let appended = traffic.stop().await;
    for n in (0..QUIET).chain(BUSY) {
        let head = disk.head(&stream(n)).await.unwrap().unwrap();
        let appended = appended.get(&n).copied().unwrap_or_default();
        assert_eq!(head.sequence, history(n).len() as u64 + appended);
        assert_eq!(head.workflow_id, WorkflowId::of::<OrderV1>());
    }

    let migrations = MigrationRegistry::linked().unwrap();
    let report = MigrationRunner::new(migrations, disk.clone(), disk.clone())
        .run()
        .await;
    assert_eq!((report.migrated, report.error_count), (all, 0), "{report}");
    let moved = async || streams_at::<OrderV3>(&reader).await.len() == all;
    eventually("all have moved", moved).await;
}

// To see it fail: open the reader in SlateDB's own mode, which pins a checkpoint
// in the manifest.
#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_leaves_every_file_as_it_was_while_a_writer_goes_on() {
    let disk = OnDisk::new().await.unwrap();
    for n in 0..QUIET {
        place(&*disk, &*disk, n).await.unwrap();
    }
    make_a_table(&disk).await;
    let before = contents(disk.folder()).unwrap();
    let traffic = Traffic::start(&disk).await;
    let reader = fast_reader(disk.folder()).await;
    let migrations = MigrationRegistry::linked().unwrap();
    let report = MigrationRunner::new(migrations, reader.clone(), reader.clone())
        .dry_run()
        .await;
    assert_eq!(report.error_count, 0, "{report}");
    assert_eq!(report.migrated, QUIET as usize + BUSY.count(), "{report}");
    reader.close().await.unwrap();
    // The writer was shut out at no time: each of its appends became durable.
    traffic.stop().await;
    let after = contents(disk.folder()).unwrap();
    for (path, content) in &before {
        assert!(
            after.get(path) == Some(content),
            "{} changed",
            path.display()
        );
    }
    // What is new is the writer's: its log, and nothing in the manifest.
    let new: Vec<_> = after
        .keys()
        .filter(|path| !before.contains_key(*path))
        .collect();
    assert!(!new.is_empty());
    for path in new {
        let folder = path.parent().and_then(Path::file_name).unwrap();
        assert_eq!(folder, "wal", "{}", path.display());
    }
}

//! Reads during writes: a concurrent change is never reported as damage, and damage is.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use slatedb::config::{
    CompactionWorkerOptions, CompactorOptions, GarbageCollectorDirectoryOptions,
    GarbageCollectorOptions,
};
use state_migration::{
    ChunkProblem, ErrorKind, EventStore, ExpectedSequence, Process, SlateDbReader, StreamId,
};
use state_migration_tests::orders::{OrderV1, folded, history, identity, load, place};
use state_migration_tests::stores::{OnDisk, event_key, head_key, page_of};

use crate::reader::{
    BUSY, QUIET, Traffic, eventually, fast_reader, make_a_table, page, paid, reader, stream,
};

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

/// Reads all processes in a loop with a concurrent writer.
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
            let page = page(&reader, streams.to_vec()).await;
            assert!(page.at_end);
            let processes = page.processes;
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
            // The writer only appends payments of one euro.
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
async fn a_live_writer_is_never_taken_for_damage_and_never_fenced() {
    read_meanwhile(&OnDisk::new().await.unwrap(), 40, false).await;
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
        match page_of(&reader, streams.clone()).await {
            Ok(page) => {
                got_over = gone;
                let processes = page.processes;
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
                assert!(
                    message.contains("a file of the database is missing; read again"),
                    "{error}"
                );
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
            if error.to_string().contains("no longer follow") {
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
    let processes = page(&reader, streams).await.processes;
    let problems: Vec<_> = processes.into_iter().map(|p| p.problem).collect();
    let [
        Some(ChunkProblem::Corrupt(behind)),
        Some(ChunkProblem::Corrupt(missing)),
        None,
    ] = &problems[..]
    else {
        panic!("{problems:?}");
    };
    assert!(behind.contains("the head ends before it"), "{problems:?}");
    assert!(missing.contains("event 2 of stream"), "{problems:?}");
    let error = load::<OrderV1, _>(&reader, 2).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Corrupt, "{error}");
    traffic.stop().await;
}

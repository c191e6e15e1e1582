//! One bit of a file of a store that flips, wherever it is.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use state_migration::{
    Error, Event, EventStore, FailureClass, MigrationRunner, ProcessIdentity, ProcessRegistry,
    RunState, SlateDbReader, SlateDbStore, TransactionalStore, WorkflowId,
};
use state_migration_tests::orders::{
    OrderV1, OrderV1ToV2Migration, OrderV2, keys, load, place, register, tenant,
};
use state_migration_tests::stores::{copy, streams_at};

use crate::opening::{contents, is_there};

/// In how many places of each folder a bit flips, about.
const PLACES: usize = 60;

async fn open_plainly(folder: &Path) -> SlateDbStore {
    let builder = SlateDbStore::local_builder(folder).unwrap();
    let builder = builder.with_settings(|settings| {
        settings.compactor_options = None;
        settings.garbage_collector_options = None;
    });
    builder.open().await.unwrap()
}

/// All that can be read of a store.
#[derive(Debug, PartialEq)]
struct Read {
    streams: Vec<(String, u64, Vec<Event>)>,
    entries: Vec<Option<ProcessIdentity>>,
    index: usize,
}

/// Reads all by one who writes nothing.
async fn read(folder: &Path, orders: u64) -> Result<Read, Error> {
    let reader = SlateDbReader::open_local(folder).await?;
    let all = read_all(&reader, orders).await;
    reader.close().await?;
    all
}

async fn read_all(reader: &SlateDbReader, orders: u64) -> Result<Read, Error> {
    let mut streams = Vec::new();
    for stream in reader.list_streams(None, None, 1_000).await? {
        let head = reader.head(&stream).await?;
        let events = reader.read_all(&stream, 0, 1_000).await?;
        let sequence = head.map_or(0, |head| head.sequence);
        streams.push((stream.to_string(), sequence, events));
    }
    let mut entries = Vec::new();
    for n in 0..orders {
        for key in keys(n) {
            entries.push(reader.lookup(&tenant(), &key).await?);
        }
    }
    let mut index = 0;
    for at in reader.versions("order").await? {
        index += streams_at(reader, &at.version).await?.len();
    }
    Ok(Read {
        streams,
        entries,
        index,
    })
}

/// The files of a folder of a database.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let files = contents(folder).into_iter();
    files
        .filter_map(|(path, bytes)| Some((path, bytes?)))
        .collect()
}

/// The effects of flipped bits.
#[derive(Debug, Default)]
struct Seen {
    reported: usize,
    without_effect: usize,
    /// The wrong content that was read without an error.
    wrong: Vec<String>,
}

/// Flips bits of the files in a folder, one at a time, and reads all of the store.
async fn flip(folder: &Path, below: &str, orders: u64) -> Seen {
    let whole = read(folder, orders).await.unwrap();
    let files = files(&folder.join(below));
    let bytes: usize = files.values().map(Vec::len).sum();
    // Not a multiple of anything that a block has.
    let step = (bytes / PLACES).max(1) | 1;
    let mut seen = Seen::default();
    let mut at = 0;
    for (path, bytes) in &files {
        let name = path.file_name().unwrap().to_str().unwrap();
        for place in (at % step..bytes.len()).step_by(step) {
            let mut flipped = bytes.clone();
            flipped[place] ^= 1 << (place % 8);
            fs::write(path, &flipped).unwrap();
            let read = tokio::time::timeout(Duration::from_secs(300), read(folder, orders));
            let what = format!("{below}/{name}, byte {place} of {}", bytes.len());
            match read.await.unwrap_or_else(|_| panic!("{what}: no end")) {
                Ok(read) if read == whole => seen.without_effect += 1,
                Ok(_) => seen.wrong.push(what),
                Err(error) => {
                    let text = error.to_string();
                    let names_it = text.contains(name) || text.contains("process/shop/");
                    assert!(names_it || below == "manifest", "{what}: {text}");
                    assert!(text.contains(&folder.display().to_string()) || names_it);
                    seen.reported += 1;
                }
            }
        }
        at += step / 2;
        fs::write(path, bytes).unwrap();
    }
    assert_eq!(read(folder, orders).await.unwrap(), whole);
    println!("{below}: {seen:?}");
    seen
}

/// A store whose rows are in a file, and one whose rows are in the log.
async fn stores(folder: &Path, orders: u64) -> [PathBuf; 2] {
    let (log, data) = (folder.join("log"), folder.join("data"));
    let store = open_plainly(&log).await;
    for n in 0..orders {
        place(&store, &store, n).await.unwrap();
        register(&store, n).await.unwrap();
    }
    // As a kill leaves it: all is durable, and nothing is in a file.
    copy(&log, &data).unwrap();
    let left = folder.join("left");
    fs::rename(&log, &left).unwrap();
    copy(&left, &log).unwrap();
    drop(store);
    open_plainly(&data).await.close().await.unwrap();
    [log, data]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bit_that_flips_in_a_data_file_is_reported_with_the_file_or_the_stream() {
    let folder = tempfile::tempdir().unwrap();
    let [_, data] = stores(folder.path(), 12).await;
    let seen = flip(&data, "compacted", 12).await;
    assert_eq!(seen.wrong, Vec::<String>::new());
    assert!(seen.reported > seen.without_effect, "{seen:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bit_that_flips_in_the_log_is_reported_with_the_file_or_the_stream() {
    let folder = tempfile::tempdir().unwrap();
    let [log, _] = stores(folder.path(), 12).await;
    let seen = flip(&log, "wal", 12).await;
    assert_eq!(seen.wrong, Vec::<String>::new());
    assert!(seen.reported > seen.without_effect, "{seen:?}");
}

/// A run leaves out what a damaged block holds, names it, and moves the others.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_names_the_processes_of_a_damaged_block_and_moves_the_others() {
    const ORDERS: u64 = 400;
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let store = open_plainly(folder).await;
    for n in 0..ORDERS {
        let placed = state_migration_tests::orders::history(n);
        let stream = state_migration_tests::orders::identity::<OrderV1>(n);
        let events = placed
            .iter()
            .map(|event| state_migration::NewEvent::of::<OrderV1>(event).unwrap());
        let none = state_migration::ExpectedSequence::NoStream;
        let appended = store
            .append_unflushed(stream.stream_id(), none, events.collect())
            .await;
        drop(appended.unwrap());
    }
    store.close().await.unwrap();
    // The one file begins with the events, in the order of their streams.
    let (path, whole) = files(&folder.join("compacted")).pop_first().unwrap();
    let mut damaged = whole.clone();
    damaged[20_000] ^= 4;
    fs::write(&path, damaged).unwrap();

    let run = async |store: &SlateDbStore| {
        MigrationRunner::new(OrderV1ToV2Migration, store.clone(), store.clone())
            .run()
            .await
    };
    let store = open_plainly(folder).await;
    let report = run(&store).await;
    assert_eq!(report.state, Some(RunState::DoneWithErrors), "{report}");
    let failed = report.errors.len();
    assert!((1..ORDERS as usize / 5).contains(&failed), "{report}");
    assert_eq!(report.migrated + failed, ORDERS as usize, "{report}");
    let name = path.file_name().unwrap().to_str().unwrap();
    for error in &report.errors {
        assert_eq!(error.class, FailureClass::Corrupt);
        assert!(error.message.contains(name), "{error}");
        assert!(error.message.contains("from a backup"), "{error}");
    }
    store.close().await.unwrap();

    fs::write(&path, whole).unwrap();
    let store = open_plainly(folder).await;
    let report = run(&store).await;
    assert!(report.is_ok(), "{report}");
    assert_eq!(report.migrated, failed);
    for n in 0..ORDERS {
        assert!(is_there(&store, n).await);
        load::<OrderV2, _>(&store, n).await.unwrap();
    }
    let v1 = WorkflowId::of::<OrderV1>();
    assert!(streams_at(&store, &v1).await.unwrap().is_empty());
}

/// SlateDB keeps no checksum of its manifests, so what is still a manifest is
/// taken for one: `docs/reliability.md` says so.
#[tokio::test(flavor = "multi_thread")]
async fn a_bit_that_flips_in_a_manifest_is_noticed_as_far_as_decoding_it_does() {
    let folder = tempfile::tempdir().unwrap();
    let [_, data] = stores(folder.path(), 3).await;
    let manifests = data.join("manifest");
    let newest = files(&manifests).pop_last().unwrap().0;
    for path in files(&manifests).into_keys() {
        if path != newest {
            fs::remove_file(path).unwrap();
        }
    }
    let seen = flip(&data, "manifest", 3).await;
    assert!(seen.reported > 0, "{seen:?}");
}

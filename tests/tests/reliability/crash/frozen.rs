//! A run whose program freezes, and wakes when another one has taken over.

use std::ops::RangeFull;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use slatedb::config::DbReaderOptions;
use slatedb::object_store::local::LocalFileSystem;
use slatedb::object_store::path::Path as ObjectPath;
use slatedb::{DbReader, DbReaderMode};
use state_migration::{ErrorKind, RunState, Runs, SlateDbStore};
use state_migration_tests::stores::differences;

use crate::crash::child::{Line, Program};
use crate::crash::{only_run, prepare, runner};

const ORDERS: u64 = 2_000;

/// All that is durable, bookkeeping of runs included, by one who only reads.
async fn durable(folder: &Path) -> Vec<(Bytes, Bytes)> {
    let files = LocalFileSystem::new_with_prefix(folder).unwrap();
    let reader = DbReader::builder(ObjectPath::default(), Arc::new(files))
        .with_reader_mode(DbReaderMode::FollowLatest)
        .with_options(DbReaderOptions::default())
        .build()
        .await
        .unwrap();
    let mut rows = reader.scan::<RangeFull>(..).await.unwrap();
    let mut all = Vec::new();
    while let Some(row) = rows.next().await.unwrap() {
        all.push((row.key, row.value));
    }
    reader.close().await.unwrap();
    all
}

/// The test fails if a chunk is counted before it is durable (the woken run counts
/// writes that are lost), or if the store is opened without a check of the claim (the
/// second program is not refused).
#[tokio::test(flavor = "multi_thread")]
async fn a_runner_that_was_frozen_adds_no_key_after_another_took_over() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    prepare(folder, ORDERS).await;
    let mut frozen = Program::start(folder, "open", 50, Some(400));
    let mut frozen = tokio::task::spawn_blocking(move || {
        assert!(frozen.durable(ORDERS / 4));
        frozen.signal("-STOP");
        frozen
    })
    .await
    .unwrap();

    // A frozen run looks like a slow run, so the claim still holds.
    let refused = SlateDbStore::open_local_unless_claimed(folder).await;
    let refused = refused.map(drop).unwrap_err();
    let ErrorKind::Claimed { run } = *refused.kind() else {
        panic!("{refused}");
    };

    let store = SlateDbStore::open_local(folder).await.unwrap();
    assert_eq!(only_run(&store).await, run);
    let runs = Runs::of(&store).unwrap();
    let before = runs.counts(run).await.unwrap().migrated;
    assert!((ORDERS / 4..ORDERS).contains(&before), "{before}");
    let report = runner(&store).resume(run).await;
    assert!(report.is_ok(), "{report}");
    assert_eq!(report.migrated as u64, ORDERS);
    assert_eq!(report.swept, 0, "{report}");
    store.close().await.unwrap();
    let taken_over = durable(folder).await;

    let lines = tokio::task::spawn_blocking(move || {
        frozen.signal("-CONT");
        frozen.finish()
    });
    let lines = lines.await.unwrap();
    let Some(Line::Failed(why)) = lines.last() else {
        panic!("{lines:?}");
    };
    let fenced =
        "this writer is fenced: another program has opened the store; stop using this handle";
    assert!(why.contains(fenced), "{why}");
    // The woken run counts none of its later writes as durable.
    for line in &lines {
        assert!(
            !matches!(line, Line::Durable(n) if *n > before),
            "{lines:?}"
        );
    }

    let woken = durable(folder).await;
    assert_eq!(differences(&taken_over, &woken), Vec::<String>::new());
    let store = SlateDbStore::open_local(folder).await.unwrap();
    let record = Runs::of(&store).unwrap().get(run).await.unwrap().unwrap();
    assert_eq!((record.state, record.executions), (RunState::Done, 2));
    let opened = state_migration_tests::stores::dump_all(&store).await;
    assert_eq!(
        differences(&taken_over, &opened.unwrap()),
        Vec::<String>::new()
    );
}

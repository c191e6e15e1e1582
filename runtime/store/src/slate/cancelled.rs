//! Tests of interrupted scans, of SlateDB's iterator and of ours.
#![allow(clippy::unwrap_used)]

use std::ops::RangeFull;
use std::path::Path;

use futures_util::FutureExt;
use state_migration_core::ErrorKind;

use crate::kv::{Kv, KvScan, KvTxn};
use crate::slate::SlateDbStore;
use crate::slate::kv::scan_options;

const ROWS: u64 = 2_000;

/// A store whose rows are spread over two files and not cached.
async fn store(folder: &Path) -> SlateDbStore {
    let open = async || {
        let builder = SlateDbStore::local_builder(folder).unwrap();
        let builder = builder.with_settings(|settings| {
            settings.compactor_options = None;
            settings.garbage_collector_options = None;
        });
        builder.open().await.unwrap()
    };
    for half in 0..2 {
        let store = open().await;
        for n in (half..ROWS).step_by(2) {
            let value = vec![0; 100];
            store.db().put(format!("x{n:06}"), value).await.unwrap();
        }
        store.close().await.unwrap();
    }
    open().await
}

/// The reason why only `SlateDbScan` calls SlateDB's iterator. When this fails,
/// SlateDB continues or returns an error after a dropped future; then update
/// the comment there.
#[tokio::test]
async fn slatedb_ends_a_scan_early_and_without_an_error_once_a_next_was_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path()).await;
    let options = scan_options(0);
    let scan = || store.db().scan_with_options::<RangeFull>(.., &options);
    let mut whole = scan().await.unwrap();
    let mut expected = 0;
    while whole.next().await.unwrap().is_some() {
        expected += 1;
    }
    assert!(expected > ROWS);

    // Like a `select!` between a row and another event.
    let mut rows = scan().await.unwrap();
    let (mut read, mut dropped) = (0, 0);
    loop {
        match rows.next().now_or_never() {
            Some(row) if row.as_ref().unwrap().is_some() => read += 1,
            Some(_) => break,
            // The task that fetches a block runs only when this one yields.
            None => dropped += 1,
        }
        tokio::task::yield_now().await;
    }
    println!(
        "SlateDB's scan ended after {read} of {expected} rows, and {dropped} of its futures were dropped"
    );
    assert!(read < expected);
}

/// Fails if `SlateDbScan::start` continues after an interruption.
#[tokio::test]
async fn a_scan_of_ours_fails_after_a_dropped_next() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path()).await;
    let view = store.kv().view().unwrap();
    let mut rows = view
        .scan_part(b"x".to_vec()..b"y".to_vec(), 0)
        .await
        .unwrap();
    let mut read = 0;
    while let Some(row) = rows.next().now_or_never() {
        assert!(row.unwrap().is_some());
        read += 1;
    }
    assert!(read < ROWS);
    for _ in 0..2 {
        let error = rows.next().await.unwrap_err();
        assert_eq!(*error.kind(), ErrorKind::Unavailable);
        assert!(
            error
                .to_string()
                .contains("interrupted and cannot continue"),
            "{error}"
        );
        assert!(rows.seek(b"x000300").await.is_err());
    }
}

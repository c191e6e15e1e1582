//! Dry runs over a reader with a concurrent writer.

use std::path::Path;

use state_migration::{
    EventStore, ExpectedSequence, MigrationRegistry, MigrationRunner, WorkflowId,
};
use state_migration_tests::orders::{OrderV1, OrderV3, history, place};
use state_migration_tests::stores::{OnDisk, contents};

use crate::reader::{
    BUSY, QUIET, Traffic, eventually, fast_reader, make_a_table, paid, stream, streams_at,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_over_a_reader_reports_what_a_run_does_while_a_writer_continues() {
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
    for count_up_to_date in [false, true, false, true, false] {
        let migrations = MigrationRegistry::linked().unwrap();
        let report = MigrationRunner::new(migrations, reader.clone(), reader.clone())
            .count_up_to_date(count_up_to_date)
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
async fn a_dry_run_changes_no_file_while_a_writer_continues() {
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
    // The writer was never fenced: each of its appends became durable.
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

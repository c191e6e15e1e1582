//! Stores that lost writes, because a file was damaged or restored from an older backup.
//! A run that is for all processes is not done while processes are outdated that it
//! cannot have left.

use state_migration::{
    FailureClass, MemoryStore, MigrationReport, MigrationRunner, RunState, Runs, Selection, Stage,
    Subject,
};
use state_migration_tests::orders::{self, OrderV1, OrderV1ToV2Migration, OrderV3, identity};
use state_migration_tests::scripted_workflow::{Upgrade, at_v2, put, put_at, stream};
use state_migration_tests::stores::{OnDisk, Rows, head_key};

use crate::failure_classes::fixture::{converted, linked};
use crate::runs::{cancelling_after, record, runs};

/// The row that lists v1 of orders.
const V1_LISTED: &[u8] = b"worder\0\x01v1\0\x01";

/// Orders 0 to 5 at v1, which the store does not list. With `some_at_v2`, the first three
/// are at v2, which it lists.
async fn unlisted(some_at_v2: bool) -> OnDisk {
    let disk = OnDisk::new().await.unwrap();
    let store = (*disk).clone();
    for n in 0..6 {
        orders::place(&store, &store, n).await.unwrap();
    }
    if some_at_v2 {
        let first = (0..3).map(|n| identity::<OrderV1>(n).stream_id().clone());
        let report = MigrationRunner::new(OrderV1ToV2Migration, store.clone(), store.clone())
            .select(Selection::all().streams(first))
            .run()
            .await;
        assert_eq!((report.migrated, report.error_count), (3, 0), "{report}");
    }
    store.db().delete(V1_LISTED).await.unwrap();
    store.flush().await.unwrap();
    disk
}

/// One failure, which is of the store; the run can be resumed.
fn is_not_done(report: &MigrationReport, message: &str) {
    assert_eq!(report.state, Some(RunState::Running), "{report}");
    assert_eq!(report.error_count, 1, "{report}");
    let error = &report.errors[0];
    assert_eq!(
        (&error.subject, error.stage),
        (&Subject::Store, Stage::Planning)
    );
    assert_eq!(error.class, FailureClass::Corrupt);
    assert!(error.message.starts_with(message), "{report}");
}

/// The test fails without `restrict_to_listed`: the run is done.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_notices_processes_at_a_version_that_the_store_does_not_list() {
    let disk = unlisted(true).await;
    let store = (*disk).clone();
    let runner = MigrationRunner::new(linked(), store.clone(), store.clone());
    let told = "3 processes are outdated, at versions that the store does not list (such as order@v1); check the store for damage or a rollback";
    let report = runner.dry_run().await;
    is_not_done(&report, told);
    assert_eq!(report.migrated, 3, "{report}");
    let before = store.rows_read();
    let report = runner.run().await;
    is_not_done(&report, told);
    assert_eq!(report.migrated, 3, "{report}");
    let runs = Runs::of(&store).unwrap();
    let id = report.run.unwrap();
    assert_eq!(
        runs.get(id).await.unwrap().unwrap().state,
        RunState::Running
    );
    assert_eq!(runs.claimed_by().await.unwrap(), None);
    let read = store.rows_read() - before;
    assert!(read < 200, "{read} rows");

    let report = runner.resume(id).await;
    is_not_done(
        &report,
        "3 processes are outdated that this run has passed (the first is process/shop/000003)",
    );
    assert_eq!(report.migrated, 3, "{report}");
    // As the message says.
    let runner = runner.count_up_to_date(true);
    let report = runner.run().await;
    assert_eq!(
        (report.migrated, report.state),
        (3, Some(RunState::Done)),
        "{report}"
    );
    for n in 0..6 {
        assert_eq!(
            orders::load::<OrderV3, _>(&store, n).await.unwrap(),
            converted(n)
        );
    }
}

/// The test fails without the check in `split_into_ranges`.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_without_outdated_versions_reads_the_heads_if_it_is_told_to() {
    let disk = unlisted(false).await;
    let store = (*disk).clone();
    let runner = || MigrationRunner::new(linked(), store.clone(), store.clone());
    // By default, such a run relies on the list of versions.
    let report = runner().run().await;
    assert_eq!(
        (report.migrated, report.state),
        (0, Some(RunState::Done)),
        "{report}"
    );
    let runner = || runner().check_heads(true);
    let told =
        "6 processes are outdated, at versions that the store does not list (such as order@v1)";
    is_not_done(&runner().dry_run().await, told);
    is_not_done(&runner().run().await, told);
    let two = (0..2).map(|n| identity::<OrderV1>(n).stream_id().clone());
    let report = runner().select(Selection::all().streams(two)).run().await;
    is_not_done(&report, "2 processes are outdated");
    let report = runner().count_up_to_date(true).run().await;
    assert_eq!(
        (report.migrated, report.state),
        (6, Some(RunState::Done)),
        "{report}"
    );
    // Nothing is wrong any more.
    let before = store.rows_read();
    let report = runner().run().await;
    assert_eq!(
        (report.migrated, report.state),
        (0, Some(RunState::Done)),
        "{report}"
    );
    let read = store.rows_read() - before;
    assert!((6..40).contains(&read), "{read} rows");
}

/// A run over jobs 10 to 39 that was cancelled after a few.
async fn cancelled(store: &MemoryStore) -> (MigrationReport, Vec<u64>) {
    let (upgrade, told) = cancelling_after(9, |n| n == 11);
    let runner = upgrade.runner(store).chunk_processes(1);
    told.set(runner.control()).ok().unwrap();
    let report = runner.run().await;
    assert_eq!(report.state, Some(RunState::Cancelled), "{report}");
    let migrated = at_v2(store, 10..40).await.unwrap();
    assert_eq!(report.migrated, migrated.len());
    assert!(migrated.len() > 2, "{report}");
    (report, migrated)
}

/// The test fails without `check_passed`: the run is done, and the process is at v1.
#[tokio::test(flavor = "multi_thread")]
async fn a_resumed_run_notices_processes_that_are_outdated_again() {
    let store = MemoryStore::new();
    for n in 10..40 {
        put(&store, n).await.unwrap();
    }
    let heads = store.all_rows().await.unwrap();
    let (report, migrated) = cancelled(&store).await;
    let id = report.run.unwrap();
    // The last write of some processes is lost.
    for n in &migrated[..2] {
        let key = head_key(&stream(*n));
        let (key, head) = heads.iter().find(|(k, _)| *k == key).unwrap();
        store.put_row(key.to_vec(), head.to_vec()).await.unwrap();
    }
    let told = format!(
        "2 processes are outdated that this run has passed (the first is {})",
        stream(migrated[0])
    );
    for _ in 0..2 {
        let report = Upgrade::refusing(|n| n == 11)
            .runner(&store)
            .resume(id)
            .await;
        assert_eq!(report.state, Some(RunState::Running), "{report}");
        let of_store = report
            .errors
            .iter()
            .filter(|error| error.subject == Subject::Store);
        let of_store: Vec<_> = of_store.map(|error| &error.message).collect();
        assert_eq!(of_store.len(), 1, "{report}");
        assert!(of_store[0].starts_with(&told), "{report}");
        // The others are migrated.
        assert_eq!(report.migrated, 29, "{report}");
        assert_eq!(at_v2(&store, 10..40).await.unwrap().len(), 27);
        let record = runs(&store).get(id).await.unwrap().unwrap();
        assert_eq!(record.state, RunState::Running);
    }
}

/// Processes that are behind a run for other reasons: born since, failed, held, or
/// released since. The test fails if one of them counts as outdated again.
#[tokio::test(flavor = "multi_thread")]
async fn a_resumed_run_is_done_if_all_outdated_processes_are_explained() {
    let store = MemoryStore::new();
    for n in 10..40 {
        put(&store, n).await.unwrap();
    }
    put_at(&store, 9, "v0", "").await.unwrap();
    for n in [12, 13] {
        runs(&store).hold(&stream(n), "ann", "later").await.unwrap();
    }
    let (report, _) = cancelled(&store).await;
    for n in 0..5 {
        put(&store, n).await.unwrap();
    }
    runs(&store).release(&stream(12), "ann", "").await.unwrap();
    let id = report.run.unwrap();
    let report = Upgrade::refusing(|n| n == 11)
        .runner(&store)
        .resume(id)
        .await;
    assert_eq!(report.state, Some(RunState::DoneWithErrors), "{report}");
    assert_eq!(
        record(&store, &report).await.state,
        RunState::DoneWithErrors
    );
    assert!(
        report
            .errors
            .iter()
            .all(|error| error.subject.stream().is_some()),
        "{report}"
    );
    assert_eq!(report.error_count, 2, "{report}");
    assert_eq!(at_v2(&store, 0..5).await.unwrap().len(), 5);
}

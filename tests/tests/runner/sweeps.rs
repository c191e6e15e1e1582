//! Sweeps: the passes of a run over processes that were born at an old version while the
//! run was in progress.

use std::time::Duration;

use state_migration::{
    MemoryStore, MigrationReport, MigrationRunner, Progress, RunControl, RunState, Runs, Selection,
};
use state_migration_tests::scripted_workflow::{
    JobEvent, Store, Upgrade, append, event, put, put_at, stream,
};
use state_migration_tests::stores::OnDisk;
use tokio::time::{sleep, timeout};

/// Longer than anything here takes, on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(60);

async fn until(control: &RunControl, what: impl Fn(&Progress) -> bool) {
    let wait = async {
        while !what(&control.progress()) {
            sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(PATIENCE, wait).await.expect("it comes to that");
}

/// The counts of the report are those of the record.
async fn recorded(store: &impl Store, report: &MigrationReport) {
    assert_eq!(report.state, Some(RunState::Done), "{report}");
    let runs = Runs::of(store).unwrap();
    let counts = runs.counts(report.run.unwrap()).await.unwrap();
    assert_eq!(counts.skipped_by, report.skipped_by);
    assert_eq!(usize::try_from(counts.migrated).unwrap(), report.migrated);
}

/// Jobs are born before the last heads of the run, so that the first pass migrates them,
/// and are recorded as births, too.
///
/// Fails if a full count in a sweep counts what is up to date.
async fn a_full_count_counts_births_that_the_first_pass_migrated_once(store: impl Store) {
    for n in 0..40 {
        put(&store, n).await.unwrap();
    }
    put_at(&store, 1_000, "v2", "").await.unwrap();
    let registry = MemoryStore::new();
    let runner = MigrationRunner::new(Upgrade::new(), store.clone(), store.clone());
    let runner = runner.count_up_to_date(true).chunk_processes(1);
    let control = runner.control();
    control.pause();
    let run = tokio::spawn(async move { runner.run_and_update_registry(&registry).await });
    until(&control, |progress| progress.state == RunState::Paused).await;
    for n in 500..505 {
        put(&store, n).await.unwrap();
    }
    control.unpause();
    let report = timeout(PATIENCE, run).await.expect("it ends").unwrap();
    assert_eq!((report.migrated, report.error_count), (45, 0), "{report}");
    assert_eq!(report.skipped_by.already_there, 1, "{report}");
    recorded(&store, &report).await;
}

/// Jobs are born that are over. The first pass counts them, and then they get an event, so
/// that the sweep has to look again.
///
/// Fails if a sweep counts what is finished.
async fn a_finished_birth_is_counted_once(store: impl Store) {
    for n in 0..10 {
        put(&store, n).await.unwrap();
    }
    let runner = MigrationRunner::new(Upgrade::new(), store.clone(), store.clone());
    let runner = runner
        .select(Selection::all().in_flight())
        .chunk_processes(1);
    let control = runner.control();
    control.pause();
    let run = tokio::spawn(async move { runner.run().await });
    until(&control, |progress| progress.state == RunState::Paused).await;
    for n in 500..503 {
        put(&store, n).await.unwrap();
        let over = event("v1", &JobEvent::Over).unwrap();
        append(&store, &stream(n), vec![over]).await.unwrap();
    }
    for n in 600..700 {
        put(&store, n).await.unwrap();
    }
    control.throttle(std::num::NonZeroU32::new(40));
    control.unpause();
    until(&control, |it| it.counts.skipped_by.finished == 3).await;
    for n in 500..503 {
        let step = event("v1", &JobEvent::Step).unwrap();
        append(&store, &stream(n), vec![step]).await.unwrap();
    }
    control.throttle(None);
    let report = timeout(PATIENCE, run).await.expect("it ends").unwrap();
    assert_eq!((report.migrated, report.error_count), (110, 0), "{report}");
    assert_eq!(report.skipped_by.finished, 3, "{report}");
    recorded(&store, &report).await;
    let progress = control.progress();
    let skipped: u64 = progress.workflows.iter().map(|it| it.skipped).sum();
    assert_eq!(skipped, 3, "{progress:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_count_counts_births_that_the_first_pass_migrated_once_in_memory() {
    a_full_count_counts_births_that_the_first_pass_migrated_once(MemoryStore::new()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_count_counts_births_that_the_first_pass_migrated_once_on_disk() {
    let disk = OnDisk::new().await.unwrap();
    a_full_count_counts_births_that_the_first_pass_migrated_once((*disk).clone()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_finished_birth_is_counted_once_in_memory() {
    a_finished_birth_is_counted_once(MemoryStore::new()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_finished_birth_is_counted_once_on_disk() {
    let disk = OnDisk::new().await.unwrap();
    a_finished_birth_is_counted_once((*disk).clone()).await;
}

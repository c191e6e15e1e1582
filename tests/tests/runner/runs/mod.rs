//! A run is an object of its store: what it was to do, who began it, how far
//! it is, what failed, and what became of it.

use std::sync::{Arc, OnceLock};

use state_migration::{
    Failure, FailureClass, MigrationReport, RunControl, RunRecord, RunState, Runs, Stage, Subject,
};
use state_migration_tests::scripted_workflow::{Store, Upgrade, put};

macro_rules! over_both_stores {
    ($($scenario:ident),+ $(,)?) => {
        mod in_memory {
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $scenario() {
                    super::$scenario(state_migration::MemoryStore::new()).await;
                }
            )+
        }
        mod on_disk {
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $scenario() {
                    let disk = state_migration_tests::stores::OnDisk::new().await.unwrap();
                    super::$scenario((*disk).clone()).await;
                }
            )+
        }
    };
}

mod edited;
mod other_code;
mod records;
mod restricted;
mod resumed;
mod retries;

pub(crate) fn runs(store: &impl Store) -> Runs {
    Runs::of(store).unwrap()
}

pub(crate) async fn record(store: &impl Store, report: &MigrationReport) -> RunRecord {
    let record = runs(store).get(report.run.unwrap()).await.unwrap();
    record.unwrap()
}

pub(crate) async fn failures(store: &impl Store, report: &MigrationReport) -> Vec<Failure> {
    let runs = runs(store);
    runs.failures(report.run.unwrap(), None, None, usize::MAX)
        .await
        .unwrap()
}

/// How many conversions there are before the run is told something.
pub(crate) type Told = Arc<OnceLock<RunControl>>;

/// A migration that refuses some jobs, and cancels its run after a while.
pub(crate) fn cancelling_after(
    count: u64,
    refused: impl Fn(u64) -> bool + Send + Sync + 'static,
) -> (Upgrade, Told) {
    let told = Told::default();
    let (control, so_far) = (told.clone(), std::sync::atomic::AtomicU64::new(0));
    let upgrade = Upgrade::with(move |job| {
        let done = so_far.fetch_add(1, std::sync::atomic::Ordering::SeqCst) + 1;
        if let (true, Some(control)) = (done == count, control.get()) {
            control.cancel();
        }
        match refused(job.n) {
            true => Err("not this one".into()),
            false => Ok(()),
        }
    });
    (upgrade, told)
}

/// A run over `jobs` jobs that was cancelled after a few of them.
pub(crate) async fn cancelled(store: &impl Store, jobs: u64) -> MigrationReport {
    for n in 0..jobs {
        put(store, n).await.unwrap();
    }
    let (upgrade, told) = cancelling_after(3, |_| false);
    let runner = upgrade.runner(store).chunk_processes(1);
    told.set(runner.control()).ok().unwrap();
    let report = runner.run().await;
    assert_eq!(report.state, Some(RunState::Cancelled), "{report}");
    assert!(report.migrated < jobs as usize);
    report
}

pub(crate) fn refused_as_run(report: &MigrationReport) -> String {
    assert_eq!((report.migrated, report.error_count), (0, 1), "{report}");
    assert_eq!((report.run, report.state), (None, None), "{report}");
    let error = &report.errors[0];
    assert_eq!(error.subject, Subject::Run);
    assert_eq!(
        (error.stage, error.class),
        (Stage::Planning, FailureClass::Run)
    );
    error.message.clone()
}

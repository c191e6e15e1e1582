//! A run says of each workflow how far it is.

use std::num::NonZeroU32;
use std::sync::{Mutex, mpsc};
use std::time::Duration;

use futures_util::StreamExt;
use state_migration::{
    FailureClass, MemoryStore, MigrationRegistry, MigrationRunner, Progress, RunState, Runs,
    Selection,
};
use state_migration_tests::orders::{OrderV1ToV2Migration, place};
use state_migration_tests::scripted_workflow::{Upgrade, put, put_at, stream};

const JOBS: u64 = 30;
const ORDERS: u64 = 20;

/// Jobs and orders, each at its first version.
async fn filled() -> MemoryStore {
    let store = MemoryStore::new();
    for n in 0..JOBS {
        put(&store, n).await.unwrap();
    }
    for n in 0..ORDERS {
        place(&store, &store, n).await.unwrap();
    }
    store
}

type Runner = MigrationRunner<MigrationRegistry, MemoryStore, MemoryStore>;

fn runner(upgrade: Upgrade, store: &MemoryStore) -> Runner {
    let migrations = MigrationRegistry::builder()
        .with(upgrade)
        .with(OrderV1ToV2Migration);
    MigrationRunner::new(migrations.build().unwrap(), store.clone(), store.clone())
}

/// Migrated, failed, skipped and expected, of each workflow.
fn figures(progress: &Progress) -> Vec<(&str, u64, u64, u64, Option<u64>)> {
    let of_each = progress.workflows.iter();
    of_each
        .map(|of_it| {
            let name = of_it.workflow.as_str();
            let (migrated, failed) = (of_it.migrated, of_it.failed);
            (name, migrated, failed, of_it.skipped, of_it.expected)
        })
        .collect()
}

/// Takes out: what `commit::chunk` adds to the counts by workflow, and what `Skips` does.
#[tokio::test]
async fn each_workflow_is_counted_with_what_is_expected_of_it() {
    let store = filled().await;
    Runs::of(&store)
        .unwrap()
        .hold(&stream(7), "ann", "looks odd")
        .await
        .unwrap();
    let runner = runner(Upgrade::refusing(|n| n < 3), &store);
    let watched = tokio::spawn(runner.control().watch().collect::<Vec<_>>());
    let report = runner.run().await;
    assert_eq!((report.migrated, report.error_count), (46, 3), "{report}");
    let last = runner.control().progress();
    assert_eq!(
        figures(&last),
        [
            ("job", 26, 3, 1, Some(JOBS)),
            ("order", ORDERS, 0, 0, Some(ORDERS))
        ]
    );
    let sum: u64 = last.workflows.iter().map(|of_it| of_it.processes()).sum();
    assert_eq!(sum, last.counts.processes());
    assert!(last.workflows.iter().all(|of_it| of_it.per_second > 0.0));
    // No workflow is ever further than the run.
    for progress in watched.await.unwrap() {
        let sum: u64 = progress.workflows.iter().map(|w| w.processes()).sum();
        assert_eq!(sum, progress.counts.processes());
    }
}

/// Takes out: `not_selected` in `SkipCounts::add`.
#[tokio::test]
async fn those_that_are_not_selected_are_no_part_of_what_is_expected() {
    let store = filled().await;
    let runner = runner(Upgrade::new(), &store).select(Selection::all().percent(50.0));
    let watched = tokio::spawn(runner.control().watch().collect::<Vec<_>>());
    let report = runner.dry_run().await;
    let last = runner.control().progress();
    let [job, order] = last.workflows.as_slice() else {
        panic!("{last:?}")
    };
    for (of_it, all) in [(job, JOBS), (order, ORDERS)] {
        assert!((1..all).contains(&of_it.migrated), "{of_it:?}");
        assert_eq!((of_it.skipped, of_it.failed), (0, 0), "{of_it:?}");
        assert_eq!(of_it.expected, Some(of_it.migrated));
        assert_eq!(of_it.time_left, Some(Duration::ZERO));
    }
    assert_eq!(job.migrated + order.migrated, report.migrated as u64);
    assert_eq!(last.expected, Some(report.migrated as u64));
    assert_eq!(last.time_left, Some(Duration::ZERO));
    assert!(report.skipped_by.not_selected > 0 && last.dry_run);
    // Processes that are not selected do not count as progress.
    for progress in watched.await.unwrap() {
        assert!(progress.expected.is_none_or(|all| all < JOBS + ORDERS));
    }
}

/// However long the first ones take.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_expected_is_told_before_the_first_of_them_is_done() {
    let store = filled().await;
    let (release, held) = mpsc::channel::<()>();
    let held = Mutex::new(held);
    let waits = Upgrade::with(move |_| {
        let _ = held.lock().unwrap().recv();
        Ok(())
    });
    let runner = runner(waits, &store).select(Selection::all().workflow("job"));
    let mut watched = Box::pin(runner.control().watch());
    let running = tokio::spawn(async move { runner.run().await });
    loop {
        let progress = watched.next().await.unwrap();
        assert_eq!(progress.counts.processes(), 0, "{progress:?}");
        if progress.expected.is_some() {
            assert_eq!(figures(&progress), [("job", 0, 0, 0, Some(JOBS))]);
            break;
        }
    }
    drop(release);
    let report = running.await.unwrap();
    assert_eq!(report.migrated as u64, JOBS, "{report}");
}

/// A run for some says how far it is with those.
// To see it fail: leave out `selects` in `ahead::selected`.
#[tokio::test(flavor = "multi_thread")]
async fn a_canary_is_measured_by_those_that_it_is_for() {
    let some = || (0..10).map(|n| stream(3 * n));
    let tenant = stream(1).process().unwrap().0;
    for (selection, jobs, orders, count_up_to_date) in [
        (Selection::all().streams(some()), 10, 0, false),
        (Selection::all().prefix("process/yard/000001"), 10, 0, false),
        (Selection::all().prefix("process/yard/000001"), 10, 0, true),
        (Selection::all().tenant(tenant), JOBS, 0, false),
        (Selection::all().workflow("order"), 0, ORDERS, false),
        (Selection::all().prefix("absent"), 0, 0, false),
    ] {
        let store = filled().await;
        let shown = selection.to_string();
        let canary = runner(Upgrade::new(), &store)
            .chunk_processes(1)
            .select(selection)
            .count_up_to_date(count_up_to_date);
        let watched = tokio::spawn(canary.control().watch().collect::<Vec<_>>());
        canary.control().throttle(NonZeroU32::new(200));
        let report = canary.run().await;
        assert_eq!(report.migrated as u64, jobs + orders, "{shown}: {report}");
        let watched = watched.await.unwrap();
        let mut seen_on_the_way = false;
        for progress in &watched {
            for of_it in &progress.workflows {
                let is_job = of_it.workflow == "job";
                let all = if is_job { jobs } else { orders };
                if let Some(expected) = of_it.expected {
                    assert_eq!(expected, all, "{shown}: {of_it:?}");
                    seen_on_the_way |= of_it.processes() < all;
                }
                assert!(of_it.processes() <= all, "{shown}: {of_it:?}");
            }
        }
        assert!(seen_on_the_way || jobs + orders == 0, "{shown}");
    }
}

/// Takes out: `by_workflow` of the row of a range, and `Meter::count`.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_resumed_knows_what_it_had_done() {
    let store = filled().await;
    let slow = |n: u64| {
        Upgrade::with(move |job| {
            std::thread::sleep(Duration::from_millis(5));
            if job.n % 10 == n {
                return Err("not this one".into());
            }
            Ok(())
        })
    };
    let first = runner(slow(0), &store).chunk_processes(2);
    let control = first.control();
    let running = tokio::spawn(async move { first.run().await });
    while control.progress().counts.processes() < 10 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    control.cancel();
    let report = running.await.unwrap();
    assert_eq!(report.state, Some(RunState::Cancelled), "{report}");
    let before = control.progress();

    let second = runner(slow(0), &store);
    let updates = second.control().watch();
    let watched = tokio::spawn(updates.collect::<Vec<_>>());
    let report = second.resume(before.run.unwrap()).await;
    assert_eq!((report.migrated, report.error_count), (47, 3), "{report}");
    let watched = watched.await.unwrap();
    let after = watched.last().unwrap();
    assert_eq!(
        figures(after),
        [
            ("job", 27, 3, 0, Some(JOBS)),
            ("order", ORDERS, 0, 0, Some(ORDERS))
        ]
    );

    // Those that failed are tried again, and no others.
    let third = runner(slow(99), &store);
    let of = after.run.unwrap();
    let report = third.retry(of, &[FailureClass::Refused]).await;
    assert_eq!((report.migrated, report.error_count), (3, 0), "{report}");
    let last = third.control().progress();
    let job = &last.workflows[0];
    assert_eq!((job.migrated, job.expected), (3, Some(3)));
}

/// Takes out: the look at the handle in `plan::count_all` and `report_strays`.
#[tokio::test]
async fn a_run_is_cancelled_too_while_it_counts_or_reports_what_it_is_not_for() {
    const THERE: usize = 1_200;
    let store = MemoryStore::new();
    for n in 0..THERE as u64 {
        put_at(&store, n, "v2", "").await.unwrap();
    }
    put_at(&store, 7_777, "v0", "").await.unwrap();
    let cancelled = runner(Upgrade::new(), &store).count_up_to_date(true);
    cancelled.control().cancel();
    let report = cancelled.run().await;
    assert_eq!(report.state, Some(RunState::Cancelled), "{report}");
    assert_eq!((report.skipped, report.error_count), (0, 0), "{report}");

    let run = report.run.unwrap();
    let report = runner(Upgrade::new(), &store).resume(run).await;
    assert_eq!(report.state, Some(RunState::DoneWithErrors), "{report}");
    let there = report.skipped_by.already_there;
    assert_eq!((there, report.error_count), (THERE, 1), "{report}");
}

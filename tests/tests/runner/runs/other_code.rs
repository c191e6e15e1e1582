//! Runs that are resumed with other code than they were begun with.

use futures_util::StreamExt;
use state_migration::{
    FailureClass, IdentityMigration, MigrationRegistry, MigrationReport, MigrationRunner, RunState,
    WorkflowId,
};
use state_migration_tests::orders::{self, OrderV1ToV2Migration, OrderV3};
use state_migration_tests::scripted_workflow::{JobV1, Store, Upgrade, at_v2, put, put_at, stream};

use crate::failure_classes::fixture::{converted, linked};
use crate::runs::{cancelling_after, failures, record, runs};

over_both_stores![
    a_process_that_is_migrated_further_counts_once,
    processes_that_had_no_route_are_decided_again_by_code_that_has_one,
];

/// What each execution of a run migrated, migrated further, and failed.
async fn executions(store: &impl Store, report: &MigrationReport) -> Vec<[u64; 3]> {
    let run = report.run.unwrap();
    let all = runs(store).counts(run).await.unwrap();
    let executions = runs(store).executions(run).await.unwrap();
    let ends = executions.iter().skip(1).map(|it| it.before.unwrap());
    let ends: Vec<_> = ends.chain([all]).collect();
    let each = executions.iter().zip(ends);
    let each = each.map(|(execution, end)| execution.counts(&end));
    each.map(|it| [it.migrated, it.migrated_further, it.failed])
        .collect()
}

/// The test fails without `moved_before`, for chunks or for opened processes: the run has
/// migrated more processes than there are. It also fails if `run_in_progress` asks the first
/// plan of a run.
async fn a_process_that_is_migrated_further_counts_once(store: impl Store) {
    const ORDERS: u64 = 60;
    let first = || MigrationRunner::new(OrderV1ToV2Migration, store.clone(), store.clone());
    // Orders that another run has migrated are migrated by this run for the first time.
    for n in 0..4 {
        orders::place(&store, &store, n).await.unwrap();
    }
    assert_eq!(first().run().await.migrated, 4);
    for n in 4..ORDERS {
        orders::place(&store, &store, n).await.unwrap();
    }
    let runner = first().chunk_processes(1);
    let control = runner.control();
    let mut watched = control.watch();
    let cancelled = async {
        while let Some(progress) = watched.next().await {
            if progress.counts.migrated > 5 {
                control.cancel();
            }
        }
    };
    let (begun, ()) = futures_util::join!(runner.run(), cancelled);
    assert_eq!(begun.state, Some(RunState::Cancelled), "{begun}");
    assert_eq!(begun.migrated_further, 0);

    let runner = MigrationRunner::new(linked(), store.clone(), store.clone()).force(true);
    let control = runner.control();
    control.pause();
    let resumed = tokio::spawn(async move { runner.resume(begun.run.unwrap()).await });
    while runs(&store).claimed_by().await.unwrap().is_none() {
        tokio::task::yield_now().await;
    }
    // Processes that are opened meanwhile: one that the run has migrated, and one that it
    // has not.
    let opening = MigrationRunner::new(linked(), store.clone(), store.clone());
    for n in [4, ORDERS - 1] {
        let identity = orders::identity::<OrderV3>(n);
        opening.open::<OrderV3>(identity).await.unwrap();
    }
    control.unpause();
    let report = resumed.await.unwrap();
    assert_eq!(report.state, Some(RunState::Done), "{report}");
    assert_eq!(
        (report.migrated as u64, report.migrated_further),
        (ORDERS, begun.migrated),
        "{report}"
    );
    for n in 0..ORDERS {
        let order = orders::load::<OrderV3, _>(&store, n).await.unwrap();
        assert_eq!(order, converted(n));
    }
    let counts = runs(&store).counts(begun.run.unwrap()).await.unwrap();
    assert_eq!((counts.migrated, counts.failed), (ORDERS, 0));
    let (before, further) = (begun.migrated as u64, counts.migrated_further);
    assert_eq!(further, before);
    assert_eq!(
        executions(&store, &report).await,
        [[before, 0, 0], [ORDERS - before, further, 0]]
    );
    // Progress counts each visit.
    let progress = control.progress();
    assert_eq!(progress.counts, counts);
    // The rows of opened processes do not name a workflow.
    assert_eq!(progress.workflows[0].migrated, ORDERS - 1);
    assert_eq!(progress.expected, Some(ORDERS + further));
    assert_eq!(progress.counts.selected(), ORDERS + further);
}

/// The test fails without `forget_failures`: the processes at v0 stay failed.
async fn processes_that_had_no_route_are_decided_again_by_code_that_has_one(store: impl Store) {
    const JOBS: u64 = 60;
    for n in 0..JOBS {
        let version = if n < JOBS / 2 { "v0" } else { "v1" };
        put_at(&store, n, version, "").await.unwrap();
    }
    let (upgrade, told) = cancelling_after(JOBS / 2 - 3, |n| n == 40);
    let runner = upgrade.runner(&store).chunk_processes(1);
    told.set(runner.control()).ok().unwrap();
    let begun = runner.run().await;
    assert_eq!(begun.state, Some(RunState::Cancelled), "{begun}");
    let of_routing = |report: &MigrationReport| {
        let by_class = &report.failed_by_class;
        by_class
            .get(&FailureClass::MissingRoute)
            .copied()
            .unwrap_or(0)
    };
    let unroutable = of_routing(&begun) as u64;
    assert!(unroutable > 0, "{begun}");
    let refused = begun.error_count as u64 - unroutable;
    let run = begun.run.unwrap();

    // With code that has no route either, they stay failed.
    let other = Upgrade::refusing(|n| n == 40).fingerprint(2).runner(&store);
    let control = other.control();
    control.cancel();
    let report = other.force(true).resume(run).await;
    assert_eq!(report.state, Some(RunState::Cancelled), "{report}");
    assert_eq!(of_routing(&report) as u64, unroutable, "{report}");

    let from_v0 =
        IdentityMigration::<JobV1>::new(WorkflowId::new("job", "v0"), WorkflowId::new("job", "v1"));
    let registry = MigrationRegistry::builder()
        .with(from_v0)
        .with(Upgrade::refusing(|n| n == 40 || n == 3));
    let registry = registry.build().unwrap();
    let runner = MigrationRunner::new(registry, store.clone(), store.clone());
    // Behind the run as well.
    put(&store, JOBS).await.unwrap();
    let report = runner.force(true).resume(run).await;
    assert_eq!(report.state, Some(RunState::DoneWithErrors), "{report}");
    assert_eq!(
        (report.migrated as u64, report.error_count),
        (JOBS - 1, 2),
        "{report}"
    );
    let failed = failures(&store, &report).await;
    let failed = failed
        .iter()
        .map(|it| (it.stream().unwrap().clone(), it.error.class));
    let refused_now = FailureClass::Refused;
    assert_eq!(
        failed.collect::<Vec<_>>(),
        [(stream(3), refused_now), (stream(40), refused_now)]
    );
    let left = (0..=JOBS).filter(|n| ![3, 40].contains(n));
    assert_eq!(
        at_v2(&store, 0..=JOBS).await.unwrap(),
        left.collect::<Vec<_>>()
    );
    let counts = runs(&store).counts(run).await.unwrap();
    assert_eq!((counts.migrated, counts.failed), (JOBS - 1, 2));
    let migrated = begun.migrated as u64;
    let each = executions(&store, &report).await;
    let failed = begun.error_count as u64;
    assert_eq!(
        each,
        [
            [migrated, 0, failed],
            [0, 0, 0],
            [JOBS - 1 - migrated, 0, 2 - refused]
        ]
    );
    let last = runs(&store).executions(run).await.unwrap().pop();
    assert_eq!(last.unwrap().decided_again, unroutable);
    // Nothing is left at v0, so later runs do not look for it.
    assert_eq!(
        record(&store, &report).await.state,
        RunState::DoneWithErrors
    );
    let runner = Upgrade::new().runner(&store);
    let report = runner.run().await;
    assert_eq!(report.error_count, 1, "job 3 is at v0 still: {report}");
    assert_eq!(report.migrated, 1, "{report}");
}

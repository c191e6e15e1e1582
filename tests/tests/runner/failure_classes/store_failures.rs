//! Stores that fail under a runner over separate handles. (What one
//! transaction does then is all or nothing, and is tested with the stores.)

use std::sync::atomic::Ordering;

use state_migration::{CommitMode, Stage, Subject};
use state_migration_tests::faulty::ALL;
use state_migration_tests::orders::{self, OrderV1, OrderV3, identity};

use crate::failure_classes::fixture::{World, converted, expect};

/// Runs each scenario over both stores.
macro_rules! event_first {
    ($($scenario:ident),+ $(,)?) => {
        crate::failure_classes::fixture::in_form!(in_memory, in_memory, EventFirst, $($scenario),+);
        crate::failure_classes::fixture::in_form!(on_disk, on_disk, EventFirst, $($scenario),+);
    };
}

event_first![
    a_listing_that_fails_is_one_error,
    an_append_that_fails_is_that_processs_error,
    an_append_whose_answer_was_lost_is_resolved_by_reading,
    a_snapshot_that_cannot_be_saved_is_a_warning,
    a_registry_that_fails_is_a_warning_and_the_next_run_repairs_it,
];

async fn a_listing_that_fails_is_one_error(world: World) {
    world.place(0..5).await;
    let before = world.rows().await;
    world.faults.list.store(ALL, Ordering::SeqCst);
    for _ in 0..2 {
        let report = world.run().await;
        assert_eq!((report.migrated, report.error_count), (0, 1), "{report}");
        assert_eq!((report.skipped, report.warning_count), (0, 0));
        let error = &report.errors[0];
        assert_eq!(error.subject, Subject::ListStreams);
        assert_eq!((error.stage, error.sequence), (Stage::Planning, None));
        assert_eq!(error.message, "list_streams failed on demand");
    }
    assert_eq!(world.rows().await, before);
    world.faults.list.store(0, Ordering::SeqCst);
    expect(&world.run().await, 5, &[]);
}

async fn an_append_that_fails_is_that_processs_error(world: World) {
    world.place(0..5).await;
    world.faults.append.store(1, Ordering::SeqCst);
    let report = world.run().await;
    assert_eq!((report.migrated, report.error_count), (4, 1), "{report}");
    let error = &report.errors[0];
    assert_eq!((error.stage, error.sequence), (Stage::Committing, None));
    assert_eq!(error.message, "append failed on demand");
    let failed = (0..5).find(|n| error.subject == *identity::<OrderV1>(*n).stream_id());
    for n in 0..5 {
        if Some(n) == failed {
            let expected = orders::folded::<OrderV1>(n);
            assert_eq!(world.load::<OrderV1>(n).await.unwrap(), expected);
        } else {
            assert_eq!(world.load::<OrderV3>(n).await.unwrap(), converted(n));
        }
    }
    expect(&world.run().await, 1, &[]);
    for n in 0..5 {
        assert_eq!(world.load::<OrderV3>(n).await.unwrap(), converted(n));
    }
}

async fn an_append_whose_answer_was_lost_is_resolved_by_reading(world: World) {
    world.place(0..5).await;
    for n in 0..5 {
        orders::register(&*world.registry, n).await.unwrap();
    }
    world.faults.append_answer.store(2, Ordering::SeqCst);
    let report = world.run().await;
    for n in 0..5 {
        assert_eq!(world.load::<OrderV3>(n).await.unwrap(), converted(n));
        let stream = identity::<OrderV1>(n).stream_id().clone();
        let migrations = world.all_events(&stream).await;
        let migrations = migrations.iter().filter(|e| e.event_type.starts_with('$'));
        assert_eq!(migrations.count(), 1);
    }
    // All five are migrated, so a report that calls two of them failed is wrong.
    expect(&report, 5, &[]);
}

async fn a_snapshot_that_cannot_be_saved_is_a_warning(world: World) {
    world.place(0..5).await;
    world.faults.save.store(ALL, Ordering::SeqCst);
    let report = world.run().await;
    assert!(report.is_ok());
    assert_eq!((report.migrated, report.error_count), (5, 0), "{report}");
    assert_eq!((report.warning_count, report.warnings.len()), (5, 5));
    for (n, warning) in (0..).zip(&report.warnings) {
        let identity = identity::<OrderV1>(n);
        let stream = identity.stream_id();
        assert_eq!(warning.subject, *stream);
        assert_eq!(
            warning.message,
            "migrated, but its snapshot could not be written; loads start at the `$migrated` event: save failed on demand"
        );
        assert_eq!(world.snapshots.load(stream).await.unwrap(), None);
        assert_eq!(world.load::<OrderV3>(n).await.unwrap(), converted(n));
    }
    let report = world.run().await;
    expect(&report, 0, &[]);
    assert_eq!(report.skipped_by.already_there, 5);
}

async fn a_registry_that_fails_is_a_warning_and_the_next_run_repairs_it(world: World) {
    use state_migration::{MemoryStore, ProcessRegistry};
    use state_migration_tests::faulty::Faulty;
    assert_eq!(world.form, CommitMode::EventFirst);
    world.place(0..5).await;
    let registry = Faulty::over(MemoryStore::new());
    for n in 0..5 {
        orders::register(&registry, n).await.unwrap();
    }
    registry.faults.register.store(1, Ordering::SeqCst);
    let runner = world.runner(crate::failure_classes::fixture::linked());
    let report = runner.run_and_update_registry(&registry).await;
    assert!(report.is_ok());
    assert_eq!(
        (report.migrated, report.warning_count, report.repaired),
        (5, 1, 0)
    );
    assert_eq!(
        report.warnings[0].message,
        "migrated, but its process registry entry could not be updated; the next run repairs it: register failed on demand"
    );
    let report = runner.run_and_update_registry(&registry).await;
    assert_eq!(
        (report.migrated, report.warning_count, report.repaired),
        (0, 0, 1)
    );
    for n in 0..5 {
        for key in orders::keys(n) {
            let entry = registry.lookup(&orders::tenant(), &key).await.unwrap();
            assert_eq!(entry, Some(identity::<OrderV3>(n)), "{key}");
        }
    }
    let report = runner.run_and_update_registry(&registry).await;
    assert_eq!(report.repaired, 0);
}

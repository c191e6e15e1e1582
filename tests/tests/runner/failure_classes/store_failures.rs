//! Stores that fail under a runner over separate handles. (What one
//! transaction does then is all or nothing, and is tested with the stores.)

use std::sync::atomic::Ordering;

use state_migration::{
    CommitMode, ErrorKind, FailureClass, MigrationReport, RunState, Selection, Stage, Subject,
};
use state_migration_tests::faulty::ALL;
use state_migration_tests::orders::{self, OrderV1, OrderV3, identity};

use crate::failure_classes::fixture::{World, converted, expect, linked, stream};

/// Runs each scenario over both stores.
macro_rules! event_first {
    ($($scenario:ident),+ $(,)?) => {
        crate::failure_classes::fixture::in_form!(in_memory, in_memory, EventFirst, $($scenario),+);
        crate::failure_classes::fixture::in_form!(on_disk, on_disk, EventFirst, $($scenario),+);
    };
}

event_first![
    a_listing_that_fails_is_one_error,
    a_store_that_stops_answering_ends_the_run_and_fails_no_process,
    a_store_that_takes_no_writes_ends_the_run,
    a_write_that_did_not_happen_is_repeated,
    a_write_whose_outcome_cannot_be_read_is_left_to_the_next_run,
    a_process_is_not_opened_while_the_store_does_not_answer,
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

/// The orders that are migrated, each by one event.
async fn migrated(world: &World, orders: u64) -> usize {
    let mut migrated = 0;
    for n in 0..orders {
        let events = world.all_events(&stream(n)).await;
        let moves = events.iter().filter(|e| e.event_type.starts_with('$'));
        let moves = moves.count();
        assert!(moves <= 1, "order {n} was migrated {moves} times");
        if moves == 1 {
            assert_eq!(world.load::<OrderV3>(n).await.unwrap(), converted(n));
        }
        migrated += moves;
    }
    migrated
}

/// The report of a run that the store ended: one failure, which is of no process.
fn is_ended_by_the_store(report: &MigrationReport, stage: Stage, message: &str) {
    assert_eq!(report.state, Some(RunState::Running), "{report}");
    assert_eq!((report.error_count, report.warning_count), (1, 0));
    let error = &report.errors[0];
    assert_eq!((&error.subject, error.stage), (&Subject::Run, stage));
    assert_eq!(error.class, FailureClass::Unavailable, "{report}");
    assert!(
        error
            .message
            .starts_with("not all processes from process/shop/0000")
    );
    assert!(error.message.ends_with(message), "{report}");
    assert!(
        report
            .to_string()
            .contains("; stopped by an error; run again")
    );
}

/// The test fails if an outage is a failure of the process that it meets.
async fn a_store_that_stops_answering_ends_the_run_and_fails_no_process(world: World) {
    const ORDERS: u64 = 40;
    world.place(0..ORDERS).await;
    let report = {
        world.faults.answers.store(30, Ordering::SeqCst);
        world.runner(linked()).dry_run().await
    };
    is_ended_by_the_store(&report, Stage::Reading, ": no answer on demand");
    let mut so_far = 0;
    for answers in [30, 60, 40] {
        world.faults.answers.store(answers, Ordering::SeqCst);
        let report = world.run().await;
        // The stage depends on the call that is not answered first.
        let stage = report.errors[0].stage;
        assert!(matches!(stage, Stage::Reading | Stage::Committing));
        is_ended_by_the_store(&report, stage, ": no answer on demand");
        assert_eq!(
            so_far + report.migrated,
            migrated(&world, ORDERS).await,
            "{report}"
        );
        so_far += report.migrated;
    }
    assert!(so_far > 0 && so_far < ORDERS as usize, "{so_far}");
    world.faults.answers.store(ALL, Ordering::SeqCst);
    expect(&world.run().await, ORDERS as usize - so_far, &[]);
    assert_eq!(migrated(&world, ORDERS).await, ORDERS as usize);
}

/// A full disk is read all the same.
async fn a_store_that_takes_no_writes_ends_the_run(world: World) {
    world.place(0..5).await;
    let before = world.rows().await;
    world.faults.append.store(ALL, Ordering::SeqCst);
    let report = world.run().await;
    is_ended_by_the_store(&report, Stage::Committing, ": append failed on demand");
    assert_eq!(report.migrated, 0, "{report}");
    assert_eq!(world.rows().await, before);
    world.faults.append.store(0, Ordering::SeqCst);
    expect(&world.run().await, 5, &[]);
}

async fn a_write_that_did_not_happen_is_repeated(world: World) {
    world.place(0..5).await;
    world.faults.append_unknown.store(7, Ordering::SeqCst);
    expect(&world.run().await, 5, &[]);
    assert_eq!(migrated(&world, 5).await, 5);
}

async fn a_write_whose_outcome_cannot_be_read_is_left_to_the_next_run(world: World) {
    world.place(0..5).await;
    // One at a time, so that no other process meets the outage first.
    let first = Selection::all().first(5);
    world.faults.last_append.store(1, Ordering::SeqCst);
    let report = world.runner(linked()).select(first).run().await;
    is_ended_by_the_store(
        &report,
        Stage::Committing,
        ": no answer to append on demand",
    );
    assert_eq!(report.migrated, 0, "{report}");
    assert_eq!(migrated(&world, 5).await, 1);
    world.faults.answers.store(ALL, Ordering::SeqCst);
    let report = world.run().await;
    expect(&report, 4, &[]);
    assert_eq!(report.skipped_by.already_there, 1, "{report}");
    assert_eq!(migrated(&world, 5).await, 5);
}

/// The error is that of the store, and says nothing about the process.
async fn a_process_is_not_opened_while_the_store_does_not_answer(world: World) {
    world.place(0..2).await;
    let runner = world.runner(linked());
    // The head is read first, to find out that the process is outdated.
    for answers in 1..5 {
        world.faults.answers.store(answers, Ordering::SeqCst);
        let opened = runner.open::<OrderV3>(identity::<OrderV3>(0)).await;
        let error = opened.err().unwrap();
        assert_eq!(*error.kind(), ErrorKind::Unavailable, "{answers}: {error}");
        assert_eq!(error.to_string(), "no answer on demand", "{answers}");
    }
    world.faults.answers.store(ALL, Ordering::SeqCst);
    world.faults.last_append.store(1, Ordering::SeqCst);
    let opened = runner.open::<OrderV3>(identity::<OrderV3>(1)).await;
    let error = opened.err().unwrap();
    assert_eq!(*error.kind(), ErrorKind::OutcomeUnknown, "{error}");
    world.faults.answers.store(ALL, Ordering::SeqCst);
    for n in 0..2 {
        let opened = runner.open::<OrderV3>(identity::<OrderV3>(n)).await;
        assert_eq!(*opened.unwrap().state(), converted(n));
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

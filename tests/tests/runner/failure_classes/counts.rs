//! The counts of a report: skipped processes by reason, and failures beyond those listed.

use state_migration::{
    FailureClass, MemoryStore, MigrationReport, NewEvent, ScanKind, Stage, WorkflowId,
};
use state_migration_tests::orders::{OrderV1, OrderV1ToV2Migration, OrderV3, UNTAXABLE};

use crate::failure_classes::fixture::{World, event, in_both_forms, linked, stream};

in_both_forms![
    a_full_count_counts_skipped_processes_by_reason,
    a_store_without_anything_is_a_report_of_nothing,
    of_many_failures_the_first_thousand_are_kept_and_all_are_counted,
];

fn skipped(report: &MigrationReport) -> [(&'static str, usize); 6] {
    [
        ("empty", report.skipped_by.empty),
        ("other workflow", report.skipped_by.other_workflow),
        ("already there", report.skipped_by.already_there),
        ("finished", report.skipped_by.finished),
        ("not selected", report.skipped_by.not_selected),
        ("all", report.skipped),
    ]
}

fn counts(other_workflow: usize, already_there: usize) -> [(&'static str, usize); 6] {
    [
        ("empty", 0),
        ("other workflow", other_workflow),
        ("already there", already_there),
        ("finished", 0),
        ("not selected", 0),
        ("all", other_workflow + already_there),
    ]
}

async fn a_full_count_counts_skipped_processes_by_reason(world: World) {
    // Three at v3, two at v2, two of another workflow, one at a version
    // without a route, and four at v1.
    world.place(0..3).await;
    assert_eq!(world.run().await.migrated, 3);
    world.place(3..5).await;
    let report = world.runner(OrderV1ToV2Migration).run().await;
    assert_eq!(report.migrated, 2, "{report}");
    for (n, name, version) in [(5, "parcel", "v1"), (6, "note", "v1"), (7, "order", "v0")] {
        let workflow = WorkflowId::new(name, version);
        let event = NewEvent::new(workflow, "Happened", 1, "{}").unwrap();
        world.append(&stream(n), vec![event]).await;
    }
    world.place(8..12).await;

    let before = world.rows().await.len();
    let report = world.checked(world.runner(linked()).count_up_to_date(true).run().await);
    assert_eq!(report.visited, Some(ScanKind::ByFullScan));
    assert_eq!((report.migrated, report.error_count), (6, 1), "{report}");
    assert_eq!(report.errors[0].stage, Stage::Routing);
    assert_eq!(skipped(&report), counts(2, 3));
    assert!(world.rows().await.len() > before);

    let report = world.checked(world.runner(linked()).count_up_to_date(true).run().await);
    assert_eq!((report.migrated, report.error_count), (0, 1), "{report}");
    assert_eq!(skipped(&report), counts(2, 9));

    // Without a full count only a store with an index is spared the look.
    let report = world.run().await;
    if world.is_one_transaction() {
        assert_eq!(report.visited, Some(ScanKind::ByIndex));
        assert_eq!(skipped(&report), counts(0, 0));
    } else {
        assert_eq!(report.visited, Some(ScanKind::ByFullScan));
        assert_eq!(skipped(&report), counts(2, 9));
    }
}

async fn a_store_without_anything_is_a_report_of_nothing(world: World) {
    let before = world.rows().await;
    for count_up_to_date in [false, true] {
        let report = world
            .runner(linked())
            .count_up_to_date(count_up_to_date)
            .run()
            .await;
        let report = world.checked(report);
        assert!(report.is_ok());
        assert_eq!((report.migrated, report.skipped), (0, 0));
    }
    assert_eq!(world.rows().await, before);
}

async fn of_many_failures_the_first_thousand_are_kept_and_all_are_counted(world: World) {
    let placed = format!(r#"{{"Placed":{{"euro":{UNTAXABLE}}}}}"#);
    // Filled in memory and on disk alike, but on disk by fewer.
    let failing = if world.is_in_memory() { 1_100 } else { 60 };
    for n in 0..failing {
        let workflow = WorkflowId::new("order", "v1");
        let event = NewEvent::new(workflow, "OrderPlaced", 1, placed.clone()).unwrap();
        world.append(&stream(10_000 + n), vec![event]).await;
    }
    // After these, and of another class.
    let undecodable = failing / 10;
    for n in 0..undecodable {
        let event = event::<OrderV1>("OrderPaid", 1, r#"{"Paid":{}}"#);
        world.append(&stream(20_000 + n), vec![event]).await;
    }
    world.place(0..5).await;
    let refused = usize::try_from(failing).unwrap();
    let undecodable = usize::try_from(undecodable).unwrap();
    let failing = refused + undecodable;
    for migrated in [5, 0] {
        let report = world.run().await;
        assert_eq!((report.migrated, report.error_count), (migrated, failing));
        assert_eq!(report.errors.len(), failing.min(1_000));
        let classes = [
            (FailureClass::UndecodableEvent, undecodable),
            (FailureClass::Refused, refused),
        ];
        assert_eq!(report.failed_by_class, classes.into());
        let dry = world.checked(world.runner(linked()).dry_run().await);
        assert_eq!(dry.error_count, failing);
        assert_eq!(dry.failed_by_class, report.failed_by_class);
        let errors = report.errors.iter();
        for error in errors.filter(|error| error.class == FailureClass::Refused) {
            assert_eq!(error.stage, Stage::Converting);
            assert!(
                error.message.starts_with("666 euro cannot be taxed"),
                "{error}"
            );
            assert!(error.message.contains(", in order@v2->v3 by "), "{error}");
        }
    }
    assert!(world.load::<OrderV3>(4).await.is_ok());
}

#[tokio::test]
async fn the_event_store_decides_the_form_together_with_the_snapshot_store() {
    use state_migration::{CommitMode, MigrationRunner};
    let (a, b) = (MemoryStore::new(), MemoryStore::new());
    for (events, snapshots, form, visited) in [
        (&a, &a, CommitMode::OneTransaction, ScanKind::ByIndex),
        (
            &a,
            &a.clone(),
            CommitMode::OneTransaction,
            ScanKind::ByIndex,
        ),
        (&a, &b, CommitMode::EventFirst, ScanKind::ByFullScan),
    ] {
        let report = MigrationRunner::new(linked(), events, snapshots)
            .run()
            .await;
        assert_eq!((report.form, report.visited), (Some(form), Some(visited)));
    }
}

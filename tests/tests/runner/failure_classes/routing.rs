//! Processes at versions without a route, and inconsistent migrations.

use state_migration::{
    EventId, FailureClass, IdentityMigration, MigrationError, NewEvent, Stage, Subject, WorkflowId,
};
use state_migration_tests::orders::{OrderV1, OrderV1ToV2Migration, OrderV2, OrderV3, identity};

use crate::failure_classes::fixture::{Failure, World, converted, in_both_forms, linked, stream};

in_both_forms![
    a_process_at_an_unknown_version_is_an_error_and_stays,
    a_process_at_a_version_that_was_migrated_away_from_elsewhere_is_an_error,
    migrations_that_do_not_fit_together_are_one_error,
    a_process_of_a_workflow_without_migrations_is_skipped,
];

async fn place_at(world: &World, n: u64, version: &'static str) {
    let workflow = WorkflowId::new("order", version);
    let placed = NewEvent::new(workflow, "OrderPlaced", 1, PLACED).unwrap();
    world.append(&stream(n), vec![placed.clone()]).await;
    let another = placed.with_event_id(EventId::random());
    world.append(&stream(n), vec![another]).await;
}

const PLACED: &str = r#"{"Placed":{"euro":5}}"#;

fn missing_route(n: u64, version: &str) -> Failure {
    let message = format!(
        "the process is at {version}, an old version without a migration; link the migration from {version}, or use a program that has it"
    );
    Failure::of(n, Stage::Routing, message).class(FailureClass::MissingRoute)
}

fn unknown_version(n: u64, version: &str) -> Failure {
    let message = format!(
        "the process is at unknown version {version}; link the migration from {version}, or use a program that has it"
    );
    Failure::of(n, Stage::Routing, message).class(FailureClass::UnknownVersion)
}

fn newer(n: u64, version: &str) -> Failure {
    let message = format!(
        "the process is at {version}, which is newer than all versions in this program; use the program that migrated it"
    );
    Failure::of(n, Stage::Routing, message).class(FailureClass::NewerThanProgram)
}

async fn a_process_at_an_unknown_version_is_an_error_and_stays(world: World) {
    world.place([0, 2, 5]).await;
    // Older than any known version, between two, newer than any, and unheard of.
    let strays = [(1, "v0"), (3, "v1.5"), (4, "v9"), (6, "w")];
    let failures = [
        missing_route(1, "order@v0"),
        unknown_version(3, "order@v1.5"),
        newer(4, "order@v9"),
        newer(6, "order@w"),
    ];
    for (n, version) in strays {
        place_at(&world, n, version).await;
    }
    world.migrates_all_but(linked(), 3, &failures).await;
    for n in [0, 2, 5] {
        assert_eq!(world.load::<OrderV3>(n).await.unwrap(), converted(n));
    }
    for (n, version) in strays {
        let head = world.head(&stream(n)).await;
        assert_eq!((head.workflow_id.version(), head.sequence), (version, 2));
    }
}

async fn a_process_at_a_version_that_was_migrated_away_from_elsewhere_is_an_error(world: World) {
    world.place([0, 1]).await;
    let report = world.runner(linked()).run().await;
    assert_eq!((report.migrated, report.error_count), (2, 0), "{report}");
    // A program of before, which does not know v3.
    world.place([2]).await;
    let failures = [newer(0, "order@v3"), newer(1, "order@v3")];
    world
        .migrates_all_but(OrderV1ToV2Migration, 1, &failures)
        .await;
    assert!(world.load::<OrderV2>(2).await.is_ok());
    assert_eq!(world.load::<OrderV3>(1).await.unwrap(), converted(1));
}

async fn migrations_that_do_not_fit_together_are_one_error(world: World) {
    world.place([0, 1]).await;
    let before = world.rows().await;
    let order = |version| WorkflowId::new("order", version);
    // A hand-written migration names its type, which names its crate.
    let by = "by `state_migration::migration::IdentityMigration<state_migration_tests::orders::OrderV1>`";
    for (source, target, name, message) in [
        (
            order("v7"),
            order("v8"),
            "order@v7->v8",
            "is an identity migration, but neither version is order@v1, the version of its workflow type; use the id of that type",
        ),
        (
            order("v1"),
            order("v1"),
            "order@v1->v1",
            "leads from a version to itself; remove it",
        ),
        (
            order("v1"),
            WorkflowId::new("parcel", "v2"),
            "order@v1->parcel@v2",
            "leads from one workflow to another; both versions must have the same workflow name",
        ),
    ] {
        let migration = IdentityMigration::<OrderV1>::new(source, target);
        let runner = world.runner(migration).count_up_to_date(true);
        let with_registry = runner.run_and_update_registry(&world.registry).await;
        for report in [runner.run().await, with_registry] {
            assert_eq!((report.migrated, report.error_count), (0, 1), "{report}");
            let error = MigrationError {
                subject: Subject::Migrations,
                stage: Stage::Planning,
                class: FailureClass::Run,
                sequence: None,
                message: format!("{name} {by} {message}"),
            };
            assert_eq!(report.errors, [error]);
            // It did not get as far as that.
            assert_eq!(
                (report.form, report.visited, report.run),
                (None, None, None)
            );
        }
    }
    assert_eq!(world.rows().await, before);
}

async fn a_process_of_a_workflow_without_migrations_is_skipped(world: World) {
    world.place([0, 1]).await;
    let parcel = WorkflowId::new("parcel", "v1");
    for n in [2, 3] {
        let sent = NewEvent::new(parcel.clone(), "ParcelSent", 1, "{}").unwrap();
        world.append(&stream(n), vec![sent]).await;
    }
    let before = world.rows_of(identity::<OrderV1>(2).stream_id()).await;
    let report = world.run().await;
    assert_eq!((report.migrated, report.error_count), (2, 0), "{report}");
    // A transactional run finds processes by version, so it never reads these.
    let other = if world.is_one_transaction() { 0 } else { 2 };
    assert_eq!(
        (report.skipped, report.skipped_by.other_workflow),
        (other, other)
    );
    assert_eq!(world.rows_of(&stream(2)).await, before);

    let report = world.runner(linked()).count_up_to_date(true).run().await;
    assert_eq!((report.migrated, report.error_count), (0, 0), "{report}");
    assert_eq!(report.skipped_by.other_workflow, 2);
    assert_eq!(report.skipped_by.already_there, 2);
}

//! The decision for each version: a migration, or a declaration that none is needed.

use state_migration::{MigrationRegistry, MigrationRegistryBuilder, Problem, VersionStatus};

use crate::*;

/// A message without the source locations of versions that code has registered.
fn registered(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(" (added at ") {
        let (place, after) = after.split_once(')').expect("a place ends");
        assert!(
            place.starts_with("runtime/core/tests/") && place.contains("declarations.rs:"),
            "{place}"
        );
        plain.push_str(before);
        rest = after;
    }
    plain + rest
}

#[test]
fn a_version_behind_a_registered_one_is_undecided() {
    let (problem, message) = only_problem(
        MigrationRegistry::builder()
            .with(Step::<V1, V2>::new())
            .version::<V3>()
            .build(),
    );
    assert!(problem.starts_with("Undecided"), "{problem}");
    assert_eq!(
        registered(&message),
        "no migration leads from order@v2 (used by order@v1->v2) to the newest version order@v3 (used by `registry::V3`); add the migration, link its crate with `use my_migrations as _;`, or declare with `no_migration!` that processes stay at this version"
    );
}

#[test]
fn a_registered_version_behind_is_undecided() {
    let (problem, message) = only_problem(
        MigrationRegistry::builder()
            .with(Step::<V2, V3>::new())
            .version::<V1>()
            .version::<V2>()
            .version::<V3>()
            .build(),
    );
    assert!(problem.starts_with("Undecided"), "{problem}");
    assert_eq!(
        registered(&message),
        "no migration leads from order@v1 (used by `registry::V1`) to the newest version order@v3 (used by `registry::V3` and order@v2->v3); add the migration, link its crate with `use my_migrations as _;`, or declare with `no_migration!` that processes stay at this version"
    );
}

#[test]
fn two_registered_versions_without_any_migration_are_undecided() {
    let (problem, _) = only_problem(
        MigrationRegistry::builder()
            .version::<V9>()
            .version::<V10>()
            .version::<Cart1>()
            .build(),
    );
    assert!(
        problem.starts_with("Undecided { version: WorkflowId { name: \"order\", version: \"v9\""),
        "{problem}"
    );
}

#[test]
fn a_version_of_which_it_is_decided_stays() {
    let registry = MigrationRegistry::builder()
        .with(Step::<V1, V2>::new())
        .no_migration::<V2>("all are over by March")
        .version::<V3>()
        .build()
        .unwrap();
    assert!(matches!(
        registry.version_status(&order("v1")),
        VersionStatus::Behind(_)
    ));
    assert!(matches!(
        registry.version_status(&order("v2")),
        VersionStatus::Stays
    ));
    assert!(matches!(
        registry.version_status(&order("v3")),
        VersionStatus::Newest
    ));
    assert!(matches!(
        registry.version_status(&order("v4")),
        VersionStatus::NoRoute
    ));
    assert_eq!(registry.newest("order"), Some(&order("v3")));
    assert_eq!(registry.stays(&order("v2")), Some("all are over by March"));
    assert_eq!(registry.stays(&order("v1")), None);
    assert_eq!(registry.stays(&order("v3")), None);
    let versions: Vec<String> = registry.versions().map(ToString::to_string).collect();
    assert_eq!(versions, ["order@v1", "order@v2", "order@v3"]);
}

#[test]
fn a_decision_closes_a_gap() {
    let registry = MigrationRegistry::builder()
        .with(Step::<V1, V2>::new())
        .no_migration::<V2>("they end there")
        .with(Step::<V3, V4>::new())
        .build()
        .unwrap();
    let routes: Vec<String> = registry.routes().map(|route| route.to_string()).collect();
    assert_eq!(routes, ["order@v1 -> v2", "order@v3 -> v4"]);
    assert_eq!(registry.newest("order"), Some(&order("v4")));
}

#[test]
fn a_gap_before_an_undecided_version_is_two_problems() {
    let error = MigrationRegistry::builder()
        .with(Step::<V1, V2>::new())
        .with(Step::<V3, V4>::new())
        .version::<V9>()
        .build()
        .unwrap_err();
    let problems: Vec<String> = error.problems().iter().map(shown).collect();
    let [gap, undecided] = problems.as_slice() else {
        panic!("{error}");
    };
    assert!(gap.starts_with("Gap"), "{gap}");
    assert!(undecided.contains("version: WorkflowId { name: \"order\", version: \"v4\" }"));
}

#[test]
fn a_decision_against_a_migration_that_is_there_is_refused() {
    let (problem, message) = only_problem(
        MigrationRegistry::builder()
            .with(Step::<V1, V2>::new())
            .no_migration::<V1>("no process is left")
            .build(),
    );
    assert!(problem.starts_with("Contradiction"), "{problem}");
    assert_eq!(
        registered(&message),
        "`registry::V1` declares that order@v1 needs no migration, but a migration leads from it: order@v1->v2; remove one of them"
    );
}

#[test]
fn a_registered_workflow_without_migrations_is_another_workflow() {
    let registry = MigrationRegistry::builder()
        .with(Step::<V1, V2>::new())
        .version::<Cart1>()
        .no_migration::<Invoice1>("it stays")
        .version::<Invoice2>()
        .build()
        .unwrap();
    assert_eq!(registry.names().collect::<Vec<_>>(), ["order"]);
    for other in [WorkflowId::of::<Cart1>(), WorkflowId::of::<Invoice1>()] {
        assert!(matches!(
            registry.version_status(&other),
            VersionStatus::OtherWorkflow
        ));
    }
}

#[test]
fn where_a_forked_workflow_ends_is_no_second_problem() {
    let (problem, _) = only_problem(
        MigrationRegistry::builder()
            .with(Step::<V1, V2>::new())
            .with(Step::<V1, V3>::new())
            .version::<V9>()
            .build(),
    );
    assert!(problem.starts_with("Fork"), "{problem}");
}

#[test]
fn a_hand_written_migration_that_does_not_ascend_is_refused() {
    let (problem, message) = only_problem(
        MigrationRegistry::builder()
            .with(Step::<V10, V9>::new())
            .build(),
    );
    assert_eq!(
        problem,
        shown(&Problem::NotAscending {
            migration: "order@v10->v9".to_owned(),
        })
    );
    assert_eq!(
        message,
        "order@v10->v9 does not lead to a later version; swap its versions, or make it an `undo`"
    );
}

#[test]
fn every_migration_names_its_type_and_where_it_was_added() {
    let line = line!() + 2;
    let error = MigrationRegistry::builder()
        .with(Step::<V10, V9>::new())
        .build()
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "order@v10->v9 by `registry::Step<registry::V10, registry::V9>` (added at {}:{line}) does not lead to a later version; swap its versions, or make it an `undo`",
            file!()
        )
    );
}

#[test]
fn a_decision_holds_where_the_version_is_registered_too() {
    let stays = |builder: MigrationRegistryBuilder| {
        let registry = builder.with(Step::<V3, V4>::new()).build().unwrap();
        registry.stays(&order("v2")).map(str::to_owned)
    };
    let reason = Some("all are over".to_owned());
    let before = MigrationRegistry::builder()
        .no_migration::<V2>("all are over")
        .version::<V2>();
    assert_eq!(stays(before), reason);
    let behind = MigrationRegistry::builder()
        .version::<V2>()
        .no_migration::<V2>("all are over");
    assert_eq!(stays(behind), reason);
}

#[test]
fn a_decision_without_a_reason_is_refused() {
    for blank in ["", " \n"] {
        let (problem, message) = only_problem(
            MigrationRegistry::builder()
                .with(Step::<V2, V3>::new())
                .no_migration::<V1>(blank)
                .build(),
        );
        assert!(problem.starts_with("NoReason"), "{problem}");
        assert_eq!(
            registered(&message),
            "`registry::V1` declares that order@v1 needs no migration, but its reason is empty; give a reason"
        );
    }
}

#[test]
fn what_is_said_of_a_version_does_not_depend_on_the_order_of_linking() {
    let here = |builder: MigrationRegistryBuilder| builder.version::<V2>();
    let there = |builder: MigrationRegistryBuilder| builder.version::<V2>();
    let later = |builder: MigrationRegistryBuilder| builder.version::<V9>();
    let said = |builder: MigrationRegistryBuilder| builder.build().unwrap_err();
    let builder = MigrationRegistry::builder;
    let first = said(later(there(here(builder()))));
    assert_eq!(first, said(here(there(later(builder())))));
    assert_eq!(first, said(there(later(here(builder())))));
}

#[test]
fn a_gap_beside_a_fork_is_a_problem_of_its_own() {
    let error = MigrationRegistry::builder()
        .with(Step::<V1, V2>::new())
        .with(Step::<V1, V3>::new())
        .with(Step::<V9, V10>::new())
        .build()
        .unwrap_err();
    let [fork, gap] = error.problems() else {
        panic!("{error}");
    };
    assert!(matches!(fork, Problem::Fork { .. }), "{error}");
    let Problem::Gap { ends, .. } = gap else {
        panic!("{error}");
    };
    assert_eq!(ends, &["v3", "v10"]);
}

#[test]
fn forks_whose_ways_end_together_are_no_gap() {
    let error = MigrationRegistry::builder()
        .with(Step::<V1, V2>::new())
        .with(Step::<V1, V9>::new())
        .with(Step::<V2, V3>::new())
        .with(Step::<V2, V4>::new())
        .build()
        .unwrap_err();
    let all_forks = |problem: &Problem| matches!(problem, Problem::Fork { .. });
    assert!(error.problems().iter().all(all_forks), "{error}");
    assert_eq!(error.problems().len(), 2);
}

//! Migrations that lead back: what is asked of them, and that none is taken.

use state_migration::{MigrationRegistry, Problem, VersionStatus};

use crate::*;

#[test]
fn an_undo_is_kept_apart_and_no_route_goes_over_it() {
    let registry = MigrationRegistry::builder()
        .with(Step::<V1, V2>::new())
        .with(Step::<V2, V1>::undo())
        .with(Step::<V2, V3>::new())
        .build()
        .unwrap();
    let shown: Vec<String> = registry.undos().iter().map(ToString::to_string).collect();
    assert_eq!(shown, ["order@v2->v1"]);
    assert!(registry.undos()[0].is_undo());
    assert_eq!(registry.migrations().len(), 2);
    assert!(registry.migrations().iter().all(|m| !m.is_undo()));
    let routes: Vec<String> = registry.routes().map(|route| route.to_string()).collect();
    assert_eq!(routes, ["order@v1 -> v2 -> v3", "order@v2 -> v3"]);
    assert!(matches!(
        registry.version_status(&order("v3")),
        VersionStatus::Newest
    ));
    assert!(registry.require(["order@v2->v1"]).is_err());
}

#[test]
fn an_undo_without_its_migration_is_refused() {
    let (problem, message) = only_problem(
        MigrationRegistry::builder()
            .with(Step::<V1, V2>::new())
            .with(Step::<V2, V3>::new())
            .with(Step::<V3, V1>::undo())
            .build(),
    );
    assert_eq!(
        problem,
        shown(&Problem::NothingToUndo {
            undo: "order@v3->v1".to_owned(),
            migration: "order@v1->v3".to_owned(),
        })
    );
    assert_eq!(
        message,
        "the undo order@v3->v1 has no migration order@v1->v3 to undo; add that migration, link its crate with `use my_migrations as _;`, or remove the undo"
    );
}

#[test]
fn an_undo_that_leads_forward_is_refused() {
    let (problem, message) = only_problem(
        MigrationRegistry::builder()
            .with(Step::<V1, V2>::undo())
            .build(),
    );
    assert_eq!(
        problem,
        shown(&Problem::UndoAscends {
            undo: "order@v1->v2".to_owned(),
        })
    );
    assert_eq!(
        message,
        "the undo order@v1->v2 does not lead to an earlier version; swap its versions, or remove `undo`"
    );
}

#[test]
fn an_undo_between_versions_that_count_as_equal_does_not_lead_back() {
    let error = MigrationRegistry::builder()
        .with(Step::<V1, V2>::new())
        .with(Step::<V02, V2>::undo())
        .build()
        .unwrap_err();
    let shown: Vec<String> = error.problems().iter().map(shown).collect();
    let ascends = shown
        .iter()
        .any(|problem| problem.starts_with("UndoAscends"));
    assert!(ascends, "{shown:?}");
}

#[test]
fn two_undos_of_one_migration_are_refused() {
    let (problem, _) = only_problem(
        MigrationRegistry::builder()
            .with(Step::<V1, V2>::new())
            .with(Step::<V2, V1>::undo())
            .with(Step::<V2, V1>::undo())
            .build(),
    );
    assert_eq!(
        problem,
        shown(&Problem::Duplicate {
            migrations: ["order@v2->v1", "order@v2->v1"].map(String::from).into(),
        })
    );
}

#[test]
fn an_undo_takes_the_state_that_its_migration_produces() {
    let (problem, _) = only_problem(
        MigrationRegistry::builder()
            .with(Step::<V1, InCents>::new())
            .with(Step::<V2, V1>::undo())
            .build(),
    );
    assert_eq!(
        problem,
        shown(&Problem::StateMismatch {
            at: order("v2"),
            produces: ("order@v1->v2".to_owned(), "registry::Cents".to_owned()),
            takes: ("order@v2->v1".to_owned(), "registry::Order".to_owned()),
        })
    );
}

#[test]
fn an_undo_produces_the_state_that_its_migration_takes() {
    let (problem, _) = only_problem(
        MigrationRegistry::builder()
            .with(Step::<V2, V3>::new())
            .with(Step::<V3, InCents>::undo())
            .build(),
    );
    assert_eq!(
        problem,
        shown(&Problem::StateMismatch {
            at: order("v2"),
            produces: ("order@v3->v2".to_owned(), "registry::Cents".to_owned()),
            takes: ("order@v2->v3".to_owned(), "registry::Order".to_owned()),
        })
    );
}

#[test]
fn an_undo_between_two_workflows_is_refused() {
    let (problem, _) = only_problem(
        MigrationRegistry::builder()
            .with(Step::<Invoice2, V1>::undo())
            .build(),
    );
    assert!(problem.starts_with("DifferentNames"), "{problem}");
}

#[test]
fn what_an_undo_says_of_a_version_counts() {
    let (problem, _) = only_problem(
        MigrationRegistry::builder()
            .with(Step::<V2, V3>::new())
            .with(Step::<Renumbered, V2>::undo())
            .build(),
    );
    assert!(problem.starts_with("SeveralDefinitions"), "{problem}");
    assert!(
        problem.contains("schema_version: 3") && problem.contains("schema_version: 5"),
        "{problem}"
    );
}

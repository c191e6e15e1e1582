//! Inconsistent migrations, and the messages of their problems.

use state_migration::{IdentityMigration, MigrationRegistry, Problem};

use crate::*;

fn strings(texts: &[&str]) -> Vec<String> {
    texts.iter().map(ToString::to_string).collect()
}

#[test]
fn a_duplicate_is_refused() {
    let (problem, message) = only_problem(
        MigrationRegistry::builder()
            .with(Step::<V1, V2>::new())
            .with(Step::<V1, V2>::new())
            .build(),
    );
    assert_eq!(
        problem,
        shown(&Problem::Duplicate {
            migrations: strings(&["order@v1->v2", "order@v1->v2"])
        })
    );
    assert_eq!(
        message,
        "duplicate migration: order@v1->v2 and order@v1->v2; keep one of them"
    );
}

#[test]
fn a_fork_is_refused() {
    let (problem, message) = only_problem(
        MigrationRegistry::builder()
            .with(Step::<V1, V3>::new())
            .with(Step::<V1, V2>::new())
            .build(),
    );
    assert_eq!(
        problem,
        shown(&Problem::Fork {
            source: order("v1"),
            migrations: strings(&["order@v1->v2", "order@v1->v3"])
        })
    );
    assert_eq!(
        message,
        "several migrations lead from order@v1: order@v1->v2 and order@v1->v3; keep one of them, or chain their versions"
    );
}

#[test]
fn a_fork_whose_ways_meet_again_is_one_problem() {
    let (problem, _) = only_problem(
        MigrationRegistry::builder()
            .with(Step::<V1, V2>::new())
            .with(Step::<V1, V3>::new())
            .with(Step::<V2, V3>::new())
            .build(),
    );
    assert_eq!(
        problem,
        shown(&Problem::Fork {
            source: order("v1"),
            migrations: strings(&["order@v1->v2", "order@v1->v3"])
        })
    );
}

#[test]
fn a_circle_is_refused() {
    let (problem, message) = only_problem(
        MigrationRegistry::builder()
            .with(Step::<V1, V2>::new())
            .with(Step::<V2, V3>::new())
            .with(Step::<V3, V1>::new())
            .build(),
    );
    assert_eq!(
        problem,
        shown(&Problem::Cycle {
            migrations: strings(&["order@v1->v2", "order@v2->v3", "order@v3->v1"])
        })
    );
    assert_eq!(
        message,
        "the migrations form a cycle: order@v1->v2, order@v2->v3, order@v3->v1; remove one"
    );
}

#[test]
fn a_circle_that_is_entered_from_outside_is_one_problem() {
    let (problem, _) = only_problem(
        MigrationRegistry::builder()
            .with(Step::<V1, V2>::new())
            .with(Step::<V2, V3>::new())
            .with(Step::<V3, V2>::new())
            .build(),
    );
    assert_eq!(
        problem,
        shown(&Problem::Cycle {
            migrations: strings(&["order@v2->v3", "order@v3->v2"])
        })
    );
}

#[test]
fn a_gap_is_refused() {
    let (problem, message) = only_problem(
        MigrationRegistry::builder()
            .with(Step::<V3, V4>::new())
            .with(Step::<V1, V2>::new())
            .with(Step::<Invoice1, Invoice2>::new())
            .build(),
    );
    assert_eq!(
        problem,
        shown(&Problem::Gap {
            name: "order".to_owned(),
            ends: strings(&["v2", "v4"]),
            migrations: strings(&["order@v1->v2", "order@v3->v4"])
        })
    );
    assert_eq!(
        message,
        "the migrations of order end at v2 and at v4 instead of a single newest version (order@v1->v2, order@v3->v4); add the missing migration, or declare with `no_migration!` that processes stay at one of these versions"
    );
}

#[test]
fn a_migration_to_its_own_version_is_refused() {
    let (problem, message) = only_problem(
        MigrationRegistry::builder()
            .with(IdentityMigration::<V1>::new(order("v1"), order("v1")))
            .build(),
    );
    assert_eq!(
        problem,
        shown(&Problem::SameVersion {
            migration: "order@v1->v1".to_owned()
        })
    );
    assert_eq!(
        message,
        "order@v1->v1 leads from a version to itself; remove it"
    );
}

#[test]
fn ids_of_other_workflows_than_the_types_are_refused() {
    let (problem, message) = only_problem(
        MigrationRegistry::builder()
            .with(Step::<V1, V2>::with_ids(order("v1"), order("v3")))
            .build(),
    );
    assert_eq!(
        problem,
        shown(&Problem::WrongIds {
            migration: "order@v1->v3".to_owned(),
            types: (order("v1"), order("v2")),
        })
    );
    assert_eq!(
        message,
        "order@v1->v3 has ids that differ from those of its workflow types, order@v1 and order@v2; use these ids"
    );
}

#[test]
fn an_identity_between_versions_of_which_none_is_its_workflow_is_refused() {
    let (problem, message) = only_problem(
        MigrationRegistry::builder()
            .with(IdentityMigration::<V9>::new(order("v1"), order("v2")))
            .build(),
    );
    assert_eq!(
        problem,
        shown(&Problem::WrongIds {
            migration: "order@v1->v2".to_owned(),
            types: (order("v9"), order("v9")),
        })
    );
    assert_eq!(
        message,
        "order@v1->v2 is an identity migration, but neither version is order@v9, the version of its workflow type; use the id of that type"
    );
}

#[test]
fn hops_that_meet_with_different_states_are_refused() {
    let (problem, message) = only_problem(
        MigrationRegistry::builder()
            .with(Step::<V1, InCents>::new())
            .with(Step::<V2, V3>::new())
            .build(),
    );
    assert_eq!(
        problem,
        shown(&Problem::StateMismatch {
            at: order("v2"),
            produces: ("order@v1->v2".to_owned(), "registry::Cents".to_owned()),
            takes: ("order@v2->v3".to_owned(), "registry::Order".to_owned()),
        })
    );
    assert_eq!(
        message,
        "at order@v2, order@v1->v2 produces a `registry::Cents` and order@v2->v3 takes a `registry::Order`; both must be the same type"
    );
}

#[test]
fn every_problem_is_reported_at_once() {
    let error = MigrationRegistry::builder()
        .with(Step::<V1, InCents>::new())
        .with(Step::<V2, V3>::new())
        .with(Step::<V3, V4>::with_ids(order("v3"), order("v9")))
        .with(Step::<Invoice1, Invoice2>::new())
        .with(Step::<Invoice2, Invoice1>::new())
        .with(Step::<Cart1, Cart2>::new())
        .with(Step::<Cart1, Cart2>::new())
        .with(Step::<Offer1, Offer2>::new())
        .with(Step::<Offer3, Offer4>::new())
        .build()
        .unwrap_err();
    assert_eq!(error.problems().len(), 5);
    assert_eq!(
        placeless(&error.to_string()),
        "the migrations have 5 problems:\n\
         - order@v3->v9 has ids that differ from those of its workflow types, order@v3 and order@v4; use these ids\n\
         - duplicate migration: cart@1->2 and cart@1->2; keep one of them\n\
         - the migrations form a cycle: invoice@2025-10-01->2026-04-01, invoice@2026-04-01->2025-10-01; remove one\n\
         - the migrations of offer end at 2 and at 4 instead of a single newest version (offer@1->2, offer@3->4); add the missing migration, or declare with `no_migration!` that processes stay at one of these versions\n\
         - at order@v2, order@v1->v2 produces a `registry::Cents` and order@v2->v3 takes a `registry::Order`; both must be the same type"
    );
}

#[test]
fn a_registry_that_holds_what_is_expected_passes_on() {
    let registry = MigrationRegistry::builder()
        .with(Step::<V1, V2>::new())
        .with(Step::<Invoice1, Invoice2>::new())
        .build()
        .unwrap();
    let all = registry
        .require(["order@v1->v2", "invoice@2025-10-01->2026-04-01"])
        .unwrap();
    assert_eq!(all.migrations().len(), 2);
    assert!(all.require([]).is_ok());
}

#[test]
fn everything_that_is_expected_and_missing_is_named() {
    let registry = MigrationRegistry::builder()
        .with(Step::<V1, V2>::new())
        .with(Step::<Invoice1, Invoice2>::new())
        .build()
        .unwrap();
    let known = strings(&["invoice@2025-10-01->2026-04-01", "order@v1->v2"]);
    let error = registry
        .require([
            "order@v2->v3",
            "order@v1->v2",
            "order: v1 to v2",
            "Order@v1 → order@v2",
        ])
        .unwrap_err();
    assert_eq!(
        placeless(&format!("{:?}", error.problems())),
        format!(
            "{:?}",
            [
                Problem::NotLinked {
                    expected: "order@v2->v3".to_owned(),
                    known: known.clone(),
                },
                Problem::NotLinked {
                    expected: "order: v1 to v2".to_owned(),
                    known: known.clone(),
                },
                Problem::NotLinked {
                    expected: "Order@v1 → order@v2".to_owned(),
                    known,
                },
            ]
        )
    );
    assert_eq!(
        placeless(&error.to_string()),
        "the migrations have 3 problems:\n\
         - the expected migration order@v2->v3 is missing; known migrations: invoice@2025-10-01->2026-04-01, order@v1->v2; if its crate is never named in the source, add `use my_domain as _;` with the name of the crate\n\
         - the expected migration order: v1 to v2 is missing; a migration is written `order@v1->v2`; known migrations: invoice@2025-10-01->2026-04-01, order@v1->v2; if its crate is never named in the source, add `use my_domain as _;` with the name of the crate\n\
         - the expected migration Order@v1 → order@v2 is written in another form; write order@v1->v2"
    );

    let nothing = MigrationRegistry::builder().build().unwrap();
    let (_, message) = only_problem(nothing.require(["order@v1->v2"]));
    assert_eq!(
        message,
        "the expected migration order@v1->v2 is missing; no migrations are linked; if its crate is never named in the source, add `use my_domain as _;` with the name of the crate"
    );
}

#[test]
fn a_fork_whose_second_branch_continues_is_one_problem() {
    let (problem, _) = only_problem(
        MigrationRegistry::builder()
            .with(Step::<V1, V2>::new())
            .with(Step::<V1, V3>::new())
            .with(Step::<V3, V4>::new())
            .build(),
    );
    assert_eq!(
        problem,
        shown(&Problem::Fork {
            source: order("v1"),
            migrations: strings(&["order@v1->v2", "order@v1->v3"])
        })
    );
}

#[test]
fn a_migration_to_its_own_version_is_one_problem_among_good_ones() {
    let (problem, _) = only_problem(
        MigrationRegistry::builder()
            .with(IdentityMigration::<V1>::new(order("v1"), order("v1")))
            .with(Step::<V1, V2>::new())
            .build(),
    );
    assert!(problem.starts_with("SameVersion"), "{problem}");
}

#[test]
fn a_migration_between_types_of_one_version_is_one_problem() {
    let (problem, _) = only_problem(
        MigrationRegistry::builder()
            .with(Step::<V2, InCents>::new())
            .build(),
    );
    assert_eq!(
        problem,
        shown(&Problem::SameVersion {
            migration: "order@v2->v2".to_owned()
        })
    );
}

#[test]
fn a_wrong_name_does_not_hide_where_the_workflow_ends() {
    let (problem, _) = only_problem(
        MigrationRegistry::builder()
            .with(Step::<V1, Invoice1>::new())
            .with(Step::<V2, V3>::new())
            .build(),
    );
    assert!(problem.starts_with("DifferentNames"), "{problem}");
}

#[test]
fn a_migration_that_descends_hides_where_its_workflow_ends() {
    let (problem, _) = only_problem(
        MigrationRegistry::builder()
            .with(Step::<V1, V2>::new())
            .with(Step::<V9, V4>::new())
            .build(),
    );
    assert_eq!(
        problem,
        shown(&Problem::NotAscending {
            migration: "order@v9->v4".to_owned(),
        })
    );
}

#[test]
fn a_migration_to_another_workflow_is_refused() {
    let (problem, message) = only_problem(
        MigrationRegistry::builder()
            .with(Step::<V1, Invoice1>::new())
            .build(),
    );
    assert_eq!(
        problem,
        shown(&Problem::DifferentNames {
            migration: "order@v1->invoice@2025-10-01".to_owned()
        })
    );
    assert!(message.contains("invoice"), "{message}");
}

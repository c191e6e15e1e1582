//! Several definitions of one version, and the schema versions of different states.

use state_migration::{IdentityMigration, MigrationRegistry};

use crate::*;

workflows! {
    V01 = "order" @ "v01" of Order, 3;
    V02 = "order" @ "v02" of Order, 3;
    V002 = "order" @ "v002" of Order, 3;
}

fn plain(text: &str) -> String {
    let text = placeless(text);
    let Some((before, rest)) = text.split_once(" (added at ") else {
        return text;
    };
    let (_, after) = rest.split_once(')').expect("a place ends");
    format!("{before}{after}")
}

#[test]
fn two_states_of_one_schema_version_are_refused() {
    let error = MigrationRegistry::builder()
        .with(Step::<V1, InCentsUnmarked>::new())
        .build()
        .unwrap_err();
    assert_eq!(
        placeless(&error.to_string()),
        "order@v1, a `registry::Order` in order@v1->v2, and order@v2, a `registry::Cents` in order@v1->v2, have different states but the same STATE_SCHEMA_VERSION, 3; give each state its own"
    );
    assert!(
        MigrationRegistry::builder()
            .with(Step::<V1, InCents>::new())
            .build()
            .is_ok()
    );
}

#[test]
fn two_states_of_one_schema_version_are_refused_however_far_apart() {
    let (problem, _) = only_problem(
        MigrationRegistry::builder()
            .with(Step::<InCentsUnmarked, V3>::new())
            .version::<V4>()
            .with(IdentityMigration::<V4>::new(order("v3"), order("v4")))
            .build(),
    );
    assert!(problem.starts_with("SharedSchemaVersion"), "{problem}");
}

#[test]
fn other_workflows_have_schema_versions_of_their_own() {
    assert!(
        MigrationRegistry::builder()
            .with(Step::<Invoice1, Invoice2>::new())
            .version::<InCentsUnmarked>()
            .build()
            .is_ok()
    );
}

#[test]
fn a_version_of_two_states_is_refused() {
    let (_, message) = only_problem(
        MigrationRegistry::builder()
            .with(Step::<V1, V2>::new())
            .version::<InCents>()
            .build(),
    );
    assert_eq!(
        plain(&message),
        "order@v2 is defined more than once: as `registry::InCents` with the state `registry::Cents` and STATE_SCHEMA_VERSION 4 in `registry::InCents`, and as `registry::V2` with the state `registry::Order` and STATE_SCHEMA_VERSION 3 in order@v1->v2; use one workflow type for all of them, or give one of them another VERSION"
    );
}

/// Two types of one version with one state may have other events, and other code for them.
/// To see it fail: compare the states alone.
#[test]
fn a_version_of_two_types_with_one_state_is_refused() {
    struct OtherEvents;
    impl Workflow for OtherEvents {
        const NAME: &'static str = V2::NAME;
        const VERSION: &'static str = V2::VERSION;
        const STATE_SCHEMA_VERSION: u32 = V2::STATE_SCHEMA_VERSION;
        type State = Order;
        type Event = <V2 as Workflow>::Event;
        fn apply(state: Order, _: &Self::Event) -> Order {
            state
        }
    }
    for built in [
        MigrationRegistry::builder()
            .with(Step::<V1, V2>::new())
            .version::<OtherEvents>()
            .build(),
        MigrationRegistry::builder()
            .with(Step::<V1, V2>::new())
            .with(Step::<OtherEvents, V3>::new())
            .build(),
    ] {
        let (problem, message) = only_problem(built);
        assert!(problem.starts_with("SeveralDefinitions"), "{problem}");
        let message = plain(&message);
        assert!(
            message.contains("as `registry::V2` with the state"),
            "{message}"
        );
        assert!(
            message.contains("::OtherEvents` with the state"),
            "{message}"
        );
    }
}

#[test]
fn a_version_that_two_migrations_lead_to_has_one_state() {
    let (problem, _) = only_problem(
        MigrationRegistry::builder()
            .with(Step::<V1, Twice>::new())
            .with(Step::<V2, V3>::new())
            .build(),
    );
    assert!(problem.starts_with("SeveralDefinitions"), "{problem}");
}

#[test]
fn the_other_end_of_an_identity_may_have_a_schema_version_of_its_own() {
    let registry = MigrationRegistry::builder()
        .with(IdentityMigration::<Twice>::new(order("v2"), order("v3")))
        .version::<V2>()
        .build();
    assert!(registry.is_err(), "the states differ: {registry:?}");
    let registry = MigrationRegistry::builder()
        .with(IdentityMigration::<Renumbered>::new(
            order("v2"),
            order("v3"),
        ))
        .version::<V2>()
        .version::<Renumbered>()
        .build();
    assert!(registry.is_ok(), "{registry:?}");
}

#[test]
fn versions_that_differ_only_in_leading_zeros_are_refused() {
    let (problem, message) = only_problem(
        MigrationRegistry::builder()
            .with(Step::<V1, V2>::new())
            .with(Step::<V01, V2>::new())
            .build(),
    );
    assert_eq!(
        problem,
        shown(&Problem::EqualVersions {
            versions: vec![order("v01"), order("v1")],
            named_by: vec!["order@v01->v2".to_owned(), "order@v1->v2".to_owned()],
        })
    );
    assert_eq!(
        message,
        "order@v01, which order@v01->v2 names, and order@v1, which order@v1->v2 names, are equal, because leading zeros do not count; use one spelling, or give one of them a later version"
    );
}

#[test]
fn equal_versions_are_one_problem_wherever_they_are_named() {
    let registered = MigrationRegistry::builder()
        .with(Step::<V1, V2>::new())
        .version::<V02>()
        .version::<V002>();
    let (problem, _) = only_problem(registered.build());
    assert!(problem.starts_with("EqualVersions"), "{problem}");
    let ends = MigrationRegistry::builder()
        .with(Step::<V1, V2>::new())
        .with(Step::<V01, V02>::new());
    let error = ends.build().unwrap_err();
    let two: Vec<bool> = error
        .problems()
        .iter()
        .map(|problem| matches!(problem, Problem::EqualVersions { .. }))
        .collect();
    assert_eq!(two, [true, true], "{error}");
    let (problem, _) = only_problem(
        MigrationRegistry::builder()
            .with(Step::<V01, V1>::new())
            .build(),
    );
    assert!(problem.starts_with("NotAscending"), "{problem}");
    assert!(
        MigrationRegistry::builder()
            .with(Step::<V01, V2>::new())
            .version::<Invoice1>()
            .build()
            .is_ok()
    );
}

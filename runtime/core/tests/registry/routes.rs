//! Consistent migrations: their order, and the route of a process.

use state_migration::{
    Fingerprint, IdentityMigration, MigrationRegistry, StateMigration, VersionStatus,
};

use crate::*;

#[test]
fn migrations_are_sorted_by_name_and_natural_version() {
    let registry = MigrationRegistry::builder()
        .with(Step::<V9, V10>::new())
        .with(Step::<V2, V9>::new())
        .with(Step::<Invoice1, Invoice2>::new())
        .with(Step::<V1, V2>::new())
        .build()
        .unwrap();

    let shown: Vec<String> = registry
        .migrations()
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        shown,
        [
            "invoice@2025-10-01->2026-04-01",
            "order@v1->v2",
            "order@v2->v9",
            "order@v9->v10",
        ]
    );
    assert_eq!(registry.names().collect::<Vec<_>>(), ["invoice", "order"]);
    assert_eq!(registry.newest("order"), Some(&order("v10")));
    assert_eq!(
        registry.newest("invoice"),
        Some(&WorkflowId::of::<Invoice2>())
    );
    assert_eq!(registry.newest("payment"), None);
}

#[test]
fn a_migration_says_what_it_is() {
    let registry = MigrationRegistry::builder()
        .with(Step::<V1, V2>::new())
        .build()
        .unwrap();
    let [migration] = registry.migrations() else {
        panic!("there is one");
    };
    assert_eq!(migration.source(), &order("v1"));
    assert_eq!(migration.target(), &order("v2"));
    assert_eq!(migration.short_name(), "order@v1->v2");
    assert_eq!(migration.target_schema_version(), 3);
    assert_eq!(migration.fingerprint(), Fingerprint::default());
    assert_eq!(migration.defined_at(), None);
}

#[test]
fn a_route_leads_over_every_hop_to_the_newest_version() {
    let registry = MigrationRegistry::builder()
        .with(Step::<V3, V4>::new())
        .with(Step::<V1, V2>::new())
        .with(Step::<V2, V3>::new())
        .build()
        .unwrap();

    let VersionStatus::Behind(route) = registry.version_status(&order("v1")) else {
        panic!("v1 is behind");
    };
    let hops: Vec<String> = route.hops().iter().map(|hop| hop.short_name()).collect();
    assert_eq!(hops, ["order@v1->v2", "order@v2->v3", "order@v3->v4"]);
    assert_eq!(route.source(), &order("v1"));
    assert_eq!(route.target(), &order("v4"));

    let routes: Vec<String> = registry.routes().map(|route| route.to_string()).collect();
    assert_eq!(
        routes,
        [
            "order@v1 -> v2 -> v3 -> v4",
            "order@v2 -> v3 -> v4",
            "order@v3 -> v4",
        ]
    );
}

#[test]
fn versions_that_lead_to_one_newest_version_each_have_their_route() {
    let registry = MigrationRegistry::builder()
        .with(Step::<V1, V3>::new())
        .with(Step::<V2, V3>::new())
        .build()
        .unwrap();
    let routes: Vec<String> = registry.routes().map(|route| route.to_string()).collect();
    assert_eq!(routes, ["order@v1 -> v3", "order@v2 -> v3"]);
}

#[test]
fn the_status_of_a_version_follows_from_the_migrations() {
    let registry = MigrationRegistry::builder()
        .with(Step::<V1, V2>::new())
        .build()
        .unwrap();
    assert!(matches!(
        registry.version_status(&order("v1")),
        VersionStatus::Behind(_)
    ));
    assert!(matches!(
        registry.version_status(&order("v2")),
        VersionStatus::Newest
    ));
    assert!(matches!(
        registry.version_status(&order("v0")),
        VersionStatus::NoRoute
    ));
    assert!(matches!(
        registry.version_status(&order("v3")),
        VersionStatus::NoRoute
    ));
    // Equal as a number, but not the same version.
    assert!(matches!(
        registry.version_status(&order("v02")),
        VersionStatus::NoRoute
    ));
    assert!(matches!(
        registry.version_status(&WorkflowId::of::<Invoice1>()),
        VersionStatus::OtherWorkflow
    ));
}

#[test]
fn a_registry_without_migrations_knows_no_workflow() {
    let registry = MigrationRegistry::builder().build().unwrap();
    assert!(registry.migrations().is_empty());
    assert_eq!(registry.names().count(), 0);
    assert_eq!(registry.routes().count(), 0);
    assert!(matches!(
        registry.version_status(&order("v1")),
        VersionStatus::OtherWorkflow
    ));
}

#[test]
fn an_identity_may_be_of_either_of_its_versions() {
    for (source, target) in [("v1", "v2"), ("v2", "v3")] {
        let identity = IdentityMigration::<V2>::new(order(source), order(target));
        assert_eq!(identity.source_workflow_id(), &order(source));
        assert_eq!(identity.target_workflow_id(), &order(target));
        assert_eq!(identity.fingerprint(), Fingerprint::default());
        assert_eq!(StateMigration::defined_at(&identity), None);
        let state = Order { total: 7 };
        assert_eq!(identity.migrate(state.clone()).unwrap(), state);

        let registry = MigrationRegistry::builder().with(identity).build().unwrap();
        assert_eq!(registry.newest("order"), Some(&order(target)));
    }
}

#[test]
fn identities_join_with_other_hops() {
    let registry = MigrationRegistry::builder()
        .with(IdentityMigration::<V2>::new(order("v2"), order("v3")))
        .with(Step::<V1, V2>::new())
        .with(IdentityMigration::<V4>::new(order("v3"), order("v4")))
        .build()
        .unwrap();
    let routes: Vec<String> = registry.routes().map(|route| route.to_string()).collect();
    assert_eq!(routes[0], "order@v1 -> v2 -> v3 -> v4");
}

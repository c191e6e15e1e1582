//! A crate that owns neither workflow has detached migrations.

#![deny(warnings)]

use state_migration::{MigrationRegistry, identity_migration, state_migration};
use state_migration_ui_tests::{ForeignState, ForeignV1, ForeignV2, ForeignV3};

#[state_migration(from = ForeignV1, to = ForeignV2, detached)]
fn foreign_v1_to_v2(old: ForeignState) -> ForeignState {
    old
}

identity_migration!(ForeignV2 => ForeignV3, detached, note = "the same state");

fn main() {
    let registry = MigrationRegistry::linked().unwrap();
    let [function, identity] = registry.migrations() else {
        panic!("there are two migrations");
    };
    assert!(function.is_detached());
    assert_eq!(function.note(), None);
    assert!(identity.is_detached());
    assert_eq!(identity.note(), Some("the same state"));
}

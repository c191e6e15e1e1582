//! Migrations of another crate's workflows, in edition 2021, with the dependency
//! `state-migration` under another name.

#![deny(
    warnings,
    missing_docs,
    unused_qualifications,
    clippy::pedantic,
    clippy::nursery
)]
#![forbid(unsafe_code)]

use migrate::{identity_migration, register_workflow, state_migration};
use state_migration_ui_tests::{ForeignState, ForeignV1, ForeignV2, ForeignV3};

/// Keeps what is a whole amount.
///
/// # Errors
/// There are cents.
#[state_migration(from = ForeignV1, to = ForeignV2, crate = ::migrate, detached)]
pub fn foreign_v1_to_v2(old: ForeignState) -> Result<ForeignState, String> {
    if old.total.is_multiple_of(100) {
        Ok(old)
    } else {
        Err(format!("{} cents are left", old.total % 100))
    }
}

identity_migration!(ForeignV2 => ForeignV3, detached);
register_workflow!(ForeignV3);

/// A word that is a keyword in a later edition.
#[state_migration(
    from = ForeignV3, to = ForeignV2, crate = ::migrate, undo, detached
)]
#[must_use]
pub const fn gen(new: ForeignState) -> ForeignState {
    new
}

#[cfg(any())]
migrate::no_migration!(ForeignV1, reason = "configured away");

/// A way back, in a module.
pub mod back {
    use super::{state_migration, ForeignState, ForeignV1, ForeignV2};

    /// Nothing changed.
    #[state_migration(
        from = ForeignV2,
        to = ForeignV1,
        crate = migrate,
        name = Back,
        undo,
        detached,
        note = "nothing to do",
    )]
    #[must_use]
    pub const fn foreign_v2_to_v1(new: ForeignState) -> ForeignState {
        new
    }
}

#[cfg(test)]
mod tests {
    use migrate::{MigrationRegistry, StateMigration};

    use super::*;

    #[test]
    fn a_crate_of_an_older_edition_has_migrations_under_another_name_of_the_runtime() {
        let whole = ForeignState { total: 700 };
        let moved = ForeignV1ToV2Migration.migrate(whole.clone()).ok();
        assert_eq!(moved, Some(whole.clone()));
        assert_eq!(back::Back.migrate(whole.clone()).ok(), Some(whole.clone()));
        assert_eq!(GenMigration.migrate(gen(whole.clone())).ok(), Some(whole));
        let refused = foreign_v1_to_v2(ForeignState { total: 701 });
        assert_eq!(refused, Err("1 cents are left".to_owned()));

        let registry = MigrationRegistry::builder()
            .with(ForeignV1ToV2Migration)
            .build();
        let registry = registry.map_err(|error| error.to_string());
        assert_eq!(registry.map(|all| all.migrations().len()), Ok(1));
        migrate::no_migration!(ForeignV1, reason = "in a body");
    }
}

//! The migrations that a runner can be given.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::migration::StateMigration;
use crate::registry::{Migration, MigrationRegistry, RegistryError};
use crate::workflow::Workflow;

mod sealed {
    pub trait Sealed {}
}

/// The migrations of a runner: one [`StateMigration`], or a whole
/// [`MigrationRegistry`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` is neither a migration nor a registry of migrations",
    label = "expected a `StateMigration` or a `MigrationRegistry`",
    note = "pass `MigrationRegistry::linked()?`, or what `MigrationRegistry::builder()` gives after `build()?`, or the struct of one migration: `OrderV1ToV2Migration` for the function `order_v1_to_v2`"
)]
pub trait Migrations: sealed::Sealed {
    #[doc(hidden)]
    fn into_registry(self) -> Result<MigrationRegistry, RegistryError>;
}

impl sealed::Sealed for MigrationRegistry {}

impl Migrations for MigrationRegistry {
    fn into_registry(self) -> Result<MigrationRegistry, RegistryError> {
        Ok(self)
    }
}

impl<M: StateMigration> sealed::Sealed for M {}

impl<M: StateMigration> Migrations for M
where
    <M::FromWorkflow as Workflow>::State: DeserializeOwned,
    <M::ToWorkflow as Workflow>::State: Serialize,
{
    fn into_registry(self) -> Result<MigrationRegistry, RegistryError> {
        MigrationRegistry::of(Migration::of(self))
    }
}

//! What the programs of this package do with their registry.

use std::process::ExitCode;

use state_migration::{MigrationRegistry, RegistryError};

/// Says what is wrong.
#[must_use]
pub fn tell(registry: Result<MigrationRegistry, RegistryError>) -> ExitCode {
    match registry {
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

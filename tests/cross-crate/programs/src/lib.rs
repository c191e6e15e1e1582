//! The code that the programs of this package share: they print their registry.

use std::process::ExitCode;

use state_migration::{MigrationRegistry, RegistryError};

/// Says what is wrong, and draws what is linked all the same.
#[must_use]
pub fn tell(registry: Result<MigrationRegistry, RegistryError>) -> ExitCode {
    match registry {
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            print!("{}", MigrationRegistry::drawing_of_linked().to_mermaid());
            ExitCode::FAILURE
        }
    }
}

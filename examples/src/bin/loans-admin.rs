//! The operator's tool for the loans.

use std::process::ExitCode;

use state_migration::cli::Cli;
use state_migration_examples::predicates::predicates;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    Cli::new().predicates(predicates()).main()
}

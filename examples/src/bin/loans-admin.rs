//! The operator's tool for the loans.

use std::process::ExitCode;

use state_migration_examples as _;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    state_migration::cli::main()
}

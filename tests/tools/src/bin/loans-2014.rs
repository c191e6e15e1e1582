//! The operator's tool for the release 2014 of the loans.

use std::process::ExitCode;

#[path = "../release_2014/migration.rs"]
mod migration;
#[path = "../release_2014/mod.rs"]
mod release_2014;

fn main() -> ExitCode {
    state_migration::cli::main()
}

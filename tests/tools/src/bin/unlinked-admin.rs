//! The operator's tool for nothing: no crate with migrations is named here.

use std::process::ExitCode;

fn main() -> ExitCode {
    state_migration::cli::main()
}

//! Depends on the crate of the migrations, and never names it.

use std::process::ExitCode;

use shop_workflows::OrderV3;
use state_migration::{MigrationRegistry, Workflow};

fn main() -> ExitCode {
    println!("new orders begin under {}", OrderV3::VERSION);
    match MigrationRegistry::linked() {
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

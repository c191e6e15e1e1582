//! A newer version than all that migrations lead to.

use std::process::ExitCode;

use shop_migrations as _;
use shop_workflows::OrderV4;
use state_migration::{MigrationRegistry, register_workflow};

register_workflow!(OrderV4);

fn main() -> ExitCode {
    shop_programs::tell(MigrationRegistry::linked())
}

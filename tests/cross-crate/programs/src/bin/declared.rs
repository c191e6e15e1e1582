//! A newer version than all that migrations lead to, and the decision to leave the others there.

use std::process::ExitCode;

use shop_migrations as _;
use shop_workflows::{OrderV3, OrderV4};
use state_migration::{MigrationRegistry, no_migration, register_workflow};

register_workflow!(OrderV4);
no_migration!(OrderV3, reason = "all are over in a week");

fn main() -> ExitCode {
    shop_programs::tell(MigrationRegistry::linked())
}

//! A migration that leaves out a version, beside those over it.

use std::process::ExitCode;

use shop_migrations as _;
use shop_workflows::{OrderStateV1, OrderStateV3, OrderV1, OrderV3};
use state_migration::{MigrationRegistry, state_migration};

#[state_migration(from = OrderV1, to = OrderV3, detached)]
fn shortcut(old: OrderStateV1) -> OrderStateV3 {
    OrderStateV3 {
        net_cents: old.euro,
    }
}

fn main() -> ExitCode {
    shop_programs::tell(MigrationRegistry::linked())
}

//! A second migration between two versions, which is not seen before the crates meet.

use std::process::ExitCode;

use shop_migrations as _;
use shop_workflows::{OrderStateV1, OrderStateV2, OrderV1, OrderV2};
use state_migration::{MigrationRegistry, state_migration};

#[state_migration(from = OrderV1, to = OrderV2, detached)]
fn again(old: OrderStateV1) -> OrderStateV2 {
    OrderStateV2 { cents: old.euro }
}

fn main() -> ExitCode {
    shop_programs::tell(MigrationRegistry::linked())
}

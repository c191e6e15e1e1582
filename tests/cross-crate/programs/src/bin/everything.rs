//! Several mistakes at once.

use std::process::ExitCode;

use shop_migrations as _;
use shop_workflows::{
    Cart3, Cart4, CartState3, CartState4, OrderStateV1, OrderStateV2, OrderV1, OrderV2, OrderV4,
};
use state_migration::{MigrationRegistry, register_workflow, state_migration};

register_workflow!(OrderV4);

#[state_migration(from = OrderV1, to = OrderV2, detached)]
fn again(old: OrderStateV1) -> OrderStateV2 {
    OrderStateV2 { cents: old.euro }
}

#[state_migration(from = Cart3, to = Cart4, detached)]
fn after_the_gap(old: CartState3) -> CartState4 {
    CartState4 { cents: old.cents }
}

fn main() -> ExitCode {
    shop_programs::tell(MigrationRegistry::linked())
}

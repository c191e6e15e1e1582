#![deny(warnings)]

use state_migration::state_migration;
use state_migration_ui_tests::{OrderV1, OrderV2};

struct StateV1;
struct StateV2;

#[state_migration(from = OrderV1; to = OrderV2)]
fn order_v1_to_v2(_: StateV1) -> StateV2 {
    StateV2
}

fn main() {}

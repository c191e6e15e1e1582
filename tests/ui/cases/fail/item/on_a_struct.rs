#![deny(warnings)]

use state_migration::state_migration;
use state_migration_ui_tests::{OrderV1, OrderV2};

struct StateV1;
struct StateV2;

#[state_migration(from = OrderV1, to = OrderV2)]
struct OrderV1ToV2 {
    net: u64,
}

fn main() {}

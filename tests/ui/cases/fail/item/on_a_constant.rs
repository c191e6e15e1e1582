#![deny(warnings)]

use state_migration::state_migration;
use state_migration_ui_tests::{OrderV1, OrderV2};

struct StateV1;
struct StateV2;

#[state_migration(from = OrderV1, to = OrderV2)]
const ORDER_V1_TO_V2: fn(StateV1) -> StateV2 = |_| StateV2;

fn main() {}

#![deny(warnings)]

use state_migration::migration_chain;
use state_migration_ui_tests::{OrderV1, OrderV2, OrderV3};

migration_chain!(OrderV1 => OrderV2, OrderV3);

fn main() {}

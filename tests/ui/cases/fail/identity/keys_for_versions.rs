#![deny(warnings)]

use state_migration::identity_migration;
use state_migration_ui_tests::{OrderV1, OrderV2};

identity_migration!(from = OrderV1, to = OrderV2);

fn main() {}

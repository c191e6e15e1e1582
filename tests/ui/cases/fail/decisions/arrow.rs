#![deny(warnings)]

use state_migration::no_migration;
use state_migration_ui_tests::{OrderV1, OrderV2};

no_migration!(OrderV1 => OrderV2, reason = "never deployed");

fn main() {}

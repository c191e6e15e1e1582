#![deny(warnings)]

use state_migration::identity_migration;
use state_migration_ui_tests::{OrderV1, OrderV2};

const NOTE: &str = "the same state";

identity_migration!(OrderV1 => OrderV2, note = NOTE);

fn main() {}

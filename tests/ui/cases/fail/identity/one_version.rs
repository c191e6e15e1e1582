#![deny(warnings)]

use state_migration::identity_migration;
use state_migration_ui_tests::OrderV1;

identity_migration!(OrderV1);

fn main() {}

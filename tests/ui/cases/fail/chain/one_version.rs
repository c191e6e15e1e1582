#![deny(warnings)]

use state_migration::migration_chain;
use state_migration_ui_tests::OrderV1;

migration_chain!(OrderV1);

fn main() {}

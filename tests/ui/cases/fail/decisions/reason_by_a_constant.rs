#![deny(warnings)]

use state_migration::no_migration;
use state_migration_ui_tests::OrderV1;

const REASON: &str = "never deployed";

no_migration!(OrderV1, reason = REASON);

fn main() {}

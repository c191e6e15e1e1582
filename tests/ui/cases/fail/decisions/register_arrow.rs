#![deny(warnings)]

use state_migration::register_workflow;
use state_migration_ui_tests::{OrderV1, OrderV2};

register_workflow!(OrderV1 => OrderV2);

fn main() {}

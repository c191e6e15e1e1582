use state_migration::identity_migration;
use state_migration_ui_tests::{ForeignV1, ForeignV2};

identity_migration!(ForeignV1 => ForeignV2);

fn main() {}

use state_migration::state_migration;
use state_migration_ui_tests::{ForeignState, ForeignV1, ForeignV2};

#[state_migration(from = ForeignV1, to = ForeignV2)]
fn foreign_v1_to_v2(old: ForeignState) -> ForeignState {
    old
}

fn main() {}

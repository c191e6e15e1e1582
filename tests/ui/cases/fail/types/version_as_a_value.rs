use state_migration::MigrationRegistry;
use state_migration_ui_tests::OrderV1;

fn main() {
    let _ = MigrationRegistry::builder().version(OrderV1).build();
}

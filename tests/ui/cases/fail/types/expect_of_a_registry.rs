use state_migration::MigrationRegistry;

fn main() {
    let registry = MigrationRegistry::linked().unwrap();
    let _ = registry.expect("order@v1->v2");
}

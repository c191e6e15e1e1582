use state_migration::state_migration;

include!("../../workflows.rs");

#[state_migration(from = OrderV1, to = OrderV2)]
fn order_v1_to_v2(_: Vec<StateV1>) -> StateV2 {
    StateV2
}

fn main() {
    use state_migration::{MigrationRegistry, StateMigration};
    let StateV2 = order_v1_to_v2(Vec::new());
    let StateV2 = OrderV1ToV2Migration.migrate(StateV1).unwrap();
    MigrationRegistry::builder()
        .with(OrderV1ToV2Migration)
        .build()
        .unwrap();
}

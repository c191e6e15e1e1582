use state_migration::state_migration;

include!("../../workflows.rs");

#[state_migration(from = OrderV1, to = OrderV2)]
extern "C" fn order_v1_to_v2(_: StateV1) -> StateV2 {
    StateV2
}

fn main() {
    use state_migration::{MigrationRegistry, StateMigration};
    let StateV2 = order_v1_to_v2(StateV1);
    let StateV2 = OrderV1ToV2Migration.migrate(StateV1).unwrap();
    MigrationRegistry::builder()
        .with(OrderV1ToV2Migration)
        .build()
        .unwrap();
}

use state_migration::{MigrationRegistry, state_migration};

include!("../../workflows.rs");

#[state_migration(from = OrderV1, to = OrderV2)]
fn order_v1_to_v2(_: StateV1) -> StateV2 {
    StateV2
}

fn main() {
    let _ = MigrationRegistry::builder().with(OrderV1ToV2).build();
}

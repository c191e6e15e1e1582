use state_migration::{migration_chain, state_migration};

include!("../../workflows.rs");

#[state_migration(from = OrderV1, to = OrderV2)]
fn order_v1_to_v2(_: StateV1) -> StateV2 {
    StateV2
}

fn migrate() {
    let _ = migration_chain!(OrderV1 => OrderV2);
}

fn main() {}

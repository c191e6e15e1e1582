use state_migration::{state_migration, state_migration as moves};

include!("../../workflows.rs");

#[state_migration(from = OrderV1, to = OrderV2)]
#[moves(from = OrderV2, to = OrderV1, undo)]
fn order_v1_to_v2(_: StateV1) -> StateV2 {
    StateV2
}

fn main() {}

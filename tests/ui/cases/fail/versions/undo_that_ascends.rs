use state_migration::state_migration;

include!("../../workflows.rs");

#[state_migration(from = OrderV1, to = OrderV2, undo)]
fn order_v2_to_v1(_: StateV1) -> StateV2 {
    StateV2
}

fn main() {}

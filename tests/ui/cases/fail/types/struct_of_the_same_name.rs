use state_migration::state_migration;

include!("../../workflows.rs");

#[state_migration(from = OrderV1, to = OrderV2, name = Move)]
fn order_v1_to_v2(_: StateV1) -> StateV2 {
    StateV2
}

#[state_migration(from = OrderV2, to = OrderV1, undo, name = Move)]
fn order_v2_to_v1(_: StateV2) -> StateV1 {
    StateV1
}

fn main() {}

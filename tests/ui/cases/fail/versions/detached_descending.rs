use state_migration::state_migration;

include!("../../workflows.rs");

#[state_migration(from = OrderV2, to = OrderV1, detached)]
fn order_v2_to_v1(_: StateV2) -> StateV1 {
    StateV1
}

fn main() {}

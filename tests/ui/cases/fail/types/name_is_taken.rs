use state_migration::state_migration;

include!("../../workflows.rs");

struct ToCents;

#[state_migration(from = OrderV1, to = OrderV2, name = ToCents)]
fn order_v1_to_v2(_: StateV1) -> StateV2 {
    StateV2
}

fn main() {}

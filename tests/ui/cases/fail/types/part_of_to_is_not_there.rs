use state_migration::state_migration;

include!("../../workflows.rs");

struct Order<V>(V);

#[state_migration(from = OrderV1, to = Order<NotImported>)]
fn order_v1_to_v2(_: StateV1) -> StateV2 {
    StateV2
}

fn main() {}

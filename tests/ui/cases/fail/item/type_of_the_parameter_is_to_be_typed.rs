use state_migration::state_migration;

include!("../../workflows.rs");

#[state_migration(from = OrderV1, to = OrderV2)]
fn order_v1_to_v2(_: ) -> StateV2 {
    StateV2
}

fn main() {
    let _ = order_v1_to_v2(StateV1);
    let _ = OrderV1ToV2Migration;
}

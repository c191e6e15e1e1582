use state_migration::state_migration;

include!("../../workflows.rs");

#[state_migration(form = OrderV1, to = OrderV2)]
pub(crate) fn order_v1_to_v2(_: StateV1) -> StateV2 {
    StateV2
}

fn main() {
    let StateV2 = order_v1_to_v2(StateV1);
    let _ = OrderV1ToV2Migration;
}

use state_migration::state_migration;

include!("../../workflows.rs");

struct View<'a>(&'a u8);

#[state_migration(from = View, to = OrderV2)]
fn order_v1_to_v2(_: StateV1) -> StateV2 {
    StateV2
}

fn main() {}

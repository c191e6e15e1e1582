use state_migration::state_migration;

include!("../../workflows.rs");

type Latest = OrderV1;

#[state_migration(from = OrderV1, to = Latest)]
fn order_v1_to_v2(old: StateV1) -> StateV1 {
    old
}

fn main() {}

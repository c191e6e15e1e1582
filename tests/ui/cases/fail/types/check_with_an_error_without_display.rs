use state_migration::state_migration;

include!("../../workflows.rs");

struct Bad;

fn is_kept(_: &StateV1, _: &StateV2) -> Result<(), Bad> {
    Ok(())
}

#[state_migration(from = OrderV1, to = OrderV2, check = is_kept)]
fn order_v1_to_v2(_: StateV1) -> StateV2 {
    StateV2
}

fn main() {}

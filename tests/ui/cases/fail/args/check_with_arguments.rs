use state_migration::state_migration;

struct StateV1;
struct StateV2;

#[state_migration(from = OrderV1, to = OrderV2, check = totals_are_kept(1))]
fn order_v1_to_v2(_: StateV1) -> StateV2 {
    StateV2
}

fn main() {}

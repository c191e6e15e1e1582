use state_migration::state_migration;

struct StateV1;
struct StateV2;
struct OrderV1;
struct OrderV2;

#[state_migration(from = OrderV1, to = OrderV2)]
fn order_v1_to_v2(old: StateV1, n) -> StateV2 {
    StateV2
}

fn main() {}

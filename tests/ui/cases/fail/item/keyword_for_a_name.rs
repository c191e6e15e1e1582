use state_migration::state_migration;

struct StateV1;
struct StateV2;
struct OrderV1;
struct OrderV2;

#[state_migration(from = OrderV1, to = OrderV2)]
fn Self(old: StateV1) -> StateV2 {
    StateV2
}

fn main() {}

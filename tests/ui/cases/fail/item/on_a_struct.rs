use state_migration::state_migration;

struct StateV1;
struct StateV2;

#[state_migration(from = OrderV1, to = OrderV2)]
struct OrderV1ToV2 {
    net: u64,
}

fn main() {}

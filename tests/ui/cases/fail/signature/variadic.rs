use state_migration::state_migration;

struct StateV1;
struct StateV2;

#[state_migration(from = OrderV1, to = OrderV2)]
unsafe extern "C" fn order_v1_to_v2(_: StateV1, _: ...) -> StateV2 {
    StateV2
}

fn main() {}

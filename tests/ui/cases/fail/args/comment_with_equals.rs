use state_migration::state_migration;

struct StateV1;
struct StateV2;

#[ /* was: from = OrderV0 */ state_migration(form = OrderV1, to = OrderV2)]
fn order_v1_to_v2(_: StateV1) -> StateV2 {
    StateV2
}

fn main() {}

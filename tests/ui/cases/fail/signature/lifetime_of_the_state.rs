use state_migration::state_migration;

struct OrderV1;
struct OrderV2;
struct StateV1;
struct StateV2;

#[state_migration(from = OrderV1, to = OrderV2)]
fn order_v1_to_v2<'a>(_: &'a StateV1) -> StateV2 {
    StateV2
}

fn main() {}

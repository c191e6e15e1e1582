use state_migration::state_migration;

struct StateV1;
struct StateV2;
struct Order<S>(S);
struct OrderV2;

#[state_migration(source = Order, to = OrderV2)]
fn order_v1_to_v2(_: StateV1) -> StateV2 {
    StateV2
}

fn main() {}

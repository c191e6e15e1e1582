use state_migration::state_migration;

struct StateV1;
struct StateV2;

mod orders {
    pub struct OrderV1;
}

struct OrderV2;

#[state_migration(orders::OrderV1, to = OrderV2)]
fn order_v1_to_v2(_: StateV1) -> StateV2 {
    StateV2
}

fn main() {}

#![deny(warnings)]

use state_migration::state_migration;

use orders::{OrderV1, OrderV2};

mod orders {
    pub struct OrderV1;
    pub struct OrderV2;
}

struct StateV1;
struct StateV2;

#[state_migration(form = OrderV1, to = OrderV2)]
async fn order_v1_to_v2(_: &StateV1) -> StateV2 {
    StateV2
}

fn main() {}

use state_migration::state_migration;

struct StateV1;
struct StateV2;
struct OrderV1;
struct OrderV2;

impl OrderV1 {
    #[state_migration(source = OrderV1, to = OrderV2)]
    fn v1_to_v2(_: StateV1) -> StateV2 {
        StateV2
    }
}

fn main() {}

use state_migration::state_migration;

struct StateV1;
struct StateV2;
struct Order<T>(T);
struct OrderV2;

impl<T> Order<T> {
    #[state_migration(from = Order<T>, to = OrderV2)]
    fn v1_to_v2(self, _: StateV1) -> StateV2 {
        StateV2
    }
}

fn main() {}

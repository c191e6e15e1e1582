use state_migration::state_migration;

struct StateV1;
struct StateV2;

unsafe extern "C" {
    #[state_migration(source = OrderV1, to = OrderV2)]
    fn order_v1_to_v2(old: StateV1) -> StateV2;
}

fn main() {}

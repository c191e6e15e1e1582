use state_migration::state_migration;

include!("../../workflows.rs");

macro_rules! migrate {
    ($from:ty, $to:ty) => {
        #[state_migration(from = $from, to = $to)]
        fn order_v1_to_v2(_: StateV2) -> StateV1 {
            StateV1
        }
    };
}

migrate!(OrderV2, OrderV1);

fn main() {}

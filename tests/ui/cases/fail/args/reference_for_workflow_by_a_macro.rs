use state_migration::state_migration;

include!("../../workflows.rs");

macro_rules! migrate {
    ($from:ty, $to:ty) => {
        #[state_migration(from = $from, to = $to)]
        fn order_v1_to_v2(_: StateV1) -> StateV2 {
            StateV2
        }
    };
}

migrate!(OrderV1, &OrderV2);

fn main() {}

use state_migration::state_migration;

include!("../../workflows.rs");

macro_rules! migrate {
    ($takes:ty => $gives:ty) => {
        #[state_migration(from = OrderV1, to = OrderV2)]
        fn order_v1_to_v2(_: $takes) -> $gives {
            todo!()
        }
    };
}

migrate!(Vec<StateV1> => Option<StateV2>);

fn main() {}

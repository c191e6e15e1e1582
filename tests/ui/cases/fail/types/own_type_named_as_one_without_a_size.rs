use state_migration::state_migration;

include!("../../workflows.rs");

mod own {
    use super::{OrderV1, OrderV2, StateV1, StateV2, state_migration};

    #[allow(non_camel_case_types)]
    type str = StateV1;

    #[state_migration(from = OrderV1, to = OrderV2)]
    fn order_v1_to_v2(_: str) -> StateV2 {
        StateV2
    }
}

fn main() {}

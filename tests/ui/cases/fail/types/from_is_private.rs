use state_migration::state_migration;

include!("../../workflows.rs");

mod orders {
    use super::*;

    struct V1;

    impl Workflow for V1 {
        const NAME: &'static str = "order";
        const VERSION: &'static str = "v1";
        type State = StateV1;
        type Event = OrderEvent;

        fn apply(state: StateV1, _: &OrderEvent) -> StateV1 {
            state
        }
    }
}

#[state_migration(from = orders::V1, to = OrderV2)]
fn order_v1_to_v2(_: StateV1) -> StateV2 {
    StateV2
}

fn main() {}

use state_migration::{identity_migration, state_migration};

include!("../../event.rs");

#[derive(Default, Clone, Serialize, Deserialize)]
struct State;

struct OrderV1;
struct OrderV2;

impl Workflow for OrderV1 {
    const NAME: &'static str = "order";
    const VERSION: &'static str = "v1";
    type State = State;
    type Event = OrderEvent;

    fn apply(state: State, _: &OrderEvent) -> State {
        state
    }
}

impl Workflow for OrderV2 {
    const NAME: &'static str = "order";
    const VERSION: &'static str = "v2";
    type State = State;
    type Event = OrderEvent;

    fn apply(state: State, _: &OrderEvent) -> State {
        state
    }
}

identity_migration!(OrderV1 => OrderV2);

#[state_migration(from = OrderV1, to = OrderV2)]
fn order_v1_to_v2(state: State) -> State {
    state
}

fn main() {}

use state_migration::state_migration;

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

#[state_migration(from = OrderV2, to = OrderV1)]
fn order_v1_to_v2(old: State) -> State {
    old
}

fn main() {}

use state_migration::identity_migration;

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

identity_migration!(OrderV1 => OrderV1);

fn main() {}

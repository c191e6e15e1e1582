use serde::{Deserialize, Serialize};
use state_migration::{EventPayload, Workflow, identity_migration};

#[derive(Serialize, Deserialize)]
enum OrderEvent {
    Placed,
}

impl EventPayload for OrderEvent {
    fn event_type(&self) -> &'static str {
        "OrderPlaced"
    }
}

#[derive(Default, Clone, Serialize, Deserialize)]
struct State {
    status: &'static str,
}

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

fn main() {}

use serde::{Deserialize, Serialize};
use state_migration::{EventPayload, Workflow, no_migration};

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
struct StateV1;

struct OrderV1;

impl Workflow for OrderV1 {
    const NAME: &'static str = "order";
    const VERSION: &'static str = "v1";
    type State = StateV1;
    type Event = OrderEvent;

    fn apply(state: StateV1, _: &OrderEvent) -> StateV1 {
        state
    }
}

no_migration!(StateV1, reason = "never deployed");

fn main() {}

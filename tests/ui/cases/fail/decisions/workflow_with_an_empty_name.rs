use state_migration::register_workflow;

include!("../../event.rs");

#[derive(Default, Clone, Serialize, Deserialize)]
struct StateV1;

#[derive(Default, Clone, Serialize, Deserialize)]
struct StateV2;

struct OrderV1;
struct OrderV2;

impl Workflow for OrderV1 {
    const NAME: &'static str = "";
    const VERSION: &'static str = "v1";
    type State = StateV1;
    type Event = OrderEvent;

    fn apply(state: StateV1, _: &OrderEvent) -> StateV1 {
        state
    }
}

impl Workflow for OrderV2 {
    const NAME: &'static str = "order";
    const VERSION: &'static str = "v2";
    const STATE_SCHEMA_VERSION: u32 = 2;
    type State = StateV2;
    type Event = OrderEvent;

    fn apply(state: StateV2, _: &OrderEvent) -> StateV2 {
        state
    }
}

register_workflow!(OrderV1, OrderV2);

fn main() {}

use state_migration::register_workflow;

include!("../../event.rs");

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

register_workflow!(OrderV1, StateV1);

fn main() {}

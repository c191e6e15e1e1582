use state_migration::no_migration;

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

no_migration!(StateV1, reason = "never deployed");

fn main() {}

use state_migration::identity_migration;

include!("../../event.rs");

#[derive(Default, Clone, Serialize, Deserialize)]
struct StateV1;

struct OrderV1;
struct OrderV2;

impl Workflow for OrderV1 {
    const NAME: &'static str = "order";
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
    type State = StateV1;
    type Event = OrderEvent;

    fn apply(state: StateV1, _: &OrderEvent) -> StateV1 {
        state
    }
}

fn migrate() {
    let _ = identity_migration!(OrderV1 => OrderV2);
}

fn main() {}

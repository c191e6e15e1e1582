use state_migration::{migration_chain, state_migration};

include!("../../event.rs");

#[derive(Default, Clone, Serialize, Deserialize)]
struct StateV1;

#[derive(Default, Clone, Serialize, Deserialize)]
struct StateV2;

#[derive(Default, Clone, Serialize, Deserialize)]
struct StateV3;

struct OrderV1;
struct OrderV2;
struct OrderV3;

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
    type State = StateV2;
    type Event = OrderEvent;

    fn apply(state: StateV2, _: &OrderEvent) -> StateV2 {
        state
    }
}

impl Workflow for OrderV3 {
    const NAME: &'static str = "order";
    const VERSION: &'static str = "v3";
    const STATE_SCHEMA_VERSION: u32 = 3;
    type State = StateV3;
    type Event = OrderEvent;

    fn apply(state: StateV3, _: &OrderEvent) -> StateV3 {
        state
    }
}

#[state_migration(from = OrderV1, to = OrderV2)]
fn order_v1_to_v2(_: StateV1) -> StateV2 {
    StateV2
}

migration_chain!(OrderV1 => OrderV2 => OrderV3);

fn main() {}

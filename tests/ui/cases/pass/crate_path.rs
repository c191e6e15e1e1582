//! The runtime crate by the path of a module that re-exports it.

use crate::facade::runtime::{EventPayload, MigrationRegistry, Workflow};
use serde::{Deserialize, Serialize};

mod facade {
    pub(crate) mod migrations {
        pub use state_migration as runtime;
    }
    pub use migrations::runtime;
}

#[derive(Serialize, Deserialize)]
enum OrderEvent {
    Placed,
}

impl EventPayload for OrderEvent {
    fn event_type(&self) -> &'static str {
        "OrderPlaced"
    }
}

#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
struct StateV1 {
    total: u64,
}

#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
struct StateV2 {
    cents: u64,
}

#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
struct StateV3 {
    net: u64,
}

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

#[facade::runtime::state_migration(from = OrderV1, to = OrderV2, crate = crate::facade::runtime)]
fn order_v1_to_v2(old: StateV1) -> StateV2 {
    StateV2 { cents: old.total }
}

mod absolute {
    use super::*;

    #[::state_migration::state_migration(crate = ::state_migration, to = OrderV3, from = OrderV2,)]
    fn order_v2_to_v3(old: StateV2) -> StateV3 {
        StateV3 { net: old.cents }
    }
}

fn main() {
    let registry = MigrationRegistry::linked().unwrap();
    let routes: Vec<String> = registry.routes().map(|route| route.to_string()).collect();
    assert_eq!(routes, ["order@v1 -> v2 -> v3", "order@v2 -> v3"]);
}

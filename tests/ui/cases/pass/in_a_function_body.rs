//! A migration may be in a body, of workflows that are not, and of ones that are.

#![deny(warnings)]
#![allow(dead_code)]

use serde::{Deserialize, Serialize};
use state_migration::{EventPayload, MigrationRegistry, StateMigration, Workflow, state_migration};

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
    type State = StateV2;
    type Event = OrderEvent;

    fn apply(state: StateV2, _: &OrderEvent) -> StateV2 {
        state
    }
}

fn main() {
    #[state_migration(from = OrderV1, to = OrderV2)]
    fn order_v1_to_v2(old: StateV1) -> StateV2 {
        StateV2 { cents: old.total }
    }

    #[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
    struct Local;

    struct LocalV3;

    impl Workflow for LocalV3 {
        const NAME: &'static str = "order";
        const VERSION: &'static str = "v3";
        const STATE_SCHEMA_VERSION: u32 = 3;
        type State = Local;
        type Event = OrderEvent;

        fn apply(state: Local, _: &OrderEvent) -> Local {
            state
        }
    }

    #[state_migration(from = OrderV2, to = LocalV3)]
    fn order_v2_to_v3(_: StateV2) -> Local {
        Local
    }

    let old = StateV1 { total: 7 };
    let next = OrderV1ToV2Migration.migrate(old).unwrap();
    assert_eq!(OrderV2ToV3Migration.migrate(next).unwrap(), Local);

    let registry = MigrationRegistry::linked().unwrap();
    let routes: Vec<String> = registry.routes().map(|route| route.to_string()).collect();
    assert_eq!(routes, ["order@v1 -> v2 -> v3", "order@v2 -> v3"]);
}

//! Of two functions, the one whose `#[cfg]` holds is the migration.

#![deny(warnings)]

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

#[cfg_attr(all(), state_migration(from = OrderV1, to = OrderV2))]
#[cfg(not(any()))]
fn order_v1_to_v2(old: StateV1) -> StateV2 {
    StateV2 { cents: old.total }
}

#[state_migration(from = OrderV1, to = OrderV2)]
#[cfg(any())]
fn order_v1_to_v2(_: StateV1) -> StateV2 {
    StateV2 { cents: 0 }
}

fn main() {
    let registry = MigrationRegistry::linked().unwrap();
    assert_eq!(registry.migrations().len(), 1);
    let old = StateV1 { total: 7 };
    let new = OrderV1ToV2Migration.migrate(old).unwrap();
    assert_eq!(new, StateV2 { cents: 7 });
}

//! What is configured away registers nothing and defines nothing.

#![allow(dead_code, unused_imports)]

use serde::{Deserialize, Serialize};
use state_migration::{EventPayload, MigrationRegistry, Problem, Workflow, state_migration};

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

mod before {
    use super::*;

    #[cfg(any())]
    #[state_migration(from = OrderV1, to = OrderV2)]
    fn order_v1_to_v2(old: StateV1) -> StateV2 {
        StateV2 { cents: old.total }
    }

    // No second definition of this name.
    struct OrderV1ToV2Migration;
}

mod after {
    use super::*;

    #[state_migration(from = OrderV1, to = OrderV2)]
    #[cfg(any())]
    fn order_v1_to_v2(old: StateV1) -> StateV2 {
        StateV2 { cents: old.total }
    }

    struct OrderV1ToV2Migration;
}

mod by_attribute {
    use super::*;

    #[state_migration(from = OrderV1, to = OrderV2)]
    #[cfg_attr(all(), inline, cfg_attr(all(), cfg(any())))]
    fn order_v1_to_v2(old: StateV1) -> StateV2 {
        StateV2 { cents: old.total }
    }

    struct OrderV1ToV2Migration;
}

#[cfg_attr(any(), state_migration(from = OrderV1, to = OrderV2))]
fn order_v1_to_v2(old: StateV1) -> StateV2 {
    StateV2 { cents: old.total }
}

fn main() {
    let old = StateV1 { total: 7 };
    assert_eq!(order_v1_to_v2(old), StateV2 { cents: 7 });

    let error = MigrationRegistry::linked().unwrap_err();
    assert_eq!(error.problems(), [Problem::NothingLinked]);
}

//! The generated struct has the visibility of the function.

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

mod migrations {
    use super::*;

    #[state_migration(from = OrderV1, to = OrderV2)]
    pub(crate) fn order_v1_to_v2(old: StateV1) -> StateV2 {
        StateV2 { cents: old.total }
    }

    pub(super) mod later {
        use state_migration::state_migration;

        // Paths, and no name in scope.
        #[state_migration(from = super::super::OrderV2, to = crate::OrderV3)]
        pub(in crate::migrations) fn order_v2_to_v3(old: crate::StateV2) -> super::super::StateV3 {
            crate::StateV3 { net: old.cents }
        }
    }

    pub(crate) fn last(old: StateV2) -> StateV3 {
        assert_eq!(
            later::OrderV2ToV3Migration.migrate(old.clone()).unwrap(),
            later::order_v2_to_v3(old.clone())
        );
        later::order_v2_to_v3(old)
    }
}

fn main() {
    let old = StateV1 { total: 7 };
    let next = migrations::OrderV1ToV2Migration
        .migrate(old.clone())
        .unwrap();
    assert_eq!(next, migrations::order_v1_to_v2(old));
    assert_eq!(migrations::last(next), StateV3 { net: 7 });

    let registry = MigrationRegistry::linked().unwrap();
    let functions: Vec<&str> = registry
        .migrations()
        .iter()
        .map(|migration| migration.defined_at().unwrap().function)
        .collect();
    assert_eq!(
        functions,
        [
            concat!(module_path!(), "::migrations::order_v1_to_v2"),
            concat!(module_path!(), "::migrations::later::order_v2_to_v3"),
        ]
    );
}

//! Three versions are two migrations, found at link time and sorted.

use serde::{Deserialize, Serialize};
use state_migration::{
    EventPayload, Fingerprint, MigrationRegistry, StateMigration, Workflow, WorkflowId,
    state_migration,
};

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

// The later one first: order in the source does not count.
#[state_migration(from = OrderV2, to = OrderV3)]
fn order_v2_to_v3(old: StateV2) -> StateV3 {
    StateV3 { net: old.cents }
}

#[state_migration(from = OrderV1, to = OrderV2)]
fn order_v1_to_v2(old: StateV1) -> StateV2 {
    StateV2 {
        cents: old.total * 100,
    }
}

fn main() {
    let registry = MigrationRegistry::linked().unwrap();
    let names: Vec<String> = registry
        .migrations()
        .iter()
        .map(|migration| migration.short_name())
        .collect();
    assert_eq!(names, ["order@v1->v2", "order@v2->v3"]);
    assert_eq!(registry.names().collect::<Vec<_>>(), ["order"]);
    assert_eq!(registry.newest("order"), Some(&WorkflowId::of::<OrderV3>()));

    let [first, second] = registry.migrations() else {
        panic!("there are two migrations");
    };
    assert_ne!(first.fingerprint(), Fingerprint::default());
    assert_ne!(second.fingerprint(), Fingerprint::default());
    assert_ne!(first.fingerprint(), second.fingerprint());

    let at = first.defined_at().unwrap();
    assert_eq!(at.function, concat!(module_path!(), "::order_v1_to_v2"));
    assert_eq!(at.package, env!("CARGO_PKG_NAME"));
    assert_eq!(at.file, file!());
    assert_eq!(at.line, 81);

    // The function and its struct say the same as the registry.
    let old = StateV1 { total: 7 };
    assert_eq!(order_v1_to_v2(old.clone()), StateV2 { cents: 700 });
    assert_eq!(
        OrderV1ToV2Migration.migrate(old).unwrap(),
        StateV2 { cents: 700 }
    );
    let migration = OrderV2ToV3Migration;
    let copy = migration;
    assert_eq!(format!("{migration:?}"), "OrderV2ToV3Migration");
    assert_eq!(copy.source_workflow_id(), &WorkflowId::of::<OrderV2>());
    assert_eq!(copy.target_workflow_id(), &WorkflowId::of::<OrderV3>());
    assert_eq!(copy.fingerprint(), second.fingerprint());
    assert_eq!(StateMigration::defined_at(&copy), second.defined_at());
}

//! Versions that share a state, in a module, in a body and through an alias.

#![deny(warnings)]

use serde::{Deserialize, Serialize};
use state_migration::{
    EventPayload, MigrationRegistry, Workflow, identity_migration, migration_chain,
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
struct Order {
    total: u64,
}

struct OrderV1;
struct OrderV2;
struct OrderV3;
struct OrderV4;

impl Workflow for OrderV1 {
    const NAME: &'static str = "order";
    const VERSION: &'static str = "v1";
    type State = Order;
    type Event = OrderEvent;

    fn apply(state: Order, _: &OrderEvent) -> Order {
        state
    }
}

impl Workflow for OrderV2 {
    const NAME: &'static str = "order";
    const VERSION: &'static str = "v2";
    type State = Order;
    type Event = OrderEvent;

    fn apply(state: Order, _: &OrderEvent) -> Order {
        state
    }
}

impl Workflow for OrderV3 {
    const NAME: &'static str = "order";
    const VERSION: &'static str = "v3";
    type State = Order;
    type Event = OrderEvent;

    fn apply(state: Order, _: &OrderEvent) -> Order {
        state
    }
}

impl Workflow for OrderV4 {
    const NAME: &'static str = "order";
    const VERSION: &'static str = "v4";
    type State = Order;
    type Event = OrderEvent;

    fn apply(state: Order, _: &OrderEvent) -> Order {
        state
    }
}

type Latest = OrderV4;

identity_migration!(OrderV1 => OrderV2);

mod inner {
    // By its path, without an import.
    state_migration::identity_migration! { super::OrderV2 => crate::OrderV3 }
}

#[cfg(any())]
identity_migration!(OrderV1 => OrderV3);

#[cfg(all())]
migration_chain!(OrderV1 => OrderV2 => OrderV3 => Latest);

fn main() {
    identity_migration!(OrderV3 => Latest, note = "for the name only",);
    migration_chain!(OrderV3 => OrderV4);

    let registry = MigrationRegistry::linked().unwrap();
    let routes: Vec<String> = registry.routes().map(|route| route.to_string()).collect();
    assert_eq!(routes[0], "order@v1 -> v2 -> v3 -> v4");
    assert_eq!(routes.len(), 3);

    let [first, second, third] = registry.migrations() else {
        panic!("there are three migrations");
    };
    assert_eq!(first.note(), None);
    assert_eq!(third.note(), Some("for the name only"));
    // It is stored with migrated processes, and so the same in every release.
    assert_eq!(first.fingerprint().to_string(), "e90f184c6aa3ffbb");
    let at = second.defined_at().unwrap();
    assert!(at.function.ends_with("::inner::identity_migration!"));
    assert_eq!(at.file, file!());
    assert_eq!(at.package, env!("CARGO_PKG_NAME"));
    assert_eq!(first.defined_at().unwrap().line, 77);
}

//! Versions without migrations: decided about, and only known.

#![deny(warnings)]

use serde::{Deserialize, Serialize};
use state_migration::{
    EventPayload, MigrationRegistry, Workflow, identity_migration, no_migration, register_workflow,
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
struct InvoiceV1;

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

impl Workflow for InvoiceV1 {
    const NAME: &'static str = "invoice";
    const VERSION: &'static str = "v1";
    type State = Order;
    type Event = OrderEvent;

    fn apply(state: Order, _: &OrderEvent) -> Order {
        state
    }
}

type First = OrderV1;

no_migration!(First, reason = "never deployed");

identity_migration!(OrderV2 => OrderV3);

mod inner {
    // Several at once, by their paths, without an import of the macro.
    state_migration::register_workflow! { super::OrderV3, crate::InvoiceV1, }
}

#[cfg(any())]
no_migration!(NotThere, reason = "configured away");

fn main() {
    no_migration!(InvoiceV1, reason = r#"all are "paid""#);
    register_workflow!(OrderV2);

    let registry = MigrationRegistry::linked().unwrap();
    assert_eq!(registry.migrations().len(), 1);
}

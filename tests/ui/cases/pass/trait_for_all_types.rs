//! A trait for all types may have methods of any name.

#![deny(warnings)]

use serde::{Deserialize, Serialize};
use state_migration::{EventPayload, MigrationRegistry, Workflow, state_migration};

/// Every type has these, also those of generated code.
trait Everything: Sized {
    const SHARED: bool = false;

    fn settle(self) {}

    fn decoder_of_state(self) {}

    fn details(self) {}

    fn of(self) {}

    fn link(self) {}

    fn is_refused(self) {}

    fn refusal(self) {}

    fn as_str(self) {}

    fn registration(self) {}
}

impl<T> Everything for T {}

#[derive(Serialize, Deserialize)]
enum OrderEvent {
    Placed,
}

impl EventPayload for OrderEvent {
    fn event_type(&self) -> &'static str {
        "OrderPlaced"
    }
}

#[derive(Default, Clone, Serialize, Deserialize)]
struct StateV1;

#[derive(Default, Clone, Serialize, Deserialize)]
struct StateV2;

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

#[state_migration(from = OrderV1, to = OrderV2)]
fn order_v1_to_v2(_: StateV1) -> StateV2 {
    StateV2
}

fn main() {
    ().settle();
    ().decoder_of_state();
    ().is_refused();
    ().refusal();
    assert!(!<()>::SHARED);
    let registry = MigrationRegistry::linked().unwrap();
    assert_eq!(registry.migrations()[0].short_name(), "order@v1->v2");
}

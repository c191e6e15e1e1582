//! The function keeps its docs, its attributes and its constness.

#![deny(missing_docs)]

use std::panic::Location;

use serde::{Deserialize, Serialize};
use state_migration::{EventPayload, MigrationRegistry, StateMigration, Workflow, state_migration};

/// The event.
#[derive(Serialize, Deserialize)]
pub enum OrderEvent {
    /// A customer ordered.
    Placed,
}

impl EventPayload for OrderEvent {
    fn event_type(&self) -> &'static str {
        "OrderPlaced"
    }
}

/// The state of both versions, with the line that converted it.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// From 1.
    pub line: u32,
}

/// The first version.
pub struct OrderV1;
/// The second version.
pub struct OrderV2;

impl Workflow for OrderV1 {
    const NAME: &'static str = "order";
    const VERSION: &'static str = "v1";
    type State = State;
    type Event = OrderEvent;

    fn apply(state: State, _: &OrderEvent) -> State {
        state
    }
}

impl Workflow for OrderV2 {
    const NAME: &'static str = "order";
    const VERSION: &'static str = "v2";
    type State = State;
    type Event = OrderEvent;

    fn apply(state: State, _: &OrderEvent) -> State {
        state
    }
}

/// Without this line, or the one below, the lint above is an error.
#[state_migration(from = OrderV1, to = OrderV2)]
/// It is `const`, and knows its caller.
#[must_use]
#[track_caller]
pub const fn order_v1_to_v2(_: State) -> State {
    State {
        line: Location::caller().line(),
    }
}

const CONVERTED: State = order_v1_to_v2(State { line: 0 });

fn main() {
    assert_eq!(CONVERTED.line, 68);
    assert_ne!(
        OrderV1ToV2Migration.migrate(State { line: 0 }).unwrap(),
        CONVERTED
    );
    assert_eq!(MigrationRegistry::linked().unwrap().migrations().len(), 1);
}

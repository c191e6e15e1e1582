//! What a crate forbids, no generated code can allow; nor need it.

#![forbid(dead_code, missing_docs, unused_imports)]

use serde::{Deserialize, Serialize};
use state_migration::{EventPayload, MigrationRegistry, Workflow, state_migration};

/// An event.
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

/// A state.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
pub struct State;

/// The first version.
pub struct OrderV1;

/// The second version.
pub struct OrderV2;

/// The third version.
pub struct OrderV3;

macro_rules! versions {
    ($($name:ident $version:literal),*) => {$(
        impl Workflow for $name {
            const NAME: &'static str = "order";
            const VERSION: &'static str = $version;
            type State = State;
            type Event = OrderEvent;

            fn apply(state: State, _: &OrderEvent) -> State {
                state
            }
        }
    )*};
}

versions!(OrderV1 "v1", OrderV2 "v2", OrderV3 "v3");

/// Keeps all.
#[state_migration(from = OrderV1, to = OrderV2)]
pub fn order_v1_to_v2(old: State) -> State {
    old
}

/// Keeps all, or says why not.
///
/// # Errors
/// None so far.
#[state_migration(from = OrderV2, to = OrderV3)]
pub fn order_v2_to_v3(old: State) -> Result<State, String> {
    Ok(old)
}

fn main() {
    let placed = OrderEvent::Placed;
    assert_eq!(placed.event_type(), "OrderPlaced");
    let registry = MigrationRegistry::linked().unwrap();
    assert_eq!(registry.migrations().len(), 2);
}

//! The code that the cases under `cases/` share: an event, and workflows of another
//! crate. SlateDB is not a dependency, because trybuild builds all dependencies
//! again in its own folder.

use serde::{Deserialize, Serialize};
use state_migration::{EventPayload, Workflow};

/// The event of all workflows here.
#[derive(Debug, Serialize, Deserialize)]
pub enum OrderEvent {
    /// A customer ordered.
    Placed,
}

impl EventPayload for OrderEvent {
    fn event_type(&self) -> &'static str {
        "OrderPlaced"
    }
}

/// The state of all foreign workflows.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
pub struct ForeignState {
    /// In cents.
    pub total: u64,
}

/// The first version of a workflow of another crate.
#[derive(Debug)]
pub struct ForeignV1;

/// The second version of a workflow of another crate.
#[derive(Debug)]
pub struct ForeignV2;

impl Workflow for ForeignV1 {
    const NAME: &'static str = "foreign";
    const VERSION: &'static str = "v1";
    type State = ForeignState;
    type Event = OrderEvent;

    fn apply(state: ForeignState, _: &OrderEvent) -> ForeignState {
        state
    }
}

/// The third version, which nothing but its number tells from the second.
#[derive(Debug)]
pub struct ForeignV3;

impl Workflow for ForeignV3 {
    const NAME: &'static str = "foreign";
    const VERSION: &'static str = "v3";
    type State = ForeignState;
    type Event = OrderEvent;

    fn apply(state: ForeignState, _: &OrderEvent) -> ForeignState {
        state
    }
}

impl Workflow for ForeignV2 {
    const NAME: &'static str = "foreign";
    const VERSION: &'static str = "v2";
    type State = ForeignState;
    type Event = OrderEvent;

    fn apply(state: ForeignState, _: &OrderEvent) -> ForeignState {
        state
    }
}

macro_rules! orders {
    ($($version:ident $number:literal)*) => {$(
        /// A version of an order, for mistakes beside which its import is no other.
        #[derive(Debug)]
        pub struct $version;

        impl Workflow for $version {
            const NAME: &'static str = "order";
            const VERSION: &'static str = $number;
            type State = ForeignState;
            type Event = OrderEvent;

            fn apply(state: ForeignState, _: &OrderEvent) -> ForeignState {
                state
            }
        }
    )*};
}

orders! { OrderV1 "v1" OrderV2 "v2" OrderV3 "v3" }

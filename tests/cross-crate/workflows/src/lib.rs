//! The workflows of a shop. What moves its processes is in other crates.

use serde::{Deserialize, Serialize};
use state_migration::{register_workflow, EventPayload, Workflow};

/// What happens in the shop.
#[derive(Serialize, Deserialize)]
pub enum ShopEvent {
    /// Something costs this much more.
    Added(u64),
}

impl EventPayload for ShopEvent {
    fn event_type(&self) -> &'static str {
        "Added"
    }
}

macro_rules! workflows {
    ($($workflow:ident $name:literal $version:literal $schema:literal $state:ident.$field:ident;)*) => {$(
        #[doc = concat!("The state of ", $name, " under ", $version, ".")]
        #[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
        pub struct $state {
            #[doc = concat!("The sum, in ", stringify!($field), ".")]
            pub $field: u64,
        }

        #[doc = concat!("Workflow ", $name, ", version ", $version, ".")]
        pub struct $workflow;

        impl Workflow for $workflow {
            const NAME: &'static str = $name;
            const VERSION: &'static str = $version;
            const STATE_SCHEMA_VERSION: u32 = $schema;
            type State = $state;
            type Event = ShopEvent;

            fn apply(mut state: $state, ShopEvent::Added(sum): &ShopEvent) -> $state {
                state.$field += sum;
                state
            }
        }
    )*};
}

workflows! {
    OrderV1 "order" "v1" 1 OrderStateV1.euro;
    OrderV2 "order" "v2" 2 OrderStateV2.cents;
    OrderV3 "order" "v3" 3 OrderStateV3.net_cents;
    OrderV4 "order" "v4" 4 OrderStateV4.gross_cents;
    Cart1 "cart" "1" 1 CartState1.euro;
    Cart2 "cart" "2" 2 CartState2.cents;
    Cart3 "cart" "3" 3 CartState3.cents;
    Cart4 "cart" "4" 4 CartState4.cents;
    Cart5 "cart" "5" 1 CartState5.cents;
}

register_workflow!(OrderV1, OrderV2, OrderV3);

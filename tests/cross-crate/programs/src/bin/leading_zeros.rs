//! A version that only a leading zero tells from one of another crate.

use std::process::ExitCode;

use shop_migrations as _;
use shop_workflows::{OrderStateV3, OrderV3, ShopEvent};
use state_migration::{MigrationRegistry, Workflow, register_workflow};

struct OrderV03;

impl Workflow for OrderV03 {
    const NAME: &'static str = OrderV3::NAME;
    const VERSION: &'static str = "v03";
    const STATE_SCHEMA_VERSION: u32 = OrderV3::STATE_SCHEMA_VERSION;
    type State = OrderStateV3;
    type Event = ShopEvent;

    fn apply(state: OrderStateV3, event: &ShopEvent) -> OrderStateV3 {
        OrderV3::apply(state, event)
    }
}

register_workflow!(OrderV03);

fn main() -> ExitCode {
    shop_programs::tell(MigrationRegistry::linked())
}

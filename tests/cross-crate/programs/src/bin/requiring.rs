//! Has migrations of its own, and expects one of a crate that it never names.

use std::process::ExitCode;

use shop_workflows::{OrderStateV1, OrderStateV2, OrderStateV3, OrderV1, OrderV2, OrderV3};
use state_migration::{MigrationRegistry, state_migration};

#[state_migration(from = OrderV1, to = OrderV2, detached)]
fn order_v1_to_v2(old: OrderStateV1) -> OrderStateV2 {
    OrderStateV2 { cents: old.euro }
}

#[state_migration(from = OrderV2, to = OrderV3, detached)]
fn order_v2_to_v3(old: OrderStateV2) -> OrderStateV3 {
    OrderStateV3 {
        net_cents: old.cents,
    }
}

fn main() -> ExitCode {
    let linked = MigrationRegistry::linked();
    match linked.and_then(|registry| registry.require(["order@v1->v2", "cart@1->2"])) {
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

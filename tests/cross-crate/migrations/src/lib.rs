//! The migrations of the shop. They own neither workflow, and are detached.

use shop_workflows::{
    Cart1, Cart2, CartState1, CartState2, OrderStateV1, OrderStateV2, OrderStateV3, OrderV1,
    OrderV2, OrderV3,
};
use state_migration::state_migration;

/// Euro become cents.
///
/// # Errors
/// It is too much money.
#[state_migration(from = OrderV1, to = OrderV2, detached, note = "from euro to cents")]
pub fn order_v1_to_v2(old: OrderStateV1) -> Result<OrderStateV2, String> {
    let cents = old.euro.checked_mul(100).ok_or("too much money")?;
    Ok(OrderStateV2 { cents })
}

/// The tax goes.
#[state_migration(from = OrderV2, to = OrderV3, detached)]
pub fn order_v2_to_v3(old: OrderStateV2) -> OrderStateV3 {
    OrderStateV3 {
        net_cents: old.cents * 100 / 120,
    }
}

/// Cents become euro.
#[state_migration(from = OrderV2, to = OrderV1, undo, detached)]
pub fn order_v2_to_v1(new: OrderStateV2) -> OrderStateV1 {
    OrderStateV1 {
        euro: new.cents / 100,
    }
}

/// Euro become cents here too.
#[state_migration(from = Cart1, to = Cart2, detached)]
pub fn cart_1_to_2(old: CartState1) -> CartState2 {
    CartState2 {
        cents: old.euro * 100,
    }
}

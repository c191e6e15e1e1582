// #[state_migration(from = OrderV1, to = OrderV2)]
// fn order_v1_to_v2(old: StateV1) -> Result<StateV2, dyn Error> { Ok(StateV2) }

fn order_v1_to_v2(old: StateV1) -> Result<StateV2, dyn Error> {
    Ok(StateV2)
}
#[allow(dead_code, missing_docs)]
#[derive(::core::clone::Clone, ::core::marker::Copy, ::core::fmt::Debug)]
struct OrderV1ToV2Migration;
#[allow(deprecated, non_local_definitions, unused_qualifications)]
impl ::state_migration::__private::MigratesTo<OrderV2> for OrderV1 {}

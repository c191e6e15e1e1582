// #[state_migration(from = OrderV1, to = OrderV2)]
// pub async fn order_v1_to_v2(old: &StateV1) -> StateV2 { StateV2 }

::core::compile_error! {
    "a migration waits for nothing: remove `async`"
}
::core::compile_error! {
    "a migration takes the state by value: remove the `&`"
}
pub async fn order_v1_to_v2(old: &StateV1) -> StateV2 {
    StateV2
}
#[allow(dead_code, missing_docs)]
#[derive(::core::clone::Clone, ::core::marker::Copy, ::core::fmt::Debug)]
pub struct OrderV1ToV2Migration;
#[allow(deprecated, non_local_definitions, unused_qualifications)]
impl ::state_migration::__private::MigratesTo<OrderV2> for OrderV1 {}

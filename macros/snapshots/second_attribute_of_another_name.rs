// #[state_migration(from = OrderV1)]
// #[moves(from = OrderV2, to = OrderV3)] fn order_v1_to_v2(old: StateV1) -> StateV2 { StateV2 }

::core::compile_error! {
    "`to` is missing: add `to = OrderV2`"
}
#[rust_analyzer::state_migration]
#[moves(from = OrderV2, to = OrderV3)]
fn order_v1_to_v2(old: StateV1) -> StateV2 {
    use OrderV1 as _;
    StateV2
}
///The migration by [`order_v1_to_v2`], found at link time.
#[derive(::core::clone::Clone, ::core::marker::Copy, ::core::fmt::Debug)]
struct OrderV1ToV2Migration;
const _: OrderV1ToV2Migration = OrderV1ToV2Migration;

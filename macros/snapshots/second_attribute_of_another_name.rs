// #[state_migration(from = OrderV1)]
// #[moves(from = OrderV2, to = OrderV3)] fn order_v1_to_v2(old: StateV1) -> StateV2 { StateV2 }

#[allow(
    clippy::implicit_hasher,
    clippy::large_types_passed_by_value,
    clippy::needless_pass_by_value,
    clippy::unnecessary_box_returns
)]
#[rust_analyzer::state_migration]
#[moves(from = OrderV2, to = OrderV3)]
fn order_v1_to_v2(old: StateV1) -> StateV2 {
    StateV2
}
///The migration by [`order_v1_to_v2`], found at link time.
struct OrderV1ToV2Migration;
::state_migration::__private::values!(OrderV1ToV2Migration, "OrderV1ToV2Migration");
#[allow(deprecated, non_local_definitions)]
const _: () = {
    use ::state_migration::__private as __state_migration;
    #[cfg(false)]
    type __StateMigrationVersion = OrderV1;
    #[cfg(false)]
    type __StateMigrationVersion = ();
    const _: OrderV1ToV2Migration = OrderV1ToV2Migration;
    use OrderV1 as _;
};
::core::compile_error! {
    "`to` is missing: add `to = OrderV2`"
}

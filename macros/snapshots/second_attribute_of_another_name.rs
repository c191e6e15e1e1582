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
struct OrderV1ToV2Migration;
const _: () = {
    use ::state_migration::__private as __state_migration;
    #[automatically_derived]
    impl __state_migration::core::clone::Clone for OrderV1ToV2Migration {
        fn clone(&self) -> Self {
            *self
        }
    }
    #[automatically_derived]
    impl __state_migration::core::marker::Copy for OrderV1ToV2Migration {}
    #[automatically_derived]
    impl __state_migration::core::fmt::Debug for OrderV1ToV2Migration {
        fn fmt(
            &self,
            __f: &mut __state_migration::core::fmt::Formatter<'_>,
        ) -> __state_migration::core::fmt::Result {
            __f.write_str("OrderV1ToV2Migration")
        }
    }
    const _: OrderV1ToV2Migration = OrderV1ToV2Migration;
};

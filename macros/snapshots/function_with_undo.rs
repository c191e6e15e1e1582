// #[state_migration(from = OrderV2, to = OrderV1, undo)]
// fn order_v2_to_v1(new: StateV2) -> Result<StateV1, String> { Err(String::new()) }

#[allow(
    clippy::implicit_hasher,
    clippy::large_types_passed_by_value,
    clippy::needless_pass_by_value,
    clippy::unnecessary_box_returns
)]
fn order_v2_to_v1(new: StateV2) -> Result<StateV1, String> {
    Err(String::new())
}
///The migration by [`order_v2_to_v1`], found at link time.
struct OrderV2ToV1Migration;
#[allow(deprecated, non_local_definitions)]
const _: () = {
    use ::state_migration::__private as __state_migration;
    type __StateMigrationFrom = OrderV2;
    type __StateMigrationTo = OrderV1;
    impl __state_migration::KeepOneUndoTo<
        __state_migration::Inferred<__StateMigrationTo>,
    > for __state_migration::Inferred<__StateMigrationFrom> {}
    use __state_migration::probes::*;
    ::state_migration::__private::values!(OrderV2ToV1Migration, "OrderV2ToV1Migration");
    impl __state_migration::Annotated for OrderV2ToV1Migration {
        type From = __state_migration::Inferred<__StateMigrationFrom>;
        type To = __state_migration::Inferred<__StateMigrationTo>;
        const FACTS: __state_migration::Facts = __state_migration::link::<
            Self,
            __state_migration::Inferred<__StateMigrationFrom>,
            __state_migration::Inferred<__StateMigrationTo>,
            __state_migration::Inferred<_>,
            __state_migration::Inferred<_>,
            __state_migration::Inferred<_>,
            __state_migration::Inferred<_>,
        >(
                __state_migration::Facts::new(
                        10641537342568033681u64,
                        __state_migration::location(
                            ::state_migration::__private::core::concat!(
                                ::state_migration::__private::core::module_path!(), "::",
                                "order_v2_to_v1"
                            ),
                            "state-migration-macros",
                        ),
                        __state_migration::Codec::<
                            __StateMigrationFrom,
                        >::__STATE_MIGRATION_ENCODER,
                        __state_migration::Codec::<
                            __StateMigrationTo,
                        >::__STATE_MIGRATION_DECODER,
                    )
                    .details(__state_migration::Details::new().undo()),
                __state_migration::States::<
                    __StateMigrationFrom,
                    __StateMigrationTo,
                >::__STATE_MIGRATION_SHARED,
            )
            .of(__state_migration::function(order_v2_to_v1));
        fn call(__call: __state_migration::Call<'_>) -> __state_migration::Called {
            __state_migration::convert(
                __call,
                __state_migration::function(order_v2_to_v1)
                    .__state_migration_conversion(),
            )
        }
    }
    const _: () = __state_migration::check_versions(
        <OrderV2ToV1Migration as __state_migration::Annotated>::FACTS.link(),
    );
    ::state_migration::__private::inventory::submit! {
        __state_migration::registration:: < OrderV2ToV1Migration > ()
    }
};

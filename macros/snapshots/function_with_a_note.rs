// #[state_migration(from = OrderV1, to = OrderV2, note = "counts cents")]
// /// Counts cents.
// pub(crate) fn order_v1_to_v2(old: StateV1) -> StateV2 { StateV2 { cents: old.euro * 100 } }

#[allow(
    clippy::implicit_hasher,
    clippy::large_types_passed_by_value,
    clippy::needless_pass_by_value,
    clippy::unnecessary_box_returns
)]
/// Counts cents.
pub(crate) fn order_v1_to_v2(old: StateV1) -> StateV2 {
    StateV2 { cents: old.euro * 100 }
}
///The migration by [`order_v1_to_v2`], found at link time.
pub(crate) struct OrderV1ToV2Migration;
#[allow(deprecated, non_local_definitions)]
const _: () = {
    use ::state_migration::__private as __state_migration;
    type __StateMigrationFrom = OrderV1;
    type __StateMigrationTo = OrderV2;
    impl __state_migration::KeepOneMigrationTo<
        __state_migration::Inferred<__StateMigrationTo>,
    > for __state_migration::Inferred<__StateMigrationFrom> {}
    use __state_migration::probes::*;
    ::state_migration::__private::values!(OrderV1ToV2Migration, "OrderV1ToV2Migration");
    impl __state_migration::Annotated for OrderV1ToV2Migration {
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
                        3486838072120251213u64,
                        __state_migration::location(
                            ::state_migration::__private::core::concat!(
                                ::state_migration::__private::core::module_path!(), "::",
                                "order_v1_to_v2"
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
                    .details(__state_migration::Details::new().note("counts cents")),
                __state_migration::States::<
                    __StateMigrationFrom,
                    __StateMigrationTo,
                >::__STATE_MIGRATION_SHARED,
            )
            .of(__state_migration::function(order_v1_to_v2));
        fn call(__call: __state_migration::Call<'_>) -> __state_migration::Called {
            __state_migration::convert(
                __call,
                __state_migration::function(order_v1_to_v2)
                    .__state_migration_conversion(),
            )
        }
    }
    const _: () = __state_migration::check_versions(
        <OrderV1ToV2Migration as __state_migration::Annotated>::FACTS.link(),
    );
    ::state_migration::__private::inventory::submit! {
        __state_migration::registration:: < OrderV1ToV2Migration > ()
    }
};

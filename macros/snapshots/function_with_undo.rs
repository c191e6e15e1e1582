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
    impl __state_migration::MigratesBackTo<
        __state_migration::Inferred<__StateMigrationTo>,
    > for __state_migration::Inferred<__StateMigrationFrom> {}
    use __state_migration::probes::*;
    #[automatically_derived]
    impl __state_migration::core::clone::Clone for OrderV2ToV1Migration {
        fn clone(&self) -> Self {
            *self
        }
    }
    #[automatically_derived]
    impl __state_migration::core::marker::Copy for OrderV2ToV1Migration {}
    #[automatically_derived]
    impl __state_migration::core::fmt::Debug for OrderV2ToV1Migration {
        fn fmt(
            &self,
            __f: &mut __state_migration::core::fmt::Formatter<'_>,
        ) -> __state_migration::core::fmt::Result {
            __f.write_str("OrderV2ToV1Migration")
        }
    }
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
                            __state_migration::core::concat!(
                                __state_migration::core::module_path!(), "::",
                                "order_v2_to_v1"
                            ),
                            __state_migration::core::option::Option::Some(
                                "state-migration-macros",
                            ),
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
    __state_migration::inventory::submit! {
        __state_migration::registration:: < OrderV2ToV1Migration > ()
    }
};

// #[state_migration(from = OrderV1, to = OrderV2)]
// #[must_use] const fn r#move(_: ()) -> () {}

#[allow(
    clippy::implicit_hasher,
    clippy::large_types_passed_by_value,
    clippy::needless_pass_by_value,
    clippy::unnecessary_box_returns
)]
#[must_use]
const fn r#move(_: ()) -> () {}
///The migration by [`move`], found at link time.
struct MoveMigration;
#[allow(deprecated, non_local_definitions)]
const _: () = {
    use ::state_migration::__private as __state_migration;
    type __StateMigrationFrom = OrderV1;
    type __StateMigrationTo = OrderV2;
    impl __state_migration::KeepOneMigrationTo<
        __state_migration::Inferred<__StateMigrationTo>,
    > for __state_migration::Inferred<__StateMigrationFrom> {}
    use __state_migration::probes::*;
    ::state_migration::__private::values!(MoveMigration, "MoveMigration");
    impl __state_migration::Annotated for MoveMigration {
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
                    8649125540908041631u64,
                    __state_migration::location(
                        ::state_migration::__private::core::concat!(
                            ::state_migration::__private::core::module_path!(), "::",
                            "move"
                        ),
                        "state-migration-macros",
                    ),
                    __state_migration::Codec::<
                        __StateMigrationFrom,
                    >::__STATE_MIGRATION_ENCODER,
                    __state_migration::Codec::<
                        __StateMigrationTo,
                    >::__STATE_MIGRATION_DECODER,
                ),
                __state_migration::States::<
                    __StateMigrationFrom,
                    __StateMigrationTo,
                >::__STATE_MIGRATION_SHARED,
            )
            .of(__state_migration::function(r#move));
        fn call(__call: __state_migration::Call<'_>) -> __state_migration::Called {
            __state_migration::convert(
                __call,
                __state_migration::function(r#move).__state_migration_conversion(),
            )
        }
    }
    const _: () = __state_migration::check_versions(
        <MoveMigration as __state_migration::Annotated>::FACTS.link(),
    );
    ::state_migration::__private::inventory::submit! {
        __state_migration::registration:: < MoveMigration > ()
    }
};

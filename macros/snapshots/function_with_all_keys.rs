// #[state_migration(crate = crate::facade, from = orders::V2, to = orders::V1, name = Back, note = "loses cents", check = amounts::are_kept, undo, detached)]
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
pub(crate) struct Back;
#[allow(deprecated, non_local_definitions)]
const _: () = {
    use crate::facade::__private as __state_migration;
    type __StateMigrationFrom = orders::V2;
    type __StateMigrationTo = orders::V1;
    use __state_migration::probes::*;
    crate::facade::__private::values!(Back, "Back");
    impl __state_migration::Annotated for Back {
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
                            crate::facade::__private::core::concat!(
                                crate ::facade::__private::core::module_path!(), "::",
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
                    .details(
                        __state_migration::Details::new()
                            .note("loses cents")
                            .undo()
                            .detached(),
                    ),
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
        const CHECKS: bool = true;
        fn check(
            __old: &dyn __state_migration::core::any::Any,
            __new: &dyn __state_migration::core::any::Any,
        ) -> __state_migration::core::result::Result<
            (),
            __state_migration::ConversionError,
        > {
            __state_migration::checked_by::<
                __state_migration::Inferred<__StateMigrationFrom>,
                __state_migration::Inferred<__StateMigrationTo>,
                _,
            >(__old, __new, amounts::are_kept)
        }
    }
    const _: () = __state_migration::check_versions(
        <Back as __state_migration::Annotated>::FACTS.link(),
    );
    crate::facade::__private::inventory::submit! {
        __state_migration::registration:: < Back > ()
    }
};

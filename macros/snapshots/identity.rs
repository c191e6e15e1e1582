// identity_migration!(OrderV1 => OrderV2);

#[allow(deprecated, non_local_definitions)]
const _: () = {
    use state_migration::__private as __state_migration;
    type __StateMigrationFrom = OrderV1;
    type __StateMigrationTo = OrderV2;
    impl __state_migration::KeepOneMigrationTo<
        __state_migration::Inferred<__StateMigrationTo>,
    > for __state_migration::Inferred<__StateMigrationFrom> {}
    enum __StateMigrationPair {}
    impl __state_migration::Pair for __StateMigrationPair {
        type From = __StateMigrationFrom;
        type To = __StateMigrationTo;
        const DEFINED_AT: __state_migration::SourceLocation = __state_migration::location(
            __state_migration::core::concat!(
                __state_migration::core::module_path!(), "::", "identity_migration!"
            ),
            "state-migration-macros",
        );
    }
    const __STATE_MIGRATION: __state_migration::Link = __state_migration::link_identity::<
        __StateMigrationPair,
        __state_migration::Inferred<__StateMigrationFrom>,
        __state_migration::Inferred<__StateMigrationTo>,
        __state_migration::Inferred<_>,
        __state_migration::Inferred<_>,
    >();
    const _: () = __state_migration::check_versions(__STATE_MIGRATION);
    __state_migration::inventory::submit! {
        __state_migration::registration_of(__STATE_MIGRATION)
    }
};

// identity_migration!(orders::V2 => orders::V1, undo, detached, note = "the same state");

#[allow(deprecated, non_local_definitions)]
const _: () = {
    use state_migration::__private as __state_migration;
    type __StateMigrationFrom = orders::V2;
    type __StateMigrationTo = orders::V1;
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
        const DETAILS: __state_migration::Details = __state_migration::Details::new()
            .note("the same state")
            .undo()
            .detached();
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

// no_migration!(OrderV1, reason = "never deployed");

#[allow(deprecated)]
const _: () = {
    use state_migration::__private as __state_migration;
    type __StateMigrationVersion0 = OrderV1;
    __state_migration::inventory::submit! {
        __state_migration::VersionRegistration::no_migration:: <
        __state_migration::Inferred < __StateMigrationVersion0 > > ("never deployed",
        __state_migration::location(__state_migration::core::concat!(__state_migration::core::module_path!(),
        "::", "no_migration!"), "state-migration-macros"))
    }
};

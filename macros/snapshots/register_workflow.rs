// register_workflow!(OrderV3, invoices::V2);

#[allow(deprecated)]
const _: () = {
    use state_migration::__private as __state_migration;
    type __StateMigrationVersion0 = OrderV3;
    __state_migration::inventory::submit! {
        __state_migration::VersionRegistration::workflow:: < __state_migration::Inferred
        < __StateMigrationVersion0 > >
        (__state_migration::location(__state_migration::core::concat!(__state_migration::core::module_path!(),
        "::", "register_workflow!"), "state-migration-macros"))
    }
    type __StateMigrationVersion1 = invoices::V2;
    __state_migration::inventory::submit! {
        __state_migration::VersionRegistration::workflow:: < __state_migration::Inferred
        < __StateMigrationVersion1 > >
        (__state_migration::location(__state_migration::core::concat!(__state_migration::core::module_path!(),
        "::", "register_workflow!"), "state-migration-macros"))
    }
};

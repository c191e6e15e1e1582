// no_migration!(OrderV1, reason = "never deployed");

#[allow(deprecated)]
const _: () = {
    use state_migration::__private as __state_migration;
    __state_migration::inventory::submit! {
        __state_migration::VersionRegistration::no_migration:: < OrderV1 >
        ("never deployed",
        __state_migration::location(__state_migration::core::concat!(__state_migration::core::module_path!(),
        "::", "no_migration!"),
        __state_migration::core::option::Option::Some("state-migration-macros")))
    }
};

// no_migration!(OrderV1, reason = "never deployed");

#[allow(deprecated)]
const _: () = {
    use state_migration::__private as __state_migration;
    __state_migration::inventory::submit! {
        __state_migration::VersionRegistration::no_migration:: < OrderV1 >
        ("never deployed", __state_migration::SourceLocation { function :
        __state_migration::core::concat!(__state_migration::core::module_path!(), "::",
        "no_migration!"), package :
        __state_migration::package(__state_migration::core::option_env!("CARGO_PKG_NAME"),
        __state_migration::core::module_path!()), file :
        __state_migration::core::file!(), line : __state_migration::core::line!(), })
    }
};

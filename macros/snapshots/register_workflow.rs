// register_workflow!(OrderV3, invoices::V2);

#[allow(deprecated)]
const _: () = {
    use state_migration::__private as __state_migration;
    __state_migration::inventory::submit! {
        __state_migration::VersionRegistration::workflow:: < OrderV3 >
        (__state_migration::SourceLocation { function :
        __state_migration::core::concat!(__state_migration::core::module_path!(), "::",
        "register_workflow!"), package :
        __state_migration::package(__state_migration::core::option_env!("CARGO_PKG_NAME"),
        __state_migration::core::module_path!()), file :
        __state_migration::core::file!(), line : __state_migration::core::line!(), })
    }
};
#[allow(deprecated)]
const _: () = {
    use state_migration::__private as __state_migration;
    __state_migration::inventory::submit! {
        __state_migration::VersionRegistration::workflow:: < invoices::V2 >
        (__state_migration::SourceLocation { function :
        __state_migration::core::concat!(__state_migration::core::module_path!(), "::",
        "register_workflow!"), package :
        __state_migration::package(__state_migration::core::option_env!("CARGO_PKG_NAME"),
        __state_migration::core::module_path!()), file :
        __state_migration::core::file!(), line : __state_migration::core::line!(), })
    }
};

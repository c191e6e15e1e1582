// no_migration!(OrderV1, reason = "never deployed");

#[allow(deprecated)]
const _: () = {
    state_migration::__private::inventory::submit! {
        state_migration::__private::VersionRegistration::no_migration:: < OrderV1 >
        ("never deployed", state_migration::SourceLocation { function :
        ::core::concat!(::core::module_path!(), "::", "no_migration!"), package :
        ::core::env!("CARGO_PKG_NAME"), file : ::core::file!(), line : ::core::line!(),
        })
    }
};

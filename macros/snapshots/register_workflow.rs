// register_workflow!(OrderV3, invoices::V2);

#[allow(deprecated)]
const _: () = {
    state_migration::__private::inventory::submit! {
        state_migration::__private::VersionRegistration::workflow:: < OrderV3 >
        (state_migration::SourceLocation { function :
        ::core::concat!(::core::module_path!(), "::", "register_workflow!"), package :
        ::core::env!("CARGO_PKG_NAME"), file : ::core::file!(), line : ::core::line!(),
        })
    }
};
#[allow(deprecated)]
const _: () = {
    state_migration::__private::inventory::submit! {
        state_migration::__private::VersionRegistration::workflow:: < invoices::V2 >
        (state_migration::SourceLocation { function :
        ::core::concat!(::core::module_path!(), "::", "register_workflow!"), package :
        ::core::env!("CARGO_PKG_NAME"), file : ::core::file!(), line : ::core::line!(),
        })
    }
};

// #[state_migration(form = OrderV1, to = OrderV2, name = ToCents)]
// /// Counts cents.
// pub(crate) fn order_v1_to_v2(old: StateV1) -> StateV2 { StateV2 { cents: old.euro * 100 } }

::core::compile_error! {
    "unknown key `form`, perhaps `from`: the keys are `from`, `to`, `name`, `crate`, `undo`, `detached` and `note`"
}
/// Counts cents.
pub(crate) fn order_v1_to_v2(old: StateV1) -> StateV2 {
    StateV2 { cents: old.euro * 100 }
}
///The migration by [`order_v1_to_v2`], found at link time.
#[derive(::core::clone::Clone, ::core::marker::Copy, ::core::fmt::Debug)]
pub(crate) struct ToCents;
#[allow(deprecated, non_local_definitions)]
const _: () = {
    use ::state_migration::__private as __state_migration;
    type __StateMigrationFrom = OrderV1;
    type __StateMigrationTo = OrderV2;
    impl __state_migration::Annotated for ToCents {
        type From = __state_migration::Inferred<__StateMigrationFrom>;
        type To = __state_migration::Inferred<__StateMigrationTo>;
        const MIGRATION: Self = Self;
        const FINGERPRINT: ::core::primitive::u64 = 0u64;
        const DEFINED_AT: ::state_migration::SourceLocation = ::state_migration::SourceLocation {
            function: ::core::concat!(::core::module_path!(), "::", "order_v1_to_v2"),
            package: ::core::env!("CARGO_PKG_NAME"),
            file: ::core::file!(),
            line: ::core::line!(),
        };
        fn call<S: 'static, T: 'static>(
            _: S,
        ) -> ::core::result::Result<T, __state_migration::ConversionError> {
            ::core::result::Result::Err(
                __state_migration::ConversionError::new("refused"),
            )
        }
        fn decoder() -> ::core::option::Option<__state_migration::Decoder> {
            ::core::option::Option::None
        }
        fn encoder() -> ::core::option::Option<__state_migration::Encoder> {
            ::core::option::Option::None
        }
    }
    impl __state_migration::MigratesTo<__state_migration::Inferred<__StateMigrationTo>>
    for __state_migration::Inferred<__StateMigrationFrom> {}
};

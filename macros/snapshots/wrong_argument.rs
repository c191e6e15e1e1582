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
pub(crate) struct ToCents;
#[allow(deprecated, non_local_definitions)]
const _: () = {
    use ::state_migration::__private as __state_migration;
    type __StateMigrationFrom = OrderV1;
    type __StateMigrationTo = OrderV2;
    impl __state_migration::MigratesTo<__state_migration::Inferred<__StateMigrationTo>>
    for __state_migration::Inferred<__StateMigrationFrom> {}
    #[automatically_derived]
    impl __state_migration::core::clone::Clone for ToCents {
        fn clone(&self) -> Self {
            *self
        }
    }
    #[automatically_derived]
    impl __state_migration::core::marker::Copy for ToCents {}
    #[automatically_derived]
    impl __state_migration::core::fmt::Debug for ToCents {
        fn fmt(
            &self,
            __f: &mut __state_migration::core::fmt::Formatter<'_>,
        ) -> __state_migration::core::fmt::Result {
            __f.write_str("ToCents")
        }
    }
    impl __state_migration::Annotated for ToCents {
        type From = __state_migration::Inferred<__StateMigrationFrom>;
        type To = __state_migration::Inferred<__StateMigrationTo>;
        const MIGRATION: Self = Self;
        const FINGERPRINT: __state_migration::core::primitive::u64 = 0u64;
        const DEFINED_AT: __state_migration::SourceLocation = __state_migration::SourceLocation {
            function: __state_migration::core::concat!(
                __state_migration::core::module_path!(), "::", "order_v1_to_v2"
            ),
            package: __state_migration::package(
                __state_migration::core::option_env!("CARGO_PKG_NAME"),
                __state_migration::core::module_path!(),
            ),
            file: __state_migration::core::file!(),
            line: __state_migration::core::line!(),
        };
        fn call<S: 'static, T: 'static>(
            _: S,
        ) -> __state_migration::core::result::Result<
            T,
            __state_migration::ConversionError,
        > {
            __state_migration::core::result::Result::Err(
                __state_migration::ConversionError::new("refused"),
            )
        }
        fn decoder() -> __state_migration::core::option::Option<
            __state_migration::Decoder,
        > {
            __state_migration::core::option::Option::None
        }
        fn encoder() -> __state_migration::core::option::Option<
            __state_migration::Encoder,
        > {
            __state_migration::core::option::Option::None
        }
    }
};

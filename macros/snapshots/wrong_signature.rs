// #[state_migration(from = OrderV1, to = OrderV2)]
// pub async fn order_v1_to_v2(old: &StateV1) -> StateV2 { StateV2 }

::core::compile_error! {
    "a migration waits for nothing: remove `async`"
}
::core::compile_error! {
    "a migration takes the state by value: remove the `&`"
}
pub async fn order_v1_to_v2(old: &StateV1) -> StateV2 {
    StateV2
}
///The migration by [`order_v1_to_v2`], found at link time.
pub struct OrderV1ToV2Migration;
#[allow(deprecated, non_local_definitions)]
const _: () = {
    use ::state_migration::__private as __state_migration;
    type __StateMigrationFrom = OrderV1;
    type __StateMigrationTo = OrderV2;
    impl __state_migration::MigratesTo<__state_migration::Inferred<__StateMigrationTo>>
    for __state_migration::Inferred<__StateMigrationFrom> {}
    #[automatically_derived]
    impl __state_migration::core::clone::Clone for OrderV1ToV2Migration {
        fn clone(&self) -> Self {
            *self
        }
    }
    #[automatically_derived]
    impl __state_migration::core::marker::Copy for OrderV1ToV2Migration {}
    #[automatically_derived]
    impl __state_migration::core::fmt::Debug for OrderV1ToV2Migration {
        fn fmt(
            &self,
            __f: &mut __state_migration::core::fmt::Formatter<'_>,
        ) -> __state_migration::core::fmt::Result {
            __f.write_str("OrderV1ToV2Migration")
        }
    }
    impl __state_migration::Annotated for OrderV1ToV2Migration {
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

// #[state_migration(from = OrderV1, to = OrderV2)]
// #[must_use] const fn r#move(_: ()) -> () {}

#[must_use]
const fn r#move(_: ()) -> () {}
///The migration by [`move`], found at link time.
#[derive(::core::clone::Clone, ::core::marker::Copy, ::core::fmt::Debug)]
struct MoveMigration;
#[allow(deprecated, non_local_definitions)]
const _: () = {
    use ::state_migration::__private as __state_migration;
    type __StateMigrationFrom = OrderV1;
    type __StateMigrationTo = OrderV2;
    impl __state_migration::Annotated for MoveMigration {
        type From = __state_migration::Inferred<__StateMigrationFrom>;
        type To = __state_migration::Inferred<__StateMigrationTo>;
        const MIGRATION: Self = Self;
        const FINGERPRINT: ::core::primitive::u64 = 14132693966615211080u64;
        const DEFINED_AT: ::state_migration::SourceLocation = ::state_migration::SourceLocation {
            function: ::core::concat!(::core::module_path!(), "::", "move"),
            package: ::core::env!("CARGO_PKG_NAME"),
            file: ::core::file!(),
            line: ::core::line!(),
        };
        fn call<S: 'static, T: 'static>(
            state: S,
        ) -> ::core::result::Result<T, __state_migration::ConversionError> {
            use __state_migration::{
                AsIs as _, AsText as _, AsTold as _, AsToldOfABox as _,
            };
            let settle = __state_migration::Gives::of(r#move).__state_migration_settle();
            __state_migration::convert(state, r#move, settle)
        }
        fn decoder() -> ::core::option::Option<__state_migration::Decoder> {
            use __state_migration::{DecodeNothing as _, DecodeState as _};
            __state_migration::Gives::of(r#move).__state_migration_decoder()
        }
        fn encoder() -> ::core::option::Option<__state_migration::Encoder> {
            use __state_migration::EncodeNothing as _;
            __state_migration::Takes::of(r#move).__state_migration_encoder()
        }
    }
    impl __state_migration::MigratesTo<__state_migration::Inferred<__StateMigrationTo>>
    for __state_migration::Inferred<__StateMigrationFrom> {}
    const __STATE_MIGRATION: __state_migration::Link = {
        use __state_migration::NotShared as _;
        __state_migration::link::<
            MoveMigration,
            __state_migration::Inferred<__StateMigrationFrom>,
            __state_migration::Inferred<__StateMigrationTo>,
            __state_migration::Inferred<_>,
            __state_migration::Inferred<_>,
            __state_migration::Inferred<_>,
            __state_migration::Inferred<_>,
        >(
                __state_migration::States::<
                    __StateMigrationFrom,
                    __StateMigrationTo,
                >::__STATE_MIGRATION_SHARED,
            )
            .of(r#move)
    };
    const _: () = if __STATE_MIGRATION.is_refused() {
        ::core::panic!("{}", __STATE_MIGRATION.refusal())
    };
    __state_migration::inventory::submit! {
        __STATE_MIGRATION.registration
    }
};

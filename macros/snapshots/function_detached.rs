// #[state_migration(from = OrderV1, to = OrderV2, detached)]
// /// Counts cents.
// pub(crate) fn order_v1_to_v2(old: StateV1) -> StateV2 { StateV2 { cents: old.euro * 100 } }

/// Counts cents.
pub(crate) fn order_v1_to_v2(old: StateV1) -> StateV2 {
    StateV2 { cents: old.euro * 100 }
}
///The migration by [`order_v1_to_v2`], found at link time.
#[derive(::core::clone::Clone, ::core::marker::Copy, ::core::fmt::Debug)]
pub(crate) struct OrderV1ToV2Migration;
#[allow(deprecated, non_local_definitions)]
const _: () = {
    use ::state_migration::__private as __state_migration;
    type __StateMigrationFrom = OrderV1;
    type __StateMigrationTo = OrderV2;
    impl __state_migration::Annotated for OrderV1ToV2Migration {
        type From = __state_migration::Inferred<__StateMigrationFrom>;
        type To = __state_migration::Inferred<__StateMigrationTo>;
        const MIGRATION: Self = Self;
        const FINGERPRINT: ::core::primitive::u64 = 14267258865432572380u64;
        const DEFINED_AT: ::state_migration::SourceLocation = ::state_migration::SourceLocation {
            function: ::core::concat!(::core::module_path!(), "::", "order_v1_to_v2"),
            package: ::core::env!("CARGO_PKG_NAME"),
            file: ::core::file!(),
            line: ::core::line!(),
        };
        const DETAILS: __state_migration::Details = __state_migration::Details::new()
            .detached();
        fn call<S: 'static, T: 'static>(
            state: S,
        ) -> ::core::result::Result<T, __state_migration::ConversionError> {
            use __state_migration::{
                AsIs as _, AsText as _, AsTold as _, AsToldOfABox as _,
            };
            let settle = __state_migration::Gives::of(order_v1_to_v2)
                .__state_migration_settle();
            __state_migration::convert(state, order_v1_to_v2, settle)
        }
        fn decoder() -> ::core::option::Option<__state_migration::Decoder> {
            use __state_migration::{DecodeNothing as _, DecodeState as _};
            __state_migration::Gives::of(order_v1_to_v2).__state_migration_decoder()
        }
        fn encoder() -> ::core::option::Option<__state_migration::Encoder> {
            use __state_migration::EncodeNothing as _;
            __state_migration::Takes::of(order_v1_to_v2).__state_migration_encoder()
        }
    }
    const __STATE_MIGRATION: __state_migration::Link = {
        use __state_migration::NotShared as _;
        __state_migration::link::<
            OrderV1ToV2Migration,
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
            .of(order_v1_to_v2)
    };
    const _: () = if __STATE_MIGRATION.is_refused() {
        ::core::panic!("{}", __STATE_MIGRATION.refusal())
    };
    __state_migration::inventory::submit! {
        __STATE_MIGRATION.registration
    }
};

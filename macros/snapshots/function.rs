// #[state_migration(from = OrderV1, to = OrderV2)]
// /// Counts cents.
// pub(crate) fn order_v1_to_v2(old: StateV1) -> StateV2 { StateV2 { cents: old.euro * 100 } }

#[allow(
    clippy::implicit_hasher,
    clippy::large_types_passed_by_value,
    clippy::needless_pass_by_value,
    clippy::unnecessary_box_returns
)]
/// Counts cents.
pub(crate) fn order_v1_to_v2(old: StateV1) -> StateV2 {
    StateV2 { cents: old.euro * 100 }
}
///The migration by [`order_v1_to_v2`], found at link time.
pub(crate) struct OrderV1ToV2Migration;
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
        const FINGERPRINT: __state_migration::core::primitive::u64 = 14267258865432572380u64;
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
            __state: S,
        ) -> __state_migration::core::result::Result<
            T,
            __state_migration::ConversionError,
        > {
            use __state_migration::{
                AsIs as _, AsText as _, AsTold as _, AsToldOfABox as _,
            };
            __state_migration::convert(
                __state,
                __state_migration::function(order_v1_to_v2),
                __state_migration::function(order_v1_to_v2)
                    .gives()
                    .__state_migration_settle(),
            )
        }
        fn decoder() -> __state_migration::core::option::Option<
            __state_migration::Decoder,
        > {
            use __state_migration::{DecodeNothing as _, DecodeState as _};
            __state_migration::function(order_v1_to_v2)
                .gives()
                .__state_migration_decoder()
        }
        fn encoder() -> __state_migration::core::option::Option<
            __state_migration::Encoder,
        > {
            use __state_migration::EncodeNothing as _;
            __state_migration::function(order_v1_to_v2)
                .takes()
                .__state_migration_encoder()
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
            .of(__state_migration::function(order_v1_to_v2))
    };
    const _: () = if __STATE_MIGRATION.is_refused() {
        __state_migration::core::panic!("{}", __STATE_MIGRATION.refusal())
    };
    __state_migration::inventory::submit! {
        __STATE_MIGRATION.registration
    }
};

// #[state_migration(from = OrderV1, to = OrderV2)]
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
    impl __state_migration::Annotated for OrderV1ToV2Migration {
        type From = OrderV1;
        type To = OrderV2;
        type Takes = StateV1;
        type Gives = StateV2;
        const MIGRATION: Self = Self;
        const FINGERPRINT: ::core::primitive::u64 = 14267258865432572380u64;
        const DEFINED_AT: ::state_migration::SourceLocation = ::state_migration::SourceLocation {
            function: ::core::concat!(::core::module_path!(), "::", "order_v1_to_v2"),
            package: ::core::env!("CARGO_PKG_NAME"),
            file: ::core::file!(),
            line: ::core::line!(),
        };
        fn call(state: StateV1) -> __state_migration::Returned<StateV2> {
            #[allow(unused_imports)]
            use __state_migration::AsIs as _;
            __state_migration::Settle(order_v1_to_v2(state)).__state_migration_settle()
        }
        fn decoder() -> ::core::option::Option<__state_migration::Decoder> {
            #[allow(unused_imports)]
            use __state_migration::{DecodeNothing as _, DecodeState as _};
            __state_migration::Decode::<StateV2>::new().__state_migration_decoder()
        }
        fn encoder() -> ::core::option::Option<__state_migration::Encoder> {
            #[allow(unused_imports)]
            use __state_migration::EncodeNothing as _;
            __state_migration::Encode::<StateV1>::new().__state_migration_encoder()
        }
    }
    type __StateMigrationTo = OrderV2;
    impl __state_migration::MigratesTo<__StateMigrationTo> for OrderV1 {}
    const __STATE_MIGRATION: __state_migration::Link = {
        #[allow(unused_imports)]
        use __state_migration::NotShared as _;
        __state_migration::link::<
            OrderV1ToV2Migration,
            OrderV1,
            OrderV2,
            __state_migration::Inferred<_>,
            __state_migration::Inferred<_>,
            StateV1,
            StateV2,
        >(__state_migration::States::<OrderV1, OrderV2>::__STATE_MIGRATION_SHARED)
    };
    const _: () = if __STATE_MIGRATION.is_refused() {
        ::core::panic!("{}", __STATE_MIGRATION.refusal())
    };
    __state_migration::inventory::submit! {
        __STATE_MIGRATION.registration
    }
};

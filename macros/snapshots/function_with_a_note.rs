// #[state_migration(from = OrderV1, to = OrderV2, note = "counts cents")]
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
    impl ::state_migration::__private::Annotated for OrderV1ToV2Migration {
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
        const DETAILS: ::state_migration::__private::Details = ::state_migration::__private::Details::new()
            .note("counts cents");
        fn call(state: StateV1) -> ::state_migration::__private::Returned<StateV2> {
            #[allow(unused_imports)]
            use ::state_migration::__private::AsIs as _;
            ::state_migration::__private::Settle(order_v1_to_v2(state)).settle()
        }
        fn decoder() -> ::core::option::Option<::state_migration::__private::Decoder> {
            #[allow(unused_imports)]
            use ::state_migration::__private::{DecodeNothing as _, DecodeState as _};
            ::state_migration::__private::Decode::<StateV2>::new().decoder_of_state()
        }
    }
    impl ::state_migration::__private::MigratesTo<OrderV2> for OrderV1 {}
    const __STATE_MIGRATION: ::state_migration::__private::Link = {
        #[allow(unused_imports)]
        use ::state_migration::__private::NotShared as _;
        ::state_migration::__private::link::<
            OrderV1ToV2Migration,
            OrderV1,
            OrderV2,
            ::state_migration::__private::Inferred<_>,
            ::state_migration::__private::Inferred<_>,
            StateV1,
            StateV2,
        >(::state_migration::__private::States::<OrderV1, OrderV2>::SHARED)
    };
    const _: () = if __STATE_MIGRATION.is_refused() {
        ::core::panic!("{}", __STATE_MIGRATION.refusal())
    };
    ::state_migration::__private::inventory::submit! {
        __STATE_MIGRATION.registration
    }
};

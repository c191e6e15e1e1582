// #[state_migration(crate = crate::facade, from = orders::V2, to = orders::V1, name = Back, note = "loses cents", undo, detached)]
// /// Counts cents.
// pub(crate) fn order_v1_to_v2(old: StateV1) -> StateV2 { StateV2 { cents: old.euro * 100 } }

/// Counts cents.
pub(crate) fn order_v1_to_v2(old: StateV1) -> StateV2 {
    StateV2 { cents: old.euro * 100 }
}
///The migration by [`order_v1_to_v2`], found at link time.
#[derive(::core::clone::Clone, ::core::marker::Copy, ::core::fmt::Debug)]
pub(crate) struct Back;
#[allow(deprecated, non_local_definitions)]
const _: () = {
    impl crate::facade::__private::Annotated for Back {
        type From = orders::V2;
        type To = orders::V1;
        type Takes = StateV1;
        type Gives = StateV2;
        const MIGRATION: Self = Self;
        const FINGERPRINT: ::core::primitive::u64 = 14267258865432572380u64;
        const DEFINED_AT: crate::facade::SourceLocation = crate::facade::SourceLocation {
            function: ::core::concat!(::core::module_path!(), "::", "order_v1_to_v2"),
            package: ::core::env!("CARGO_PKG_NAME"),
            file: ::core::file!(),
            line: ::core::line!(),
        };
        const DETAILS: crate::facade::__private::Details = crate::facade::__private::Details::new()
            .note("loses cents")
            .undo()
            .detached();
        fn call(state: StateV1) -> crate::facade::__private::Returned<StateV2> {
            #[allow(unused_imports)]
            use crate::facade::__private::AsIs as _;
            crate::facade::__private::Settle(order_v1_to_v2(state)).settle()
        }
        fn decoder() -> ::core::option::Option<crate::facade::__private::Decoder> {
            #[allow(unused_imports)]
            use crate::facade::__private::{DecodeNothing as _, DecodeState as _};
            crate::facade::__private::Decode::<StateV2>::new().decoder_of_state()
        }
    }
    const __STATE_MIGRATION: crate::facade::__private::Link = {
        #[allow(unused_imports)]
        use crate::facade::__private::NotShared as _;
        crate::facade::__private::link::<
            Back,
            orders::V2,
            orders::V1,
            crate::facade::__private::Inferred<_>,
            crate::facade::__private::Inferred<_>,
            StateV1,
            StateV2,
        >(crate::facade::__private::States::<orders::V2, orders::V1>::SHARED)
    };
    const _: () = if __STATE_MIGRATION.is_refused() {
        ::core::panic!("{}", __STATE_MIGRATION.refusal())
    };
    crate::facade::__private::inventory::submit! {
        __STATE_MIGRATION.registration
    }
};

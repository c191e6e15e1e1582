// #[state_migration(from = OrderV2, to = OrderV1, undo)]
// fn order_v2_to_v1(new: StateV2) -> Result<StateV1, String> { Err(String::new()) }

fn order_v2_to_v1(new: StateV2) -> Result<StateV1, String> {
    Err(String::new())
}
///The migration by [`order_v2_to_v1`], found at link time.
#[derive(::core::clone::Clone, ::core::marker::Copy, ::core::fmt::Debug)]
struct OrderV2ToV1Migration;
#[allow(deprecated, non_local_definitions)]
const _: () = {
    impl ::state_migration::__private::Annotated for OrderV2ToV1Migration {
        type From = OrderV2;
        type To = OrderV1;
        type Takes = StateV2;
        type Gives = Result<StateV1, String>;
        const MIGRATION: Self = Self;
        const FINGERPRINT: ::core::primitive::u64 = 10641537342568033681u64;
        const DEFINED_AT: ::state_migration::SourceLocation = ::state_migration::SourceLocation {
            function: ::core::concat!(::core::module_path!(), "::", "order_v2_to_v1"),
            package: ::core::env!("CARGO_PKG_NAME"),
            file: ::core::file!(),
            line: ::core::line!(),
        };
        const DETAILS: ::state_migration::__private::Details = ::state_migration::__private::Details::new()
            .undo();
        fn call(
            state: StateV2,
        ) -> ::state_migration::__private::Returned<Result<StateV1, String>> {
            #[allow(unused_imports)]
            use ::state_migration::__private::AsIs as _;
            ::state_migration::__private::Settle(order_v2_to_v1(state)).settle()
        }
        fn decoder() -> ::core::option::Option<::state_migration::__private::Decoder> {
            #[allow(unused_imports)]
            use ::state_migration::__private::{DecodeNothing as _, DecodeState as _};
            ::state_migration::__private::Decode::<Result<StateV1, String>>::new()
                .decoder_of_state()
        }
    }
    impl ::state_migration::__private::MigratesBackTo<OrderV1> for OrderV2 {}
    const __STATE_MIGRATION: ::state_migration::__private::Link = {
        #[allow(unused_imports)]
        use ::state_migration::__private::NotShared as _;
        ::state_migration::__private::link::<
            OrderV2ToV1Migration,
            OrderV2,
            OrderV1,
            ::state_migration::__private::Inferred<_>,
            ::state_migration::__private::Inferred<_>,
            StateV2,
            Result<StateV1, String>,
        >(::state_migration::__private::States::<OrderV2, OrderV1>::SHARED)
    };
    const _: () = if __STATE_MIGRATION.is_refused() {
        ::core::panic!("{}", __STATE_MIGRATION.refusal())
    };
    ::state_migration::__private::inventory::submit! {
        __STATE_MIGRATION.registration
    }
};

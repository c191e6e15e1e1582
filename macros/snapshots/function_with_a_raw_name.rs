// #[state_migration(from = OrderV1, to = OrderV2)]
// #[must_use] const fn r#move(_: ()) -> () {}

#[must_use]
const fn r#move(_: ()) -> () {}
///The migration by [`move`], found at link time.
#[derive(::core::clone::Clone, ::core::marker::Copy, ::core::fmt::Debug)]
struct MoveMigration;
#[allow(deprecated, non_local_definitions)]
const _: () = {
    impl ::state_migration::__private::Annotated for MoveMigration {
        type From = OrderV1;
        type To = OrderV2;
        type Takes = ();
        type Gives = ();
        const MIGRATION: Self = Self;
        const FINGERPRINT: ::core::primitive::u64 = 14132693966615211080u64;
        const DEFINED_AT: ::state_migration::SourceLocation = ::state_migration::SourceLocation {
            function: ::core::concat!(::core::module_path!(), "::", "move"),
            package: ::core::env!("CARGO_PKG_NAME"),
            file: ::core::file!(),
            line: ::core::line!(),
        };
        fn call(state: ()) -> ::state_migration::__private::Returned<()> {
            #[allow(unused_imports)]
            use ::state_migration::__private::AsIs as _;
            ::state_migration::__private::Settle(r#move(state)).settle()
        }
        fn decoder() -> ::core::option::Option<::state_migration::__private::Decoder> {
            #[allow(unused_imports)]
            use ::state_migration::__private::{DecodeNothing as _, DecodeState as _};
            ::state_migration::__private::Decode::<()>::new().decoder_of_state()
        }
    }
    impl ::state_migration::__private::MigratesTo<OrderV2> for OrderV1 {}
    const __STATE_MIGRATION: ::state_migration::__private::Link = {
        #[allow(unused_imports)]
        use ::state_migration::__private::NotShared as _;
        ::state_migration::__private::link::<
            MoveMigration,
            OrderV1,
            OrderV2,
            ::state_migration::__private::Inferred<_>,
            ::state_migration::__private::Inferred<_>,
            (),
            (),
        >(::state_migration::__private::States::<OrderV1, OrderV2>::SHARED)
    };
    const _: () = if __STATE_MIGRATION.is_refused() {
        ::core::panic!("{}", __STATE_MIGRATION.refusal())
    };
    ::state_migration::__private::inventory::submit! {
        __STATE_MIGRATION.registration
    }
};

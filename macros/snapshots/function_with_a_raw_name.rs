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
    impl __state_migration::Annotated for MoveMigration {
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
        fn call(state: ()) -> __state_migration::Returned<()> {
            #[allow(unused_imports)]
            use __state_migration::AsIs as _;
            __state_migration::Settle(r#move(state)).__state_migration_settle()
        }
        fn decoder() -> ::core::option::Option<__state_migration::Decoder> {
            #[allow(unused_imports)]
            use __state_migration::{DecodeNothing as _, DecodeState as _};
            __state_migration::Decode::<()>::new().__state_migration_decoder()
        }
        fn encoder() -> ::core::option::Option<__state_migration::Encoder> {
            #[allow(unused_imports)]
            use __state_migration::EncodeNothing as _;
            __state_migration::Encode::<()>::new().__state_migration_encoder()
        }
    }
    type __StateMigrationTo = OrderV2;
    impl __state_migration::MigratesTo<__StateMigrationTo> for OrderV1 {}
    const __STATE_MIGRATION: __state_migration::Link = {
        #[allow(unused_imports)]
        use __state_migration::NotShared as _;
        __state_migration::link::<
            MoveMigration,
            OrderV1,
            OrderV2,
            __state_migration::Inferred<_>,
            __state_migration::Inferred<_>,
            (),
            (),
        >(__state_migration::States::<OrderV1, OrderV2>::__STATE_MIGRATION_SHARED)
    };
    const _: () = if __STATE_MIGRATION.is_refused() {
        ::core::panic!("{}", __STATE_MIGRATION.refusal())
    };
    __state_migration::inventory::submit! {
        __STATE_MIGRATION.registration
    }
};

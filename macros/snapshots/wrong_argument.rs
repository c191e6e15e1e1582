// #[state_migration(form = OrderV1, to = OrderV2, name = ToCents)]
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
pub(crate) struct ToCents;
::state_migration::__private::values!(ToCents, "ToCents");
#[allow(deprecated, non_local_definitions)]
const _: () = {
    use ::state_migration::__private as __state_migration;
    type __StateMigrationFrom = OrderV1;
    type __StateMigrationTo = OrderV2;
    impl __state_migration::KeepOneMigrationTo<
        __state_migration::Inferred<__StateMigrationTo>,
    > for __state_migration::Inferred<__StateMigrationFrom> {}
    impl __state_migration::Annotated for ToCents {
        type From = __state_migration::Inferred<__StateMigrationFrom>;
        type To = __state_migration::Inferred<__StateMigrationTo>;
        const FACTS: __state_migration::Facts = __state_migration::Facts::new(
            0u64,
            __state_migration::location(
                ::state_migration::__private::core::concat!(
                    ::state_migration::__private::core::module_path!(), "::",
                    "order_v1_to_v2"
                ),
                "state-migration-macros",
            ),
            __state_migration::core::option::Option::None,
            __state_migration::core::option::Option::None,
        );
        fn call(__call: __state_migration::Call<'_>) -> __state_migration::Called {
            __state_migration::core::result::Result::Err(
                __state_migration::ConversionError::new("refused"),
            )
        }
    }
};
::core::compile_error! {
    "unknown key `form`, did you mean `from`? The keys are `from`, `to`, `name`, `crate`, `undo`, `detached`, `note`, `check`, `covers` and `unchanged`"
}

// #[state_migration(form = OrderV1, to = OrderV2, name = ToCents)]
// /// Counts cents.
// pub(crate) fn order_v1_to_v2(old: StateV1) -> StateV2 { StateV2 { cents: old.euro * 100 } }

::core::compile_error! {
    "unknown key `form`, perhaps `from`: the keys are `from`, `to`, `name`, `crate`, `undo`, `detached` and `note`"
}
/// Counts cents.
pub(crate) fn order_v1_to_v2(old: StateV1) -> StateV2 {
    StateV2 { cents: old.euro * 100 }
}
const _: () = {
    type __StateMigration0 = OrderV1;
    type __StateMigration1 = OrderV2;
};
#[allow(dead_code, missing_docs)]
#[derive(::core::clone::Clone, ::core::marker::Copy, ::core::fmt::Debug)]
pub(crate) struct ToCents;

// #[state_migration(from = OrderV1, to = OrderV2)]
// struct OrderV1ToV2;

::core::compile_error! {
    "expected a function: `#[state_migration]` goes on the `fn` that converts the state"
}
const _: () = {
    type __StateMigration0 = OrderV1;
    type __StateMigration1 = OrderV2;
};
struct OrderV1ToV2;

// #[state_migration(from = OrderV1, to = OrderV2)]
// struct OrderV1ToV2;

::core::compile_error! {
    "expected a function: put `#[state_migration]` on the `fn` that converts the state"
}
const _: () = {
    use OrderV1 as _;
    use OrderV2 as _;
};
struct OrderV1ToV2;

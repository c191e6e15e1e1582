// identity_migration!(OrderV1, OrderV2);

const _: () = {
    use OrderV1 as _;
    use OrderV2 as _;
    ::core::compile_error! {
        "expected `=>` and a later version: write `identity_migration!(OrderV1 => OrderV2)`"
    }
};

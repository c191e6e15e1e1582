// identity_migration!(OrderV1, OrderV2);

::core::compile_error! {
    "expected `=>` and a later version: write `identity_migration!(OrderV1 => OrderV2)`"
}

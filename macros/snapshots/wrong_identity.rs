// identity_migration!(OrderV1, OrderV2);

const _: () = {
    type __StateMigration0 = OrderV1;
    type __StateMigration1 = OrderV2;
    ::core::compile_error! {
        "expected `=>` and a later version: write `identity_migration!(OrderV1 => OrderV2)`"
    }
};

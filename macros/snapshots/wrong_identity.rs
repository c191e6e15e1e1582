// identity_migration!(OrderV1, OrderV2);

#[allow(deprecated)]
const _: () = {
    use state_migration::__private as __state_migration;
    #[cfg(false)]
    type __StateMigrationVersion = OrderV1;
    #[cfg(false)]
    type __StateMigrationVersion = OrderV2;
    use OrderV1 as _;
    use OrderV2 as _;
    ::core::compile_error! {
        "expected `=>` and a later version: write `identity_migration!(OrderV1 => OrderV2)`"
    }
};

// migration_chain!(OrderV1 => OrderV2 => OrderV3);

#[allow(deprecated)]
const _: () = {
    use state_migration::__private as __state_migration;
    __state_migration::hop::<OrderV1, OrderV2>();
    __state_migration::hop::<OrderV2, OrderV3>();
};

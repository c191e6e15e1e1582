use state_migration::migration_chain;

migration_chain!(OrderV1, OrderV2, OrderV3);

fn main() {}

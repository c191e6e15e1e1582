use state_migration::migration_chain;

migration_chain!(OrderV1);

fn main() {}

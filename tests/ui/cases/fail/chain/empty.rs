use state_migration::migration_chain;

migration_chain!();

fn main() {}

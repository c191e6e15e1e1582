use state_migration::migration_chain;

include!("../../workflows.rs");

migration_chain!(OrderV1 => _);

fn main() {}

use state_migration::identity_migration;

include!("../../workflows.rs");

identity_migration!(Vec<_> => OrderV2);

fn main() {}

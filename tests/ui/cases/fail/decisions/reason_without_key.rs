use state_migration::no_migration;

no_migration!(OrderV1, "never deployed");

fn main() {}

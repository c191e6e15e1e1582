use state_migration::no_migration;

no_migration!(OrderV1 reason = "never deployed");

fn main() {}

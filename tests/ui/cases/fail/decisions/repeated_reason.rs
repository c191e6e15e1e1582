use state_migration::no_migration;

no_migration!(OrderV1, reason = "empty", reason = "old");

fn main() {}

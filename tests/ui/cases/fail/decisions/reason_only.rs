use state_migration::no_migration;

no_migration!(reason = "never deployed");

fn main() {}

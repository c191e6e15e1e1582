use state_migration::no_migration;

no_migration!(OrderV1, because = "never deployed");

fn main() {}

use state_migration::identity_migration;

identity_migration!(OrderV1);

fn main() {}

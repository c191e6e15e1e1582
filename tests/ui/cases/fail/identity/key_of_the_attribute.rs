use state_migration::identity_migration;

identity_migration!(OrderV1 => OrderV2, name = KeepAll);

fn main() {}

use state_migration::identity_migration;

identity_migration!(from = OrderV1, to = OrderV2);

fn main() {}

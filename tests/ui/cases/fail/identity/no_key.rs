use state_migration::identity_migration;

identity_migration!(OrderV1 => OrderV2, "keeps all");

fn main() {}

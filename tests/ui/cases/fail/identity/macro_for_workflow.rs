use state_migration::identity_migration;

struct OrderV2;

identity_migration!(order!(1) => OrderV2);

fn main() {}

use state_migration::identity_migration;

include!("../../workflows.rs");

struct Order<V>(V);

identity_migration!(Order<NotImported> => OrderV2);

fn main() {}

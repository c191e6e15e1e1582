use state_migration::no_migration;

include!("../../workflows.rs");

no_migration!(Vec<NotImported>, reason = "never deployed");

fn main() {}

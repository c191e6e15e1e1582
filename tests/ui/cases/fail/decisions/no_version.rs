use state_migration::no_migration;

no_migration!();

fn main() {}

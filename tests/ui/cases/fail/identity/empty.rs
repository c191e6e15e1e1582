use state_migration::identity_migration;

identity_migration!();

fn main() {}

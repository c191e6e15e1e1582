use state_migration::Workflow;

state_migration::migration_chain!(Workflow);

fn main() {}

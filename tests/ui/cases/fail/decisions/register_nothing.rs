use state_migration::register_workflow;

register_workflow!();

fn main() {}

use state_migration::register_workflow;

register_workflow!("order");

fn main() {}

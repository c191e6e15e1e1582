state_migration::register_workflow!("Order");

fn main() {}

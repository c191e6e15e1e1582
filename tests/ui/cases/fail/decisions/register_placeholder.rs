use state_migration::register_workflow;

include!("../../workflows.rs");

register_workflow!(Vec<_>);

fn main() {}

use state_migration::register_workflow;

register_workflow!(OrderV1 OrderV2);

fn main() {}

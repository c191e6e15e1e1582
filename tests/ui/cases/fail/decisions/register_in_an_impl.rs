use state_migration::register_workflow;

include!("../../workflows.rs");

struct Orders;

impl Orders {
    register_workflow!(OrderV1);
}

fn main() {}

use state_migration::register_workflow;

include!("../../workflows.rs");

fn migrate() {
    let _ = register_workflow!(OrderV1);
}

fn main() {}

use state_migration::no_migration;

include!("../../workflows.rs");

struct Orders;

impl Orders {
    no_migration!(OrderV1, reason = "never deployed");
}

fn main() {}

use state_migration::{Migrations, state_migration};

include!("../../workflows.rs");

#[state_migration(from = OrderV1, to = OrderV2)]
fn order_v1_to_v2(_: StateV1) -> StateV2 {
    StateV2
}

/// As the constructor of a runner.
fn run(_: impl Migrations) {}

fn main() {
    run(order_v1_to_v2);
}

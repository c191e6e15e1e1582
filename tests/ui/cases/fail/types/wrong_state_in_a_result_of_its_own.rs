use state_migration::state_migration;

include!("../../workflows.rs");

type Result<S> = std::result::Result<Box<S>, String>;

#[state_migration(from = OrderV1, to = OrderV2)]
fn order_v1_to_v2(_: StateV1) -> Result<str> {
    Err(String::new())
}

fn main() {}

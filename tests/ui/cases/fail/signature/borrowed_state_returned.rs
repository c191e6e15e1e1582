use state_migration::state_migration;

include!("../../workflows.rs");

struct Slice<'a>(&'a [u8]);

#[state_migration(from = OrderV1, to = OrderV2)]
fn order_v1_to_v2(_: StateV1) -> Slice<'_> {
    Slice(&[])
}

fn main() {}

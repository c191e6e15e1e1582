use state_migration::state_migration;

struct OrderV1;
struct OrderV2;
struct StateV1;
struct StateV2;

struct Odd<'a>(&'a str);

#[state_migration(from = OrderV1, to = OrderV2)]
fn order_v1_to_v2<'a>(_: StateV1) -> Result<StateV2, Odd<'a>> {
    Err(Odd("odd"))
}

fn main() {}

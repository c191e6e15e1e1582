// #[state_migration(from = OrderV1, to = OrderV2)]
// fn order_v1_to_v2(old: _) -> StateV2 { StateV2 }

fn order_v1_to_v2(old: _) -> StateV2 {
    StateV2
}

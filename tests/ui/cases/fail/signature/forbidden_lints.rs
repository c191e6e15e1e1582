//! The struct of a refused function has its docs and its use all the same.

#![forbid(dead_code, missing_docs, unused_imports)]

use state_migration::state_migration;

struct StateV1;
struct StateV2;
struct OrderV1;
struct OrderV2;

/// Returns nothing.
#[state_migration(from = OrderV1, to = OrderV2)]
pub fn order_v1_to_v2(_: StateV1) {}

fn main() {}

//! A version with the schema version of an older one that has another state.

use std::process::ExitCode;

use shop_migrations as _;
use shop_workflows::{Cart2, Cart5, CartState2, CartState5};
use state_migration::{MigrationRegistry, state_migration};

#[state_migration(from = Cart2, to = Cart5, detached)]
fn back_to_one(old: CartState2) -> CartState5 {
    CartState5 { cents: old.cents }
}

fn main() -> ExitCode {
    shop_programs::tell(MigrationRegistry::linked())
}

//! A migration that begins where none of the others ends.

use std::process::ExitCode;

use shop_migrations as _;
use shop_workflows::{Cart3, Cart4, CartState3, CartState4};
use state_migration::{MigrationRegistry, state_migration};

#[state_migration(from = Cart3, to = Cart4, detached)]
fn after_the_gap(old: CartState3) -> CartState4 {
    CartState4 { cents: old.cents }
}

fn main() -> ExitCode {
    shop_programs::tell(MigrationRegistry::linked())
}

//! A way back where there is no way there.

use std::process::ExitCode;

use shop_migrations as _;
use shop_workflows::{Cart3, Cart4, CartState3, CartState4};
use state_migration::{MigrationRegistry, state_migration};

#[state_migration(from = Cart4, to = Cart3, undo, detached)]
fn back(new: CartState4) -> CartState3 {
    CartState3 { cents: new.cents }
}

fn main() -> ExitCode {
    shop_programs::tell(MigrationRegistry::linked())
}

//! Shows what is linked, and upgrades an order: `shop-program v1 '{"euro":5}'`.

use std::error::Error;

use shop_workflows::OrderV3;
use state_migration::MigrationRegistry;

// Without this line none of its migrations is linked.
use shop_migrations as _;

fn main() -> Result<(), Box<dyn Error>> {
    let registry = MigrationRegistry::linked()?.require(["order@v1->v2", "order@v2->v3"])?;
    for migration in registry.migrations() {
        print!("{migration}");
        println!(
            "{}",
            migration
                .note()
                .map_or_else(String::new, |note| format!(": {note}"))
        );
    }
    print!("{}", registry.drawing().to_mermaid());
    if let [version, state] = std::env::args().skip(1).collect::<Vec<_>>().as_slice() {
        println!("{}", registry.upgrade("order", version, state)?.state);
        println!("{:?}", registry.upgrade_to::<OrderV3>(version, state)?);
    }
    Ok(())
}

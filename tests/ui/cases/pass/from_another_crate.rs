//! One of the two workflows may be of another crate.

use state_migration::{MigrationRegistry, Workflow, state_migration};
use state_migration_ui_tests::{ForeignState, ForeignV1, OrderEvent};

struct LocalV2;

impl Workflow for LocalV2 {
    const NAME: &'static str = "foreign";
    const VERSION: &'static str = "v2";
    type State = ForeignState;
    type Event = OrderEvent;

    fn apply(state: ForeignState, _: &OrderEvent) -> ForeignState {
        state
    }
}

#[state_migration(from = ForeignV1, to = LocalV2)]
fn foreign_v1_to_v2(old: ForeignState) -> ForeignState {
    old
}

fn main() {
    let registry = MigrationRegistry::linked().unwrap();
    assert_eq!(
        registry.migrations()[0].to_string(),
        concat!(
            "foreign@v1->v2 by ",
            module_path!(),
            "::foreign_v1_to_v2 (",
            file!(),
            ":20 in package ",
            env!("CARGO_PKG_NAME"),
            ")"
        )
    );
}

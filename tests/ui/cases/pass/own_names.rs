//! Names that a crate gives to what is its own mean that, and not what they mean
//! elsewhere.

#![deny(warnings)]

// Nothing in it is what `core` has.
extern crate serde as core;

// Generated code has patterns that such constants would match.
#[allow(non_upper_case_globals)]
const __f: u8 = 1;
#[allow(non_upper_case_globals)]
const __state: u8 = __f + 1;
const _: u8 = __state;

use serde::{Deserialize, Serialize};
use state_migration::{
    EventPayload, MigrationRegistry, StateMigration, Workflow, identity_migration,
    migration_chain, no_migration, register_workflow, state_migration,
};

#[derive(Serialize, Deserialize)]
enum OrderEvent {
    Placed,
}

impl EventPayload for OrderEvent {
    fn event_type(&self) -> &'static str {
        "OrderPlaced"
    }
}

macro_rules! versions {
    ($($name:ident $version:literal),*) => {$(
        struct $name;

        impl Workflow for $name {
            const NAME: &'static str = "order";
            const VERSION: &'static str = $version;
            type State = Box<str>;
            type Event = OrderEvent;

            fn apply(order: Box<str>, _: &OrderEvent) -> Box<str> {
                order
            }
        }
    )*};
}

versions!(OrderV1 "v1", OrderV2 "v2", OrderV3 "v3", OrderV4 "v4");

/// Has a type without a size as its argument, and a size.
type Result<S> = std::result::Result<Box<S>, String>;

#[state_migration(from = OrderV1, to = OrderV2)]
fn order_v1_to_v2(old: Box<str>) -> Result<str> {
    if old.is_empty() {
        return Err("there is nothing to move".to_owned());
    }
    Ok(old)
}

/// Names that parameters have too: a constant in a pattern is no name of its own.
#[allow(non_upper_case_globals)]
mod constants {
    pub const f: u8 = 1;
    pub const state: u8 = 2;
    pub static settle: u8 = 3;
}

use constants::{f, settle, state};

identity_migration!(OrderV2 => OrderV3);
migration_chain!(OrderV1 => OrderV2 => OrderV3);
register_workflow!(OrderV3);
no_migration!(OrderV3, reason = "v4 is for new orders");
register_workflow!(OrderV4);

fn main() {
    assert!(OrderV1ToV2Migration.migrate("a pen".into()).is_ok());
    let refused = OrderV1ToV2Migration.migrate("".into()).unwrap_err();
    assert_eq!(refused.to_string(), "there is nothing to move");
    let registry = MigrationRegistry::linked().unwrap();
    let migrations = registry.migrations().iter();
    let names: Vec<String> = migrations.map(|migration| migration.short_name()).collect();
    assert_eq!(names, ["order@v1->v2", "order@v2->v3"]);
    assert_eq!([f, state, settle], [1, 2, 3]);
}

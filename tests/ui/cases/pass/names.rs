//! The struct is named after the function, whatever that is called.

#![deny(warnings)]

use serde::{Deserialize, Serialize};
use state_migration::{EventPayload, MigrationRegistry, Workflow, state_migration};

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
            type State = ();
            type Event = OrderEvent;

            fn apply(_: (), _: &OrderEvent) {}
        }
    )*};
}

versions!(V1 "1", V2 "2", V3 "3", V4 "4", V5 "5", V6 "6", V7 "7", V8 "8", V9 "9");

#[state_migration(from = V1, to = V2)]
fn r#move(_: ()) -> () {}

#[state_migration(from = V2, to = V3)]
fn _private_name(_: ()) -> () {}

#[state_migration(from = V3, to = V4)]
#[allow(non_snake_case)]
fn toISO20022(_: ()) -> () {}

#[state_migration(from = V4, to = V5)]
fn größer_2(_: ()) -> () {}

// A name that generated code uses too.
#[state_migration(from = V5, to = V6)]
fn call(_: ()) -> () {}

// No struct is named with a digit in front.
#[state_migration(from = V6, to = V7)]
fn _6to7(_: ()) -> () {}

#[state_migration(from = V7, to = V8, name = ToV8)]
fn _7to8(_: ()) -> () {}

// A name in an older edition, and a keyword in a later one.
#[state_migration(from = V8, to = V9)]
fn r#gen(_: ()) -> () {}

fn main() {
    let _all = (
        MoveMigration,
        PrivateNameMigration,
        ToISO20022Migration,
        Größer2Migration,
        CallMigration,
        _6to7Migration,
        ToV8,
        GenMigration,
    );
    let registry = MigrationRegistry::linked().unwrap();
    let functions: Vec<&str> = registry
        .migrations()
        .iter()
        .map(|migration| migration.defined_at().unwrap().function)
        .collect();
    assert_eq!(
        functions,
        [
            concat!(module_path!(), "::move"),
            concat!(module_path!(), "::_private_name"),
            concat!(module_path!(), "::toISO20022"),
            concat!(module_path!(), "::größer_2"),
            concat!(module_path!(), "::call"),
            concat!(module_path!(), "::_6to7"),
            concat!(module_path!(), "::_7to8"),
            concat!(module_path!(), "::gen"),
        ]
    );
}

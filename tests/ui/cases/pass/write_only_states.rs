//! The state of the newest version only has to be serialized.

use std::cell::Cell;
use std::rc::Rc;

use serde::{Deserialize, Serialize};
use state_migration::{EventPayload, MigrationRegistry, StateMigration, Workflow, state_migration};

#[derive(Serialize, Deserialize)]
enum OrderEvent {
    Placed,
}

impl EventPayload for OrderEvent {
    fn event_type(&self) -> &'static str {
        "OrderPlaced"
    }
}

#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
struct Old {
    total: u64,
}

#[derive(Debug, Default, Clone, PartialEq, Serialize)]
struct WriteOnly {
    total: u64,
}

/// Can be deserialized only from `'static` input.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
struct Static {
    currency: &'static str,
}

/// Can be deserialized from input that lives as long as the state.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
struct Borrowed<'a> {
    currency: &'a str,
}

#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
#[serde(bound(deserialize = "T: Deserialize<'de> + Copy"))]
struct Generic<T> {
    total: T,
}

#[derive(Debug)]
struct NotSend(Rc<Cell<u8>>);

impl std::fmt::Display for NotSend {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "refused with {}", self.0.get())
    }
}

macro_rules! versions {
    ($($name:ident $workflow:literal $version:literal $state:ty),*) => {$(
        struct $name;

        impl Workflow for $name {
            const NAME: &'static str = $workflow;
            const VERSION: &'static str = $version;
            const STATE_SCHEMA_VERSION: u32 = $version.as_bytes()[0] as u32;
            type State = $state;
            type Event = OrderEvent;

            fn apply(state: $state, _: &OrderEvent) -> $state {
                state
            }
        }
    )*};
}

versions!(
    A1 "a" "1" Old, A2 "a" "2" WriteOnly,
    B1 "b" "1" Old, B2 "b" "2" WriteOnly,
    C1 "c" "1" Old, C2 "c" "2" Static,
    D1 "d" "1" Old, D2 "d" "2" Borrowed<'static>,
    E1 "e" "1" Old, E2 "e" "2" Generic<String>,
    F1 "f" "1" Old, F2 "f" "2" Old,
    G1 "g" "1" Old, G2 "g" "2" Vec<&'static str>
);

#[state_migration(from = A1, to = A2)]
fn plain(old: Old) -> WriteOnly {
    WriteOnly { total: old.total }
}

#[state_migration(from = B1, to = B2)]
fn in_a_result(old: Old) -> Result<WriteOnly, NotSend> {
    Ok(WriteOnly { total: old.total })
}

#[state_migration(from = C1, to = C2)]
fn of_static_text(_: Old) -> Static {
    Static { currency: "EUR" }
}

#[state_migration(from = D1, to = D2)]
fn of_borrowed_text_in_a_result(_: Old) -> Result<Borrowed<'static>, String> {
    Ok(Borrowed { currency: "EUR" })
}

#[state_migration(from = E1, to = E2)]
fn with_a_bound_that_does_not_hold(old: Old) -> Generic<String> {
    Generic {
        total: old.total.to_string(),
    }
}

#[state_migration(from = F1, to = F2)]
fn with_an_error_that_cannot_be_sent(old: Old) -> Result<Old, NotSend> {
    if old.total > 0 {
        return Err(NotSend(Rc::new(Cell::new(1))));
    }
    Ok(old)
}

#[state_migration(from = G1, to = G2)]
fn of_borrowed_texts(_: Old) -> Vec<&'static str> {
    vec!["EUR"]
}

fn main() {
    let old = || Old { total: 7 };
    let new = WriteOnly { total: 7 };
    assert_eq!(PlainMigration.migrate(old()).unwrap(), new);
    assert_eq!(InAResultMigration.migrate(old()).unwrap(), new);
    assert_eq!(
        OfStaticTextMigration.migrate(old()).unwrap().currency,
        "EUR"
    );
    let refused = WithAnErrorThatCannotBeSentMigration.migrate(old());
    assert_eq!(refused.unwrap_err().to_string(), "refused with 1");
    let registry = MigrationRegistry::linked().unwrap();
    assert_eq!(registry.migrations().len(), 7);
}

//! What the keys say is known of the migration; their order does not count.

#![deny(warnings)]

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
struct StateV1 {
    euro: u64,
}

#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
struct StateV2 {
    cents: u64,
}

struct OrderV1;
struct OrderV2;

impl Workflow for OrderV1 {
    const NAME: &'static str = "order";
    const VERSION: &'static str = "v1";
    type State = StateV1;
    type Event = OrderEvent;

    fn apply(state: StateV1, _: &OrderEvent) -> StateV1 {
        state
    }
}

impl Workflow for OrderV2 {
    const NAME: &'static str = "order";
    const VERSION: &'static str = "v2";
    const STATE_SCHEMA_VERSION: u32 = 2;
    type State = StateV2;
    type Event = OrderEvent;

    fn apply(state: StateV2, _: &OrderEvent) -> StateV2 {
        state
    }
}

mod conversions {
    use super::*;

    #[state_migration(
        note = "counts cents from now on",
        check = super::is_kept,
        name = ToCents,
        to = OrderV2,
        from = OrderV1,
    )]
    pub(crate) fn order_v1_to_v2(old: StateV1) -> StateV2 {
        StateV2 {
            cents: old.euro * 100,
        }
    }
}

fn is_kept(old: &StateV1, new: &StateV2) -> Result<(), String> {
    match old.euro * 100 == new.cents {
        true => Ok(()),
        false => Err("another amount".to_owned()),
    }
}

/// Loses cents.
#[state_migration(from = OrderV2, to = OrderV1, undo, note = r"a \ stays")]
fn order_v2_to_v1(new: StateV2) -> Result<StateV1, String> {
    match new.cents % 100 {
        0 => Ok(StateV1 {
            euro: new.cents / 100,
        }),
        cents => Err(format!("{cents} cents would be lost")),
    }
}

fn main() {
    let registry = MigrationRegistry::linked().unwrap();
    let there = &registry.migrations()[0];
    assert_eq!(there.note(), Some("counts cents from now on"));
    assert!(!there.is_undo());
    assert!(!there.is_detached());
    let at = there.defined_at().unwrap();
    assert!(at.function.ends_with("::conversions::order_v1_to_v2"));

    let back = &registry.undos()[0];
    assert_eq!(back.short_name(), "order@v2->v1");
    assert_eq!(back.note(), Some(r"a \ stays"));
    assert!(back.is_undo());
    assert!(!back.is_detached());

    let check = conversions::ToCents.check().unwrap();
    assert!(check(&StateV1 { euro: 7 }, &StateV2 { cents: 700 }).is_ok());
    let refused = check(&StateV1 { euro: 7 }, &StateV2 { cents: 7 });
    assert_eq!(refused.unwrap_err().to_string(), "another amount");
    assert!(OrderV2ToV1Migration.check().is_none());

    let new = conversions::order_v1_to_v2(StateV1 { euro: 7 });
    assert_eq!(order_v2_to_v1(new), Ok(StateV1 { euro: 7 }));
    let refused = OrderV2ToV1Migration.migrate(StateV2 { cents: 1 });
    assert_eq!(refused.unwrap_err().to_string(), "1 cents would be lost");
}

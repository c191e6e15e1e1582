//! Workflows and states by aliases, by type arguments, and from a macro.

use std::marker::PhantomData;

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
struct State<T> {
    total: T,
}

struct Order<T, V>(PhantomData<fn() -> (T, V)>);
struct V1;
struct V2;
struct V3;

impl Workflow for Order<u32, V1> {
    const NAME: &'static str = "order";
    const VERSION: &'static str = "v1";
    type State = State<u32>;
    type Event = OrderEvent;

    fn apply(state: State<u32>, _: &OrderEvent) -> State<u32> {
        state
    }
}

impl Workflow for Order<u64, V2> {
    const NAME: &'static str = "order";
    const VERSION: &'static str = "v2";
    const STATE_SCHEMA_VERSION: u32 = 2;
    type State = State<u64>;
    type Event = OrderEvent;

    fn apply(state: State<u64>, _: &OrderEvent) -> State<u64> {
        state
    }
}

impl Workflow for Order<String, V3> {
    const NAME: &'static str = "order";
    const VERSION: &'static str = "v3";
    const STATE_SCHEMA_VERSION: u32 = 3;
    type State = State<String>;
    type Event = OrderEvent;

    fn apply(state: State<String>, _: &OrderEvent) -> State<String> {
        state
    }
}

type First = Order<u32, V1>;
type Narrow = <First as Workflow>::State;

#[state_migration(from = (First), to = Order<u64, V2>)]
fn widen(Narrow { total }: Narrow) -> <Order<u64, V2> as Workflow>::State {
    State {
        total: u64::from(total),
    }
}

macro_rules! convert {
    ($name:ident: $from:ty, $to:ty, |$state:ident: $takes:ty| -> $gives:ty $body:block) => {
        #[state_migration(from = $from, to = $to)]
        fn $name($state: $takes) -> $gives $body
    };
}

convert!(print: Order<u64, V2>, Order<String, V3>, |old: State<u64>| -> State<String> {
    State {
        total: old.total.to_string(),
    }
});

fn main() {
    let next = WidenMigration.migrate(State { total: 7 }).unwrap();
    assert_eq!(
        PrintMigration.migrate(next).unwrap(),
        State {
            total: "7".to_owned()
        }
    );
    let registry = MigrationRegistry::linked().unwrap();
    let routes: Vec<String> = registry.routes().map(|route| route.to_string()).collect();
    assert_eq!(routes, ["order@v1 -> v2 -> v3", "order@v2 -> v3"]);
}

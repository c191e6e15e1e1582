//! The registry: valid and invalid sets of migrations, the messages of problems, and
//! routes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

macro_rules! workflows {
    ($($workflow:ident = $name:literal @ $version:literal of $state:ty, $schema:literal;)*) => {$(
        struct $workflow;

        impl Workflow for $workflow {
            const NAME: &'static str = $name;
            const VERSION: &'static str = $version;
            const STATE_SCHEMA_VERSION: u32 = $schema;
            type State = $state;
            type Event = OrderEvent;

            fn apply(state: $state, _: &OrderEvent) -> $state {
                state
            }
        }
    )*};
}

mod declarations;
mod diagrams;
mod problems;
mod routes;
mod undo;
mod upgrade;
mod versions;

use std::marker::PhantomData;

use serde::{Deserialize, Serialize};
use state_migration::__private::Details;
use state_migration::{
    ConversionError, EventPayload, MigrationRegistry, Problem, RegistryError, StateMigration,
    Workflow, WorkflowId,
};

/// The event of all workflows here.
#[derive(Debug, Serialize, Deserialize)]
enum OrderEvent {
    /// A customer ordered.
    Placed,
}

impl EventPayload for OrderEvent {
    fn event_type(&self) -> &'static str {
        "OrderPlaced"
    }
}

#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
struct Order {
    total: u64,
}

#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
struct Cents {
    total: u64,
}

workflows! {
    V1 = "order" @ "v1" of Order, 3;
    V2 = "order" @ "v2" of Order, 3;
    V02 = "order" @ "v02" of Order, 3;
    InCentsUnmarked = "order" @ "v2" of Cents, 3;
    Twice = "order" @ "v3" of Cents, 4;
    Renumbered = "order" @ "v3" of Order, 5;
    V3 = "order" @ "v3" of Order, 3;
    V4 = "order" @ "v4" of Order, 3;
    V9 = "order" @ "v9" of Order, 3;
    V10 = "order" @ "v10" of Order, 3;
    InCents = "order" @ "v2" of Cents, 4;
    Invoice1 = "invoice" @ "2025-10-01" of Order, 3;
    Invoice2 = "invoice" @ "2026-04-01" of Order, 3;
    Cart1 = "cart" @ "1" of Order, 3;
    Cart2 = "cart" @ "2" of Order, 3;
    Offer1 = "offer" @ "1" of Order, 3;
    Offer2 = "offer" @ "2" of Order, 3;
    Offer3 = "offer" @ "3" of Order, 3;
    Offer4 = "offer" @ "4" of Order, 3;
}

/// A hand-written migration between any two workflows, with any ids.
struct Step<A, B> {
    source: WorkflowId,
    target: WorkflowId,
    details: Details,
    workflows: PhantomData<fn() -> (A, B)>,
}

impl<A: Workflow, B: Workflow> Step<A, B> {
    fn new() -> Self {
        Self::with_ids(WorkflowId::of::<A>(), WorkflowId::of::<B>())
    }

    /// As the key `undo` makes it.
    fn undo() -> Self {
        Self {
            details: Details::new().undo(),
            ..Self::new()
        }
    }

    fn with_ids(source: WorkflowId, target: WorkflowId) -> Self {
        Self {
            source,
            target,
            details: Details::new(),
            workflows: PhantomData,
        }
    }
}

impl<A: Workflow, B: Workflow> StateMigration for Step<A, B> {
    type FromWorkflow = A;
    type ToWorkflow = B;

    fn source_workflow_id(&self) -> &WorkflowId {
        &self.source
    }

    fn target_workflow_id(&self) -> &WorkflowId {
        &self.target
    }

    fn migrate(&self, _: A::State) -> Result<B::State, ConversionError> {
        Ok(B::State::default())
    }

    fn details(&self) -> Details {
        self.details
    }
}

fn order(version: &'static str) -> WorkflowId {
    WorkflowId::from_static("order", version)
}

/// The only problem of a registry, and its message, which is also that of the
/// whole error; both without where each migration comes from.
#[track_caller]
fn only_problem(result: Result<MigrationRegistry, RegistryError>) -> (String, String) {
    let error = result.expect_err("it does not fit together");
    let [problem] = error.problems() else {
        panic!("one mistake is one problem: {error}");
    };
    assert_eq!(error.to_string(), problem.to_string());
    (
        placeless(&format!("{problem:?}")),
        placeless(&problem.to_string()),
    )
}

/// A problem as [`only_problem`] gives it.
fn shown(problem: &Problem) -> String {
    format!("{problem:?}")
}

/// A text without the source locations of hand-written migrations:
/// `` by `Step<V1, V2>` (added at file:line)``, which a test of its own checks.
fn placeless(text: &str) -> String {
    let mut rest = text;
    let mut plain = String::new();
    while let Some((before, after)) = rest.split_once(" by `") {
        plain.push_str(before);
        if after.starts_with("registry::Step<") || after.starts_with("state_migration::") {
            let (place, after) = after.split_once(')').expect("a place ends");
            assert!(
                place.contains(" (added at ") && place.contains(".rs:"),
                "{place}"
            );
            rest = after;
        } else {
            plain.push_str(" by `");
            rest = after;
        }
    }
    plain + rest
}

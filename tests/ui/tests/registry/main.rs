//! What a registry accepts, what it refuses and in which words, and which way
//! it sends a process.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod problems;
mod routes;

use std::marker::PhantomData;

use serde::{Deserialize, Serialize};
use state_migration::{ConversionError, StateMigration, Workflow, WorkflowId};
use state_migration_ui_tests::OrderEvent;

#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
struct Order {
    total: u64,
}

#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
struct Cents {
    total: u64,
}

macro_rules! workflows {
    ($($workflow:ident = $name:literal @ $version:literal of $state:ty;)*) => {$(
        struct $workflow;

        impl Workflow for $workflow {
            const NAME: &'static str = $name;
            const VERSION: &'static str = $version;
            const STATE_SCHEMA_VERSION: u32 = 3;
            type State = $state;
            type Event = OrderEvent;

            fn apply(state: $state, _: &OrderEvent) -> $state {
                state
            }
        }
    )*};
}

workflows! {
    V1 = "order" @ "v1" of Order;
    V2 = "order" @ "v2" of Order;
    V3 = "order" @ "v3" of Order;
    V4 = "order" @ "v4" of Order;
    V9 = "order" @ "v9" of Order;
    V10 = "order" @ "v10" of Order;
    InCents = "order" @ "v2" of Cents;
    Invoice1 = "invoice" @ "2025-10-01" of Order;
    Invoice2 = "invoice" @ "2026-04-01" of Order;
    Cart1 = "cart" @ "1" of Order;
    Cart2 = "cart" @ "2" of Order;
    Offer1 = "offer" @ "1" of Order;
    Offer2 = "offer" @ "2" of Order;
    Offer3 = "offer" @ "3" of Order;
    Offer4 = "offer" @ "4" of Order;
}

/// A migration by hand, between any two workflows, with any ids.
struct Step<A, B> {
    source: WorkflowId,
    target: WorkflowId,
    workflows: PhantomData<fn() -> (A, B)>,
}

impl<A: Workflow, B: Workflow> Step<A, B> {
    fn new() -> Self {
        Self::with_ids(WorkflowId::of::<A>(), WorkflowId::of::<B>())
    }

    fn with_ids(source: WorkflowId, target: WorkflowId) -> Self {
        Self {
            source,
            target,
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
}

fn order(version: &'static str) -> WorkflowId {
    WorkflowId::from_static("order", version)
}

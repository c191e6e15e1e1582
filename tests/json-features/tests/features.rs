//! Runs of a program in which `serde_json` has the features `arbitrary_precision`,
//! `preserve_order` and `unbounded_depth`. With the first one, a number that is not an
//! integer cannot be read where serde buffers a value, as in a tagged enum.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use state_migration::{
    ErrorKind, EventPayload, EventStore, FailureClass, MemoryStore, MigrationRunner, Process,
    ProcessId, ProcessIdentity, RunState, TenantId, Workflow, WorkflowId, state_migration,
};

#[derive(Serialize, Deserialize)]
#[serde(tag = "type")]
enum Event {
    Placed { euro: u64 },
    Rated { rate: f64 },
}

impl EventPayload for Event {
    fn event_type(&self) -> &'static str {
        match self {
            Self::Placed { .. } => "Placed",
            Self::Rated { .. } => "Rated",
        }
    }
}

#[derive(Default, Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Plain {
    euro: u64,
    rate: f64,
    by_name: HashMap<String, f64>,
}

#[derive(Default, Clone, Serialize, Deserialize)]
#[serde(tag = "kind")]
enum Tagged {
    #[default]
    None,
    Rate {
        rate: f64,
    },
}

macro_rules! orders {
    ($($name:ident $workflow:literal $version:literal $schema:literal $state:ty),* $(,)?) => {$(
        struct $name;

        impl Workflow for $name {
            const NAME: &'static str = $workflow;
            const VERSION: &'static str = $version;
            const STATE_SCHEMA_VERSION: u32 = $schema;
            type State = $state;
            type Event = Event;

            fn apply(state: $state, _: &Event) -> $state {
                state
            }
        }
    )*};
}

orders! {
    PlainV1 "plain" "v1" 1 Plain,
    PlainV2 "plain" "v2" 2 Plain,
    TaggedV1 "tagged" "v1" 1 Plain,
    TaggedV2 "tagged" "v2" 2 Tagged,
}

#[state_migration(from = PlainV1, to = PlainV2)]
fn adds_rates(old: Plain) -> Plain {
    let rates = (0..20_u32).map(|n| (n.to_string(), f64::from(n) / 7.0));
    Plain {
        rate: 31_525.139_595_806_002,
        by_name: rates.collect(),
        ..old
    }
}

#[state_migration(from = TaggedV1, to = TaggedV2)]
fn tags(_: Plain) -> Tagged {
    Tagged::Rate { rate: 0.5 }
}

fn identity<W: Workflow>() -> ProcessIdentity {
    let (tenant, process) = (TenantId::new("shop"), ProcessId::new("17"));
    ProcessIdentity::of::<W>(tenant.unwrap(), process.unwrap())
}

async fn place<W>(store: &MemoryStore)
where
    W: Workflow<State = Plain, Event = Event>,
{
    let process = Process::<W>::open(identity::<W>(), store.clone(), store.clone());
    let mut process = process.await.unwrap();
    process.append(&[Event::Placed { euro: 1 }]).await.unwrap();
    // Written, it could not be folded again.
    let refused = process.append(&[Event::Rated { rate: 0.5 }]).await;
    assert_eq!(*refused.unwrap_err().kind(), ErrorKind::Workflow);
    assert_eq!(process.sequence(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_that_can_be_read_is_migrated() {
    let store = MemoryStore::new();
    place::<PlainV1>(&store).await;
    let runner = MigrationRunner::new(AddsRatesMigration, store.clone(), store.clone());
    let dry = runner.dry_run().await;
    assert_eq!((dry.migrated, dry.error_count), (1, 0), "{dry}");
    let report = runner.run().await;
    assert_eq!(report.state, Some(RunState::Done), "{report}");
    let process = Process::<PlainV2>::open(identity::<PlainV2>(), store.clone(), store);
    assert_eq!(*process.await.unwrap().state(), adds_rates(Plain::default()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_that_this_program_cannot_read_back_is_not_committed() {
    let store = MemoryStore::new();
    place::<TaggedV1>(&store).await;
    let runner = MigrationRunner::new(TagsMigration, store.clone(), store.clone());
    for report in [runner.dry_run().await, runner.run().await] {
        assert_eq!((report.migrated, report.error_count), (0, 1), "{report}");
        let error = &report.errors[0];
        assert_eq!(error.class, FailureClass::ReadsBackDifferently, "{error}");
        assert!(error.message.contains("expected f64"), "{error}");
    }
    let opened = runner.open::<TaggedV2>(identity::<TaggedV2>()).await;
    let refused = opened.map(drop).unwrap_err().to_string();
    assert!(refused.contains("expected f64"), "{refused}");
    let head = store.head(identity::<TaggedV1>().stream_id()).await;
    let head = head.unwrap().unwrap();
    assert_eq!(head.workflow_id, WorkflowId::of::<TaggedV1>());
    assert_eq!(head.sequence, 1);
}

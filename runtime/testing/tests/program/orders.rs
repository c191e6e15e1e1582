//! A workflow of three versions.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use state_migration::{EventPayload, Workflow, state_migration};

#[derive(Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum Event {
    Placed { euro: u64 },
    Noted { text: String },
    Cancelled,
}

impl EventPayload for Event {
    fn event_type(&self) -> &'static str {
        match self {
            Self::Placed { .. } => "OrderPlaced",
            Self::Noted { .. } => "OrderNoted",
            Self::Cancelled => "OrderCancelled",
        }
    }
}

#[derive(Default, Clone, Serialize, Deserialize)]
pub(crate) struct StateV1 {
    euro: u64,
    cancelled: bool,
}

#[derive(Default, Clone, Serialize, Deserialize)]
pub(crate) struct StateV2 {
    cents: u64,
    note: Option<String>,
    status: Status,
}

#[derive(Default, Clone, Serialize, Deserialize)]
pub(crate) enum Status {
    #[default]
    Open,
    Cancelled {
        reason: String,
    },
}

#[derive(Default, Clone, Serialize, Deserialize)]
pub(crate) struct StateV3 {
    amounts: BTreeMap<String, u64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    notes: Vec<String>,
    #[serde(flatten)]
    status: StatusV3,
}

#[derive(Default, Clone, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub(crate) enum StatusV3 {
    #[default]
    Open,
    Cancelled {
        reason: String,
    },
}

pub(crate) struct V1;
pub(crate) struct V2;
pub(crate) struct V3;

impl Workflow for V1 {
    const NAME: &'static str = "order";
    const VERSION: &'static str = "v1";
    type State = StateV1;
    type Event = Event;

    fn apply(mut state: StateV1, event: &Event) -> StateV1 {
        match event {
            Event::Placed { euro } => state.euro += euro,
            Event::Noted { .. } => {}
            Event::Cancelled => state.cancelled = true,
        }
        state
    }
}

impl Workflow for V2 {
    const NAME: &'static str = "order";
    const VERSION: &'static str = "v2";
    const STATE_SCHEMA_VERSION: u32 = 2;
    type State = StateV2;
    type Event = Event;

    fn apply(mut state: StateV2, event: &Event) -> StateV2 {
        match event {
            Event::Placed { euro } => state.cents += euro * 100,
            Event::Noted { text } => state.note = Some(text.clone()),
            Event::Cancelled => {
                let reason = "by the customer".to_owned();
                state.status = Status::Cancelled { reason };
            }
        }
        state
    }
}

impl Workflow for V3 {
    const NAME: &'static str = "order";
    const VERSION: &'static str = "v3";
    const STATE_SCHEMA_VERSION: u32 = 3;
    type State = StateV3;
    type Event = Event;

    fn apply(state: StateV3, _: &Event) -> StateV3 {
        state
    }
}

#[state_migration(from = V1, to = V2)]
fn v1_to_v2(old: StateV1) -> StateV2 {
    let reason = || "unknown".to_owned();
    StateV2 {
        cents: old.euro * 100,
        note: None,
        status: match old.cancelled {
            true => Status::Cancelled { reason: reason() },
            false => Status::Open,
        },
    }
}

#[state_migration(from = V2, to = V3)]
fn v2_to_v3(old: StateV2) -> Result<StateV3, String> {
    Ok(StateV3 {
        amounts: BTreeMap::from([("cents".to_owned(), old.cents)]),
        notes: old.note.into_iter().collect(),
        status: match old.status {
            Status::Open => StatusV3::Open,
            Status::Cancelled { reason } => StatusV3::Cancelled { reason },
        },
    })
}

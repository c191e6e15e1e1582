//! What people asked of a run and of held processes: who, when, why and what. Entries are
//! added and never overwritten.

use std::fmt;
use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};
use state_migration_core::{Program, StreamId, Timestamp, WorkflowId};

/// A request to a run in progress.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RunAction {
    /// What was requested.
    pub action: Action,
    /// Who made the request; empty if the program did so by itself.
    pub actor: String,
    /// The reason, as given by the caller.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// Time of the request, for display only.
    pub time: Timestamp,
}

/// What was requested of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Action {
    /// Pause the run.
    Pause,
    /// Unpause the run.
    Unpause,
    /// Cancel the run.
    Cancel,
    /// Limit the run to this many processes per second; `None` removes the limit.
    Throttle(Option<NonZeroU32>),
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pause => f.write_str("pause"),
            Self::Unpause => f.write_str("unpause"),
            Self::Cancel => f.write_str("cancel"),
            Self::Throttle(Some(limit)) => write!(f, "throttle {limit}"),
            Self::Throttle(None) => f.write_str("throttle off"),
        }
    }
}

/// A hold or a release of a process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct HoldAction {
    /// Whether the process was held, or released.
    pub held: bool,
    /// Who did so, as given by the caller.
    pub actor: String,
    /// The reason, as given by the caller.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// The program that wrote to the store.
    pub program: Program,
    /// Time of the action, for display only.
    pub time: Timestamp,
}

/// A process that was held or released.
#[doc(hidden)]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldProcess {
    pub stream: StreamId,
    /// The version that the process is at.
    pub version: WorkflowId,
    /// Whether the process was held before.
    pub was_held: bool,
}

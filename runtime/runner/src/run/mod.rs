//! Runs as durable objects: what was planned, by whom and why, how far it
//! came, what failed, and how it ended.

pub(crate) mod bookkeeping;
pub(crate) mod counts;
pub mod history;
pub(crate) mod on_open_log;
mod plan;
pub mod rows;
pub(crate) mod run_log;

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use history::{Failure, Runs};
pub use plan::{ChangedStep, Plan, PlanOptions, PlannedRoute, PlannedStay, PlannedStep};

use state_migration_core::{FailureClass, RunId, SkippedBy, Timestamp, TransactionalStore};

/// The store that keeps a run, and the processes that it is for.
pub(crate) type Store = Arc<dyn TransactionalStore>;

/// How far a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RunState {
    /// Recorded, before the first process.
    Planned,
    /// Under way; or it was, when it was killed. Resume it.
    Running,
    /// Waiting to be told to go on.
    Paused,
    /// Ended before its end, because it was told to. It can be resumed.
    Cancelled,
    /// Ended, and no process that it was for is left undecided.
    Done,
    /// Ended, and some processes failed: see [`Runs::failures`].
    DoneWithErrors,
}

impl RunState {
    /// Whether the run is over, so that there is nothing to resume.
    #[must_use]
    pub fn is_done(self) -> bool {
        matches!(self, Self::Done | Self::DoneWithErrors)
    }
}

impl fmt::Display for RunState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Planned => "planned",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Cancelled => "cancelled",
            Self::Done => "done",
            Self::DoneWithErrors => "done with errors",
        })
    }
}

/// What a run goes through.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RunKind {
    /// All processes of its selection that stand behind.
    Migrate,
    /// Those of them that failed in an earlier run.
    Retry {
        /// The earlier run.
        of: RunId,
        /// The classes of failures that it is for; all, if there are none.
        classes: Vec<FailureClass>,
    },
    /// Processes one by one, as they are opened. It has no end.
    Lazy,
}

impl RunKind {
    /// Its name, as rows and logs have it.
    #[doc(hidden)]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Migrate => "migrate",
            Self::Retry { .. } => "retry",
            Self::Lazy => "lazy",
        }
    }
}

/// A run, as the store keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RunRecord {
    /// Its id, as `$migrated` events name it.
    pub id: RunId,
    /// The how-manieth run of the store it is, from 1.
    pub number: u64,
    /// What it goes through.
    pub kind: RunKind,
    /// Who started it, in the caller's words.
    pub who: String,
    /// Why, in the caller's words.
    pub why: String,
    /// What it was to do.
    pub plan: Plan,
    /// How far it is.
    pub state: RunState,
    /// How often it was started: 1, and one more for each time it was resumed.
    pub executions: u32,
    /// The run whose claim on the store it took over, if it did.
    pub took_over: Option<RunId>,
    /// When it was started, by a clock that is shown and never trusted.
    pub started: Timestamp,
    /// When it ended.
    pub ended: Option<Timestamp>,
}

/// What a run has done so far, durably.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct RunCounts {
    /// Processes migrated.
    pub migrated: u64,
    /// Processes that failed.
    pub failed: u64,
    /// Processes left alone, by reason.
    pub skipped_by: SkippedBy,
    /// Of those migrated: too large for a chunk, and folded page by page.
    pub large: u64,
    /// Of those migrated: born at an old version behind the run, and found by
    /// its last sweep.
    pub swept: u64,
    /// Of those migrated: streams of another shape than
    /// `process/{tenant}/{process}`, to which no registry entry can lead.
    pub unregistered: u64,
    /// Of those migrated: on the spot, when they were opened.
    pub lazy: u64,
    /// The bytes of events and baselines read to fold them.
    pub bytes: u64,
}

impl RunCounts {
    /// Adds other counts to these.
    pub fn add(&mut self, other: &Self) {
        self.migrated += other.migrated;
        self.failed += other.failed;
        self.skipped_by.add(&other.skipped_by);
        self.large += other.large;
        self.swept += other.swept;
        self.unregistered += other.unregistered;
        self.lazy += other.lazy;
        self.bytes += other.bytes;
    }

    /// How many processes were looked at.
    #[must_use]
    pub fn processes(&self) -> u64 {
        self.migrated + self.failed + self.skipped_by.total() as u64
    }

    /// How many of them the run was for: all but those that are not selected.
    #[must_use]
    pub fn selected(&self) -> u64 {
        self.processes() - self.skipped_by.not_selected as u64
    }
}

//! What was committed, for those who count it and tell of it.

use state_migration_core::{Head, MigrationError, Stage, StreamId, WorkflowId};

use crate::run::RunCounts;
use crate::run::counts::Tally;

/// A process that was migrated, durably.
pub(crate) struct Moved {
    pub(crate) stream: StreamId,
    pub(crate) to: WorkflowId,
}

/// A process that failed.
pub(crate) struct Failed {
    pub(crate) error: MigrationError,
    /// The version that it is at, if that is known.
    pub(crate) at: Option<WorkflowId>,
}

/// What was committed, durably.
#[derive(Default)]
pub(crate) struct Done {
    pub(crate) moved: Vec<Moved>,
    pub(crate) failed: Vec<Failed>,
    pub(crate) up_to_date: Vec<(StreamId, Head)>,
    pub(crate) counts: RunCounts,
    pub(crate) tally: Tally,
    pub(crate) heads: u64,
    /// The bytes of the new states.
    pub(crate) bytes: usize,
    /// How often processes were not as they had been read.
    pub(crate) conflicts: u64,
}

impl Done {
    /// How many failed since no route is for them.
    pub(crate) fn unroutable(&self) -> u64 {
        let of_routing = |failed: &&Failed| failed.error.stage == Stage::Routing;
        self.failed.iter().filter(of_routing).count() as u64
    }
}

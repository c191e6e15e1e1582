//! The content of a commit, for reports, progress and telemetry.

use std::collections::BTreeMap;
use std::time::Duration;

use state_migration_core::{Head, MigrationError, Stage, StreamId, StreamRange, WorkflowId};

use crate::run::RunCounts;
use crate::run::counts::CountsByWorkflow;
use crate::run::suspects;
use crate::run::totals::RunTotals;

/// A process that was migrated.
pub(crate) struct Moved {
    pub(crate) stream: StreamId,
    pub(crate) to: WorkflowId,
}

/// A process that failed.
pub(crate) struct Failed {
    pub(crate) error: MigrationError,
    /// The version that the process is at, if known.
    pub(crate) at: Option<WorkflowId>,
}

/// The content of a commit.
#[derive(Default)]
pub(crate) struct Done {
    pub(crate) moved: Vec<Moved>,
    pub(crate) failed: Vec<Failed>,
    pub(crate) up_to_date: Vec<(StreamId, Head)>,
    pub(crate) counts: RunCounts,
    pub(crate) by_workflow: CountsByWorkflow,
    /// The totals of the processes migrated.
    pub(crate) totals: RunTotals,
    /// Of a redo: where the new states differ, and of how many processes.
    pub(crate) differences: BTreeMap<String, usize>,
    pub(crate) heads: u64,
    /// The streams passed for the first time in this run.
    pub(crate) passed: Option<StreamRange>,
    /// Number of skipped processes whose heads alone were read.
    pub(crate) passed_over: u64,
    /// The bytes of the new states.
    pub(crate) bytes: usize,
    /// Number of commits that failed because a process had changed since it was read.
    pub(crate) conflicts: u64,
    /// How long the chunk took, from before it was read.
    pub(crate) took: Duration,
    /// How long user code took meanwhile, on the threads of the worker.
    pub(crate) in_code: Duration,
}

impl Done {
    /// Takes out the failures of processes that were not tried.
    pub(crate) fn take_not_tried(&mut self) -> Vec<MigrationError> {
        let not_tried = self
            .failed
            .extract_if(.., |failed| suspects::is_not_tried(&failed.error));
        let not_tried: Vec<Failed> = not_tried.collect();
        for failed in &not_tried {
            self.counts.failed -= 1;
            if let Some(at) = &failed.at {
                self.by_workflow.of(at.name()).failed -= 1;
            }
        }
        not_tried.into_iter().map(|failed| failed.error).collect()
    }

    /// Number of processes that failed because they have no route.
    pub(crate) fn unroutable(&self) -> u64 {
        let of_routing = |failed: &&Failed| failed.error.stage == Stage::Routing;
        self.failed.iter().filter(of_routing).count() as u64
    }
}

//! The record that a driver writes to.

use std::sync::Arc;

use state_migration_core::RunId;

use crate::run::on_open_log::OnOpenLog;
use crate::run::run_log::RunLog;

/// Where results are recorded.
#[derive(Clone)]
pub(crate) enum Bookkeeping {
    /// Nowhere: a dry run writes nothing.
    DryRun,
    /// In the record of a run.
    Run(Arc<RunLog>),
    /// Process by process, beside a run or without one.
    OnOpen(Arc<OnOpenLog>),
}

impl Bookkeeping {
    pub(crate) fn is_dry(&self) -> bool {
        matches!(self, Self::DryRun)
    }

    pub(crate) fn run_log(&self) -> Option<&Arc<RunLog>> {
        match self {
            Self::Run(run_log) => Some(run_log),
            Self::DryRun | Self::OnOpen(_) => None,
        }
    }

    /// The run that processes are counted in, if it may have migrated them before: with
    /// other code, whose routes ended at earlier versions.
    pub(crate) fn may_move_again(&self) -> Option<RunId> {
        match self {
            Self::Run(run_log) => run_log.has_other_code().then(|| run_log.run()),
            Self::OnOpen(log) => log.is_of_a_run().then(|| log.run()),
            Self::DryRun => None,
        }
    }
}

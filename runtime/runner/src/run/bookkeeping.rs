//! The record that a driver writes to.

use std::sync::Arc;

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
}

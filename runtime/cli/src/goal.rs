//! The goal of a command that starts or continues a run.

use state_migration_core::{FailureClass, RunId};
use state_migration_runner::RunCounts;

/// The command that resumes a run.
pub(crate) const RESUME: &str = "resume";

/// The requested kind of run.
#[derive(Debug, Clone)]
pub(crate) enum Goal {
    Run,
    /// A dry run, with the command line of the real run. It is missing if
    /// that run would be refused, because a program has the store open.
    DryRun(Option<String>),
    /// Resumes a run that has done this before.
    Resume(RunId, RunCounts),
    Retry(RunId, Vec<FailureClass>),
}

impl Goal {
    pub(crate) fn command(&self) -> &'static str {
        match self {
            Self::Run | Self::DryRun(_) => "run",
            Self::Resume(..) => RESUME,
            Self::Retry(..) => "retry",
        }
    }

    pub(crate) fn is_dry(&self) -> bool {
        matches!(self, Self::DryRun(_))
    }
}

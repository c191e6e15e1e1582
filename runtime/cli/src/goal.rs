//! The goal of a command that starts or continues a run.

use state_migration_core::{FailureClass, RunId};

/// The requested kind of run.
#[derive(Debug, Clone)]
pub(crate) enum Goal {
    Run,
    /// A dry run, with the command line of the real run.
    DryRun(String),
    /// Resumes a run that has visited this number of selected processes.
    Resume(RunId, u64),
    Retry(RunId, Vec<FailureClass>),
}

impl Goal {
    pub(crate) fn command(&self) -> &'static str {
        match self {
            Self::Run | Self::DryRun(_) => "run",
            Self::Resume(..) => "resume",
            Self::Retry(..) => "retry",
        }
    }

    pub(crate) fn is_dry(&self) -> bool {
        matches!(self, Self::DryRun(_))
    }
}

//! The goal of a command that starts or continues a run.

use state_migration_core::{FailureClass, RunId};
use state_migration_runner::{RunCounts, RunKind};

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
    History(HistoryGoal),
    /// Runs on a copy of the store, and suggests the real run.
    Rehearse {
        keep: bool,
        next: String,
    },
}

/// A run over the history of processes.
#[derive(Debug, Clone)]
pub(crate) struct HistoryGoal {
    pub(crate) kind: RunKind,
    /// Whether nothing is written.
    pub(crate) is_dry: bool,
    /// The suggested commands for when it has come to its end.
    pub(crate) next: Vec<String>,
    /// The same for a dry run in which processes failed.
    pub(crate) next_on_errors: Vec<String>,
}

impl HistoryGoal {
    pub(crate) fn is_verify(&self) -> bool {
        matches!(self.kind, RunKind::Verify { .. })
    }
}

impl Goal {
    pub(crate) fn command(&self) -> &'static str {
        match self {
            Self::Run | Self::DryRun(_) => "run",
            Self::Resume(..) => RESUME,
            Self::Retry(..) => "retry",
            Self::History(history) => history.kind.name(),
            Self::Rehearse { .. } => "rehearse",
        }
    }

    pub(crate) fn is_history(&self) -> bool {
        matches!(self, Self::History(_))
    }

    pub(crate) fn is_dry(&self) -> bool {
        match self {
            Self::DryRun(_) | Self::Rehearse { .. } => true,
            Self::History(history) => history.is_dry,
            Self::Run | Self::Resume(..) | Self::Retry(..) => false,
        }
    }
}
